"""A job belongs to the trace of the call that submitted it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column."""
    op.add_column("jobs", sa.Column("trace_parent", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("jobs", "trace_parent")
