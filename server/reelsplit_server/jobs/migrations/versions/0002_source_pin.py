"""Jobs keep the state of their source."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("source_pin", sa.String(length=2048), nullable=True))


def downgrade() -> None:
    """Take the column away."""
    op.drop_column("jobs", "source_pin")
