"""Media assets can be found by location and labels; jobs know theirs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns, indexes and tables."""
    op.add_column("jobs", sa.Column("media_id", sa.String(length=32), nullable=True))
    op.add_column("media", sa.Column("endpoint", sa.String(), nullable=True))
    op.add_column("media", sa.Column("details", sa.JSON(), nullable=True))
    op.create_index("ix_media_uri", "media", ["principal_id", "uri"], unique=False)
    op.create_index("ix_media_state", "media", ["state"], unique=False)
    op.create_table(
        "media_labels",
        sa.Column("media_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=63), nullable=False),
        sa.Column("value", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["media_id"],
            ["media.media_id"],
            name=op.f("fk_media_labels_media_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("media_id", "key", name=op.f("pk_media_labels")),
    )
    op.create_index("ix_media_labels_search", "media_labels", ["key", "value"], unique=False)
    op.create_table(
        "media_tokens",
        sa.Column("principal_id", sa.Integer(), nullable=False),
        sa.Column("client_token", sa.String(length=64), nullable=False),
        sa.Column("media_id", sa.String(length=32), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("forget_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.principal_id"],
            name=op.f("fk_media_tokens_principal_id"),
        ),
        sa.PrimaryKeyConstraint("principal_id", "client_token", name=op.f("pk_media_tokens")),
    )
    op.create_index("ix_media_tokens_media_id", "media_tokens", ["media_id"], unique=False)
    op.create_index("ix_media_tokens_forget_time", "media_tokens", ["forget_time"], unique=False)


def downgrade() -> None:
    """Take them away."""
    op.drop_table("media_tokens")
    op.drop_table("media_labels")
    op.drop_index("ix_media_state", "media")
    op.drop_index("ix_media_uri", "media")
    op.drop_column("media", "details")
    op.drop_column("media", "endpoint")
    op.drop_column("jobs", "media_id")
