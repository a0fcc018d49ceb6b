"""What is kept of jobs, segments and events: every change of state with its event, in one step."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from reelsplit.types.error import Error
from reelsplit.types.event import JobStateChanged, PlanCompleted, SegmentChanged, SourceOpened
from reelsplit.types.job import JobState, Report, SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentState
from reelsplit.types.spec import JobSpec, ReportKind
from reelsplit.v1 import spec_pb2
from reelsplit.wire import to_message
from reelsplit_server.jobs import changes, exports, outbox, schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.principals import principal_id
from reelsplit_server.jobs.reading import FORGOTTEN, Reading
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import (
    NoSuchJobError,
    facts_bytes,
    load_job,
    load_segment,
    micros,
    segment_bytes,
    segment_record,
)
from reelsplit_server.jobs.transitions import check_job

MEMORY_OF_TOKENS = timedelta(hours=24)
"""How long a client token is remembered after its job was deleted."""


_FINAL = frozenset({"RANGE_OUTSIDE_SOURCE", "RANGE_OVERLAPS_END"})
"""Why the plan refuses a segment; making it would not ask again."""


_STATE = select(schema.segments.c.state).where(
    schema.segments.c.job_id == bindparam("of_job"),
    schema.segments.c.idx == bindparam("of_index"),
)
_INTEND = (
    update(schema.segments)
    .where(
        schema.segments.c.job_id == bindparam("of_job"),
        schema.segments.c.idx == bindparam("of_index"),
    )
    .values(intent=bindparam("new_intent"))
)
_RAISE_PERCENT = (
    update(schema.jobs)
    .where(
        schema.jobs.c.job_id == bindparam("of_job"),
        schema.jobs.c.percent < bindparam("new_percent"),
    )
    .values(percent=bindparam("new_percent"))
)


class TokenReusedError(Exception):
    """The client token belongs to a job with another request."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


class QueueFullError(Exception):
    """As many jobs wait as may."""


class Store(Reading):
    """The jobs of all principals: reading, and every change."""

    async def add(
        self,
        principal: str,
        client_token: str,
        request: JobSpec,
        spec: JobSpec,
        *,
        most_waiting: int,
        key_id: str | None = None,
        media_id: str | None = None,
    ) -> JobRecord:
        """Keep a new job, or answer the one that this client token made. ``key_id`` is the access
        key that signs its callbacks; ``media_id`` the asset that the request names its input by,
        whose location stands in the spec.

        Raises `TokenReusedError` where the token was used with another request, and
        `QueueFullError` where ``most_waiting`` jobs wait already.
        """
        sent, kept = await asyncio.to_thread(lambda: (to_message(request), to_message(spec)))

        def work(transaction: Transaction) -> JobRecord:
            connection = transaction.connection
            owner = principal_id(transaction, principal)
            if client_token:
                row = connection.execute(
                    select(schema.tokens).where(
                        schema.tokens.c.principal_id == owner,
                        schema.tokens.c.client_token == client_token,
                    )
                ).one_or_none()
                if row is not None:
                    return _first_job(connection, row, sent)
            waiting = connection.execute(
                select(func.count())
                .select_from(schema.jobs)
                .where(schema.jobs.c.state == JobState.PENDING.value)
            ).scalar_one()
            if waiting >= most_waiting:
                raise QueueFullError
            now = transaction.now
            job_id = secrets.token_hex(16)
            connection.execute(
                insert(schema.jobs).values(
                    job_id=job_id,
                    principal_id=owner,
                    state=JobState.PENDING.value,
                    spec=kept.SerializeToString(),
                    priority=spec.priority or 0,
                    attempt=1,
                    percent=0.0,
                    plan_complete=False,
                    segment_count=0,
                    published_count=0,
                    failed_count=0,
                    facts=b"",
                    last_sequence=0,
                    key_id=key_id,
                    notifies=_notifies(spec),
                    media_id=media_id,
                    create_time=micros(now),
                )
            )
            if spec.labels:
                connection.execute(
                    insert(schema.job_labels),
                    [{"job_id": job_id, "key": k, "value": v} for k, v in spec.labels.items()],
                )
            if client_token:
                connection.execute(
                    insert(schema.tokens).values(
                        principal_id=owner,
                        client_token=client_token,
                        job_id=job_id,
                        request=sent.SerializeToString(),
                    )
                )
            changes.append(transaction, job_id, JobStateChanged(state=JobState.PENDING, attempt=1))
            return load_job(connection, job_id)

        return await self._database.write(work)

    async def first(self, principal: str, client_token: str, request: JobSpec) -> JobRecord | None:
        """The job that this client token made, where it made one; raises `TokenReusedError`."""
        sent = await asyncio.to_thread(to_message, request)
        tokens, principals = schema.tokens, schema.principals
        query = (
            select(tokens)
            .join(principals, principals.c.principal_id == tokens.c.principal_id)
            .where(principals.c.name == principal, tokens.c.client_token == client_token)
        )

        def work(connection: Connection) -> JobRecord | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _first_job(connection, row, sent)

        return await self._database.read(work)

    async def property(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A value that this database keeps; made at the first use."""

        def work(transaction: Transaction) -> bytes:
            table = schema.properties
            query = select(table.c.value).where(table.c.name == name)
            found = transaction.connection.execute(query).scalar_one_or_none()
            if found is None:
                found = make()
                transaction.connection.execute(insert(table).values(name=name, value=found))
            return found

        return await self._database.write(work)

    async def change_job(
        self,
        job_id: str,
        state: JobState,
        *,
        error: Error | None = None,
        expire: timedelta | None = None,
    ) -> JobRecord:
        """Bring a job to another state; raises `TransitionError` where that is not allowed."""
        return await self._database.write(
            lambda t: changes.change_job(t, job_id, state, error=error, expire=expire)
        )

    async def source_opened(self, job_id: str, source: SourceInfo, pin: str) -> JobRecord:
        """Keep what the source turned out to be, and its state: the first one, for good."""

        def work(transaction: Transaction) -> JobRecord:
            record = load_job(transaction.connection, job_id)
            changes.update_job(
                transaction,
                job_id,
                facts=facts_bytes(dataclasses.replace(record, source=source)),
                source_pin=record.source_pin or pin,
            )
            changes.append(transaction, job_id, SourceOpened(source=source))
            return load_job(transaction.connection, job_id)

        return await self._database.write(work)

    async def plan(self, job_id: str, planned: Sequence[Segment]) -> JobRecord:
        """Keep segments whose bounds are known, those with an error as FAILED.

        Segments whose index is known already are passed over, since an analysis that is repeated
        finds the same again.
        """

        def work(transaction: Transaction) -> JobRecord:
            record = load_job(transaction.connection, job_id)
            now = transaction.now
            fresh = [segment for segment in planned if segment.index >= record.segment_count]
            failed = 0
            for segment in fresh:
                known = dataclasses.replace(
                    segment, job_id=job_id, state=SegmentState.PLANNED, create_time=now
                )
                bare = dataclasses.replace(known, error=None)
                transaction.connection.execute(
                    insert(schema.segments).values(
                        job_id=job_id,
                        idx=segment.index,
                        state=SegmentState.PLANNED.value,
                        data=segment_bytes(bare),
                    )
                )
                changes.append(transaction, job_id, SegmentChanged(segment=bare))
                if known.error is not None:
                    failed += 1
                    ended = dataclasses.replace(known, state=SegmentState.FAILED, end_time=now)
                    changes.put_segment(transaction, SegmentState.PLANNED, ended)
            if fresh:
                changes.update_job(
                    transaction,
                    job_id,
                    segment_count=record.segment_count + len(fresh),
                    failed_count=record.failed_count + failed,
                )
            return load_job(transaction.connection, job_id)

        return await self._database.write(work)

    async def plan_complete(
        self, job_id: str, source: SourceInfo, notices: Sequence[Notice]
    ) -> JobRecord:
        """Keep that all segments are known."""

        def work(transaction: Transaction) -> JobRecord:
            record = load_job(transaction.connection, job_id)
            facts = dataclasses.replace(record, source=source, notices=tuple(notices))
            changes.update_job(transaction, job_id, plan_complete=True, facts=facts_bytes(facts))
            event = PlanCompleted(
                segment_count=record.segment_count,
                source=source,
                notices=tuple(notices),
                reports=record.reports,
            )
            changes.append(transaction, job_id, event)
            return load_job(transaction.connection, job_id)

        return await self._database.write(work)

    async def intend_report(self, job_id: str, kind: ReportKind, checksum: str) -> None:
        """Keep which report the analysis is about to publish."""

        def work(transaction: Transaction) -> None:
            table = schema.report_intents
            connection = transaction.connection
            connection.execute(
                delete(table).where(table.c.job_id == job_id, table.c.kind == kind.value)
            )
            connection.execute(
                insert(table).values(job_id=job_id, kind=kind.value, checksum=checksum)
            )

        await self._database.write(work)

    async def report_published(self, job_id: str, report: Report) -> JobRecord:
        """Keep that a report lies at its location, in place of an earlier one of its kind."""

        def work(transaction: Transaction) -> JobRecord:
            record = load_job(transaction.connection, job_id)
            others = [known for known in record.reports if known.kind is not report.kind]
            facts = dataclasses.replace(record, reports=(*others, report))
            changes.update_job(transaction, job_id, facts=facts_bytes(facts))
            return load_job(transaction.connection, job_id)

        return await self._database.write(work)

    async def change_segment(
        self, segment: Segment, state: SegmentState
    ) -> tuple[JobRecord, Segment]:
        """Bring a segment to another state, with what is known of it now.

        Raises `TransitionError` where that is not allowed: a published segment stays as it is.
        """

        return await self._database.write(lambda t: _change_segment(t, segment, state))

    async def begin_segment(self, job_id: str, index: int) -> tuple[JobRecord, Segment, str | None]:
        """Bring a segment to RUNNING; answers with it the checksum that its last attempt was
        about to publish. Raises `TransitionError`."""

        def work(transaction: Transaction) -> tuple[JobRecord, Segment, str | None]:
            segment, intent = load_segment(transaction.connection, job_id, index)
            return *_change_segment(transaction, segment, SegmentState.RUNNING), intent

        return await self._database.write(work)

    async def intend(self, job_id: str, index: int, checksum: str) -> None:
        """Keep what an attempt is about to publish."""
        values = {"of_job": job_id, "of_index": index, "new_intent": checksum}

        def work(transaction: Transaction) -> None:
            transaction.connection.execute(_INTEND, values)

        await self._database.write(work)

    async def raise_percent(self, job_id: str, percent: float) -> None:
        """Keep the highest percentage that was told, so that a restart does not go behind it."""

        values = {"of_job": job_id, "new_percent": percent}

        def work(transaction: Transaction) -> None:
            transaction.connection.execute(_RAISE_PERCENT, values)

        await self._database.write(work)

    async def retry(self, job_id: str, retry_token: str) -> JobRecord:
        """Put an ended job back in the queue, with its failed segments planned again, but for those
        that the source itself rules out.

        Answers the job unchanged where this token retried it already.
        """

        def work(transaction: Transaction) -> JobRecord:
            connection = transaction.connection
            table = schema.jobs
            seen = connection.execute(
                select(table.c.retry_token).where(table.c.job_id == job_id)
            ).scalar_one_or_none()
            record = load_job(connection, job_id)
            if retry_token and seen == retry_token:
                return record
            check_job(record.state, JobState.PENDING)
            rows = connection.execute(
                select(schema.segments).where(
                    schema.segments.c.job_id == job_id,
                    schema.segments.c.state == SegmentState.FAILED.value,
                )
            ).all()
            failed = [segment_record(row) for row in rows]
            again = [s for s in failed if s.error is None or s.error.reason not in _FINAL]
            for before in again:
                segment = dataclasses.replace(
                    before, state=SegmentState.PLANNED, error=None, end_time=None
                )
                changes.put_segment(transaction, SegmentState.FAILED, segment)
            return changes.change_job(
                transaction,
                job_id,
                JobState.PENDING,
                failed_count=len(failed) - len(again),
                attempt=record.attempt + 1,
                retry_token=retry_token or None,
                # With no segment planned, the source may as well be another by now.
                source_pin=record.source_pin if record.segment_count else None,
                start_time=None,
                end_time=None,
                expire_time=None,
            )

        return await self._database.write(work)

    async def delete(self, principal: str, job_id: str) -> None:
        """Forget a job and its events; its client token is remembered for a day."""

        def work(transaction: Transaction) -> None:
            connection = transaction.connection
            load_job(connection, job_id, principal)
            _delete(transaction, job_id)

        await self._database.write(work)

    async def sweep(self) -> list[str]:
        """Forget jobs and client tokens whose time is over; answers the ids of the jobs."""

        def work(transaction: Transaction) -> list[str]:
            connection = transaction.connection
            now = micros(transaction.now)
            jobs, tokens = schema.jobs.c, schema.tokens
            due = select(jobs.job_id).where(jobs.expire_time < now).limit(1000)
            expired = list(connection.execute(due).scalars())
            for job_id in expired:
                _delete(transaction, job_id)
            connection.execute(delete(tokens).where(tokens.c.forget_time < now))
            return expired

        return await self._database.write(work)


def _notifies(spec: JobSpec) -> int | None:
    if not spec.notify_url:
        return None
    return outbox.SEGMENTS if spec.notify_segments else outbox.ENDS


def _change_segment(
    transaction: Transaction, segment: Segment, state: SegmentState
) -> tuple[JobRecord, Segment]:
    connection, now = transaction.connection, transaction.now
    place = {"of_job": segment.job_id, "of_index": segment.index}
    found = connection.execute(_STATE, place).scalar_one_or_none()
    if found is None:
        raise NoSuchJobError(segment.job_id)
    before = SegmentState(found)
    changed = dataclasses.replace(segment, state=state)
    if state is SegmentState.RUNNING:
        changed = dataclasses.replace(
            changed, start_time=now, end_time=None, error=None, attempt=segment.attempt + 1
        )
    elif state is not SegmentState.PLANNED:
        changed = dataclasses.replace(changed, end_time=now)
    changes.put_segment(transaction, before, changed)
    if changed.media_id and state is SegmentState.PUBLISHED:
        exports.add(transaction, changed)
    record = load_job(connection, segment.job_id)
    published = state is SegmentState.PUBLISHED
    failed = (state is SegmentState.FAILED) - (before is SegmentState.FAILED)
    if published or failed:
        record = dataclasses.replace(
            record,
            published_count=record.published_count + published,
            failed_count=record.failed_count + failed,
        )
        changes.update_job(
            transaction,
            segment.job_id,
            published_count=record.published_count,
            failed_count=record.failed_count,
        )
    return record, changed


def _first_job(connection: Connection, row: Row[Any], sent: Message) -> JobRecord:
    # Compared as messages, since the order of a map's bytes is not fixed.
    if spec_pb2.JobSpec.FromString(row.request) != sent:
        raise TokenReusedError(row.job_id)
    try:
        return load_job(connection, row.job_id)
    except NoSuchJobError:
        # The job was deleted: the token may not make another for a day.
        raise TokenReusedError(row.job_id) from None


def _delete(transaction: Transaction, job_id: str) -> None:
    connection, tokens, events = transaction.connection, schema.tokens, schema.events
    last = connection.execute(
        select(func.max(events.c.position)).where(events.c.job_id == job_id)
    ).scalar_one()
    _forget_up_to(connection, last or 0)
    forget = micros(transaction.now + MEMORY_OF_TOKENS)
    connection.execute(update(tokens).where(tokens.c.job_id == job_id).values(forget_time=forget))
    connection.execute(delete(schema.jobs).where(schema.jobs.c.job_id == job_id))


def _forget_up_to(connection: Connection, position: int) -> None:
    """Keep the place in the log up to which events may be missing."""
    table = schema.properties
    known = connection.execute(
        select(table.c.value).where(table.c.name == FORGOTTEN)
    ).scalar_one_or_none()
    if known is None:
        connection.execute(insert(table).values(name=FORGOTTEN, value=b"0"))
    value = str(max(position, int(known or b"0"))).encode()
    connection.execute(update(table).where(table.c.name == FORGOTTEN).values(value=value))
