"""Segments that become media assets, in the very step that publishes them."""

from __future__ import annotations

from pathlib import PurePosixPath

from sqlalchemy import insert, select

from reelsplit.types.media import Media, MediaState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.wire import to_message
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.ids import new_id
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import load_job, micros

_MOST_TITLE = 128


def asset_id(record: JobRecord, state: SegmentState) -> str:
    """The id of the asset that a segment in this state becomes; empty where it becomes none."""
    output = record.spec.output
    exported = output is not None and output.export_as_media
    return new_id() if exported and state is SegmentState.PUBLISHED else ""


def add(transaction: Transaction, segment: Segment) -> None:
    """Register a published segment under its ``media_id``, for the job's principal."""
    record = load_job(transaction.connection, segment.job_id)
    jobs, now = schema.jobs.c, micros(transaction.now)
    owner = select(jobs.principal_id).where(jobs.job_id == segment.job_id).scalar_subquery()
    media = Media(title=PurePosixPath(segment.uri).name[:_MOST_TITLE], job_id=segment.job_id)
    transaction.connection.execute(
        insert(schema.media).values(
            media_id=segment.media_id,
            principal_id=owner,
            uri=segment.uri,
            endpoint=record.spec.output.endpoint if record.spec.output is not None else None,
            state=MediaState.PENDING.value,
            data=to_message(media).SerializeToString(),
            create_time=now,
            update_time=now,
        )
    )
