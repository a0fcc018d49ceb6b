"""Access keys, nonces, and callbacks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and what jobs keep of them."""
    op.add_column("jobs", sa.Column("key_id", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("notifies", sa.Integer(), nullable=True))
    op.create_table(
        "access_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("certificate", sa.String(length=255), nullable=True),
        sa.Column("permissions", sa.String(length=128), nullable=False),
        sa.Column("reads", sa.String(), nullable=True),
        sa.Column("writes", sa.String(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_access_keys")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_access_keys_token_digest")),
        sa.UniqueConstraint("certificate", name=op.f("uq_access_keys_certificate")),
    )
    op.create_table(
        "nonces",
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_nonces")),
    )
    op.create_index("ix_nonces_expire_time", "nonces", ["expire_time"], unique=False)
    op.create_table(
        "callbacks",
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("event_types", sa.String(), nullable=False),
        sa.Column("tells_ends", sa.Boolean(), nullable=False),
        sa.Column("tells_segments", sa.Boolean(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal", name=op.f("pk_callbacks")),
    )
    op.create_table(
        "outbox",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("account", sa.Boolean(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("user_data", sa.String(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_time", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(length=256), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('PENDING', 'FAILED')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_outbox_channel", "outbox", ["state", "job_id", "url", "position"], unique=False
    )


def downgrade() -> None:
    """Take them away."""
    for table in ("outbox", "callbacks", "nonces", "access_keys"):
        op.drop_table(table)
    op.drop_column("jobs", "notifies")
    op.drop_column("jobs", "key_id")
