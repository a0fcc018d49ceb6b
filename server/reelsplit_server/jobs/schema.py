"""The tables. Messages of the contract are kept as protobuf bytes, whose evolution it governs;
columns of their own have only what is searched, ordered by or constrained."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

from reelsplit.types.job import JobState
from reelsplit.types.media import MediaState
from reelsplit.types.segment import SegmentState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, states: type[JobState] | type[SegmentState] | type[MediaState]) -> str:
    names = ", ".join(f"'{state.value}'" for state in states if state.name != "UNSPECIFIED")
    return f"{column} IN ({names})"


# Times are microseconds since 1970 in UTC.
Time = BigInteger
# SQLite numbers rows by itself only in a column of exactly this type.
Position = BigInteger().with_variant(Integer, "sqlite")

principals = Table(
    "principals",
    metadata,
    Column("principal_id", Integer, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("create_time", Time, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(32), primary_key=True),
    Column("principal_id", ForeignKey("principals.principal_id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("percent", Float, nullable=False),
    Column("plan_complete", Boolean, nullable=False),
    Column("segment_count", Integer, nullable=False),
    Column("published_count", Integer, nullable=False),
    Column("failed_count", Integer, nullable=False),
    # A Job message that holds only source, error, notices and reports.
    Column("facts", LargeBinary, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("retry_token", String(64)),
    # The state of the source that all units of the job must see, as storage writes it.
    Column("source_pin", String(2048)),
    # The access key that submitted it, which signs its callbacks.
    Column("key_id", String(64)),
    # What its own address is told: nothing, its end (1), or its segments as well (2).
    Column("notifies", Integer),
    # The media asset that its input was named by; the spec holds the location.
    Column("media_id", String(32)),
    # Where the call that submitted it is in traces, as a W3C traceparent.
    Column("trace_parent", String(64)),
    Column("create_time", Time, nullable=False),
    Column("start_time", Time),
    Column("end_time", Time),
    Column("expire_time", Time),
    CheckConstraint(_one_of("state", JobState), name="state"),
    CheckConstraint("percent >= 0 AND percent <= 100", name="percent"),
    CheckConstraint("percent < 100 OR state = 'SUCCEEDED'", name="percent_success"),
    CheckConstraint("published_count + failed_count <= segment_count", name="counts"),
    Index("ix_jobs_listing", "principal_id", "create_time", "job_id"),
    Index("ix_jobs_state", "state"),
    Index("ix_jobs_expire_time", "expire_time"),
)

job_labels = Table(
    "job_labels",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("key", String(63), nullable=False),
    Column("value", String(128), nullable=False),
    PrimaryKeyConstraint("job_id", "key"),
    Index("ix_job_labels_search", "key", "value"),
)

segments = Table(
    "segments",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("idx", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    # A Segment message; job_id, index and state stand in the columns only.
    Column("data", LargeBinary, nullable=False),
    # The checksum of what an attempt was about to publish: proof, after a crash between
    # publishing and committing, that what lies there is ours.
    Column("intent", String(80)),
    PrimaryKeyConstraint("job_id", "idx"),
    CheckConstraint(_one_of("state", SegmentState), name="state"),
    Index("ix_segments_state", "job_id", "state"),
)

report_intents = Table(
    "report_intents",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(32), nullable=False),
    # As the column ``intent`` of a segment.
    Column("checksum", String(80), nullable=False),
    PrimaryKeyConstraint("job_id", "kind"),
)

events = Table(
    "events",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    # A JobEvent message without its token.
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("job_id", "sequence"),
    CheckConstraint("sequence > 0", name="sequence"),
    # Positions are never given out again, so that a token stays a place in the log.
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("principal_id", ForeignKey("principals.principal_id"), nullable=False),
    Column("client_token", String(64), nullable=False),
    # Kept when the job is deleted, so it is no foreign key.
    Column("job_id", String(32), nullable=False),
    # The spec as it was sent.
    Column("request", LargeBinary, nullable=False),
    Column("forget_time", Time),
    PrimaryKeyConstraint("principal_id", "client_token"),
    Index("ix_tokens_job_id", "job_id"),
    Index("ix_tokens_forget_time", "forget_time"),
)

media = Table(
    "media",
    metadata,
    Column("media_id", String(32), primary_key=True),
    Column("principal_id", ForeignKey("principals.principal_id"), nullable=False),
    Column("uri", String, nullable=False),
    # The endpoint of the store, where it is not the configured one.
    Column("endpoint", String),
    Column("state", String(16), nullable=False),
    # A Media message; id, location, state, owner and times stand in the columns only.
    Column("data", LargeBinary, nullable=False),
    # What the dialects of some faces keep beside the contract's fields.
    Column("details", JSON),
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    CheckConstraint(_one_of("state", MediaState), name="state"),
    Index("ix_media_listing", "principal_id", "create_time", "media_id"),
    Index("ix_media_uri", "principal_id", "uri"),
    Index("ix_media_state", "state"),
)

media_labels = Table(
    "media_labels",
    metadata,
    Column("media_id", ForeignKey("media.media_id", ondelete="CASCADE"), nullable=False),
    Column("key", String(63), nullable=False),
    Column("value", String(128), nullable=False),
    PrimaryKeyConstraint("media_id", "key"),
    Index("ix_media_labels_search", "key", "value"),
)

media_tokens = Table(
    "media_tokens",
    metadata,
    Column("principal_id", ForeignKey("principals.principal_id"), nullable=False),
    Column("client_token", String(64), nullable=False),
    # Kept when the asset is deleted, so it is no foreign key.
    Column("media_id", String(32), nullable=False),
    # A digest of the request as it was sent.
    Column("request", LargeBinary, nullable=False),
    Column("forget_time", Time),
    PrimaryKeyConstraint("principal_id", "client_token"),
    Index("ix_media_tokens_media_id", "media_id"),
    Index("ix_media_tokens_forget_time", "forget_time"),
)

properties = Table(
    "properties",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("principal", String(128), nullable=False),
    # Sealed under a key that does not lie in the database.
    Column("secret", LargeBinary, nullable=False),
    # The SHA-256 of the bearer token.
    Column("token_digest", LargeBinary(32), unique=True),
    # The name in the certificates that stand for this key.
    Column("certificate", String(255), unique=True),
    Column("permissions", String(128), nullable=False),
    # Lists as JSON; NULL stands for all that the settings allow.
    Column("reads", String),
    Column("writes", String),
    Column("active", Boolean, nullable=False),
    Column("create_time", Time, nullable=False),
)

nonces = Table(
    "nonces",
    metadata,
    Column("digest", LargeBinary(16), primary_key=True),
    Column("key_id", String(64), nullable=False),
    Column("expire_time", Time, nullable=False),
    Index("ix_nonces_expire_time", "expire_time"),
)

callbacks = Table(
    "callbacks",
    metadata,
    # The empty name stands for all principals that have set none.
    Column("principal", String(128), primary_key=True),
    Column("url", String, nullable=False),
    # Sealed like those of access_keys.
    Column("secret", LargeBinary),
    # As it was given.
    Column("event_types", String, nullable=False),
    Column("tells_ends", Boolean, nullable=False),
    Column("tells_segments", Boolean, nullable=False),
    Column("update_time", Time, nullable=False),
)

# No foreign keys: what is to be told outlives the job that it tells of.
outbox = Table(
    "outbox",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("job_id", String(32), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("url", String, nullable=False),
    # The access key that signs; NULL where the account's own secret does.
    Column("key_id", String(64)),
    Column("account", Boolean, nullable=False),
    # A JobEvent message without its token.
    Column("event", LargeBinary, nullable=False),
    Column("user_data", String),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_time", Time, nullable=False),
    Column("error", String(256)),
    Column("create_time", Time, nullable=False),
    CheckConstraint("state IN ('PENDING', 'FAILED')", name="state"),
    Index("ix_outbox_channel", "state", "job_id", "url", "position"),
    sqlite_autoincrement=True,
)
