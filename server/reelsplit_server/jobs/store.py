"""What is kept of jobs, segments and events: every change of state with its event, in one step."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import Connection, bindparam, delete, func, insert, select, tuple_, update

from reelsplit.types.error import Error
from reelsplit.types.event import PlanCompleted, SegmentChanged, SourceOpened
from reelsplit.types.job import JobState, Report, SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentState
from reelsplit.types.spec import JobSpec, ReportKind
from reelsplit.wire import to_message
from reelsplit_server import metrics
from reelsplit_server.jobs import changes, exports, schema, traces, waiting
from reelsplit_server.jobs.arrivals import Arrival, Arrivals, TokenReusedError, first_job
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.reading import Reading, forgotten_of
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import (
    NoSuchJobError,
    facts_bytes,
    is_large,
    load_job,
    load_segment,
    micros,
    segment_bytes,
    segment_record,
)
from reelsplit_server.jobs.transitions import check_job, check_segment
from reelsplit_server.jobs.waiting import QueueFullError

__all__ = ["QueueFullError", "Store", "TokenReusedError"]

MEMORY_OF_TOKENS = timedelta(hours=24)
"""How long a client token is remembered after its job was deleted."""


_FINAL = frozenset({"RANGE_OUTSIDE_SOURCE", "RANGE_OVERLAPS_END"})
"""Why the plan refuses a segment; making it would not ask again."""


_PUT_SEGMENTS = insert(schema.segments).returning(schema.segments.c.idx)
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
_MOST_SWEPT = 1000
"""About how many events and segments, or tokens, one sweep forgets."""
_DUE = (
    select(
        schema.jobs.c.job_id,
        schema.jobs.c.state,
        schema.jobs.c.segment_count,
        schema.jobs.c.last_sequence,
    )
    .where(schema.jobs.c.expire_time < bindparam("of_time"))
    .order_by(schema.jobs.c.expire_time)
    .limit(200)
)
_RAISE_PERCENT = (
    update(schema.jobs)
    .where(
        schema.jobs.c.job_id == bindparam("of_job"),
        schema.jobs.c.percent < bindparam("new_percent"),
    )
    .values(percent=bindparam("new_percent"))
)


class Store(Reading):
    """The jobs of all principals: reading, and every change."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._arrivals = Arrivals(database)

    async def add(
        self,
        principal: str,
        client_token: str,
        request: JobSpec,
        spec: JobSpec,
        *,
        most_waiting: int,
        most_of_one: int | None = None,
        key_id: str | None = None,
        media_id: str | None = None,
        trace_parent: str | None = None,
    ) -> JobRecord:
        """Keep a new job, or answer the one that this client token made. ``key_id`` is the access
        key that signs its callbacks; ``media_id`` the asset that the request names its input by,
        whose location stands in the spec.

        Raises `TokenReusedError` where the token was used with another request, and
        `QueueFullError` where ``most_waiting`` jobs wait already, or ``most_of_one`` of this
        principal.
        """
        if is_large(request):
            sent, kept = await asyncio.to_thread(lambda: (to_message(request), to_message(spec)))
        else:
            sent, kept = to_message(request), to_message(spec)
        return await self._arrivals.add(
            Arrival(
                principal=principal,
                client_token=client_token,
                sent=sent,
                kept=kept.SerializeToString(),
                spec=spec,
                key_id=key_id,
                media_id=media_id,
                trace_parent=trace_parent,
                most_waiting=most_waiting,
                most_of_one=most_of_one,
            )
        )

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
            return None if row is None else first_job(connection, row.job_id, row.request, sent)

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
        record = await self._database.write(
            lambda t: changes.change_job(t, job_id, state, error=error, expire=expire)
        )
        traces.ended(record)
        return record

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
            rows: list[dict[str, object]] = []
            happened: list[SegmentChanged] = []
            for segment in fresh:
                last = known = dataclasses.replace(
                    segment, job_id=job_id, state=SegmentState.PLANNED, error=None, create_time=now
                )
                happened.append(SegmentChanged(segment=known))
                if segment.error is not None:
                    check_segment(SegmentState.PLANNED, SegmentState.FAILED)
                    last = dataclasses.replace(
                        known, state=SegmentState.FAILED, error=segment.error, end_time=now
                    )
                    happened.append(SegmentChanged(previous_state=known.state, segment=last))
                rows.append(
                    {
                        "job_id": job_id,
                        "idx": last.index,
                        "state": last.state.value,
                        "data": segment_bytes(last),
                    }
                )
            if fresh:
                transaction.connection.execute(_PUT_SEGMENTS, rows)
                changes.update_job(
                    transaction,
                    job_id,
                    segment_count=record.segment_count + len(fresh),
                    failed_count=record.failed_count + len(happened) - len(fresh),
                    last_sequence=record.last_sequence + len(happened),
                )
                numbers = itertools.count(record.last_sequence + 1)
                changes.put_events(
                    transaction,
                    [(job_id, record.principal, next(numbers), event) for event in happened],
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

    async def retry(
        self,
        job_id: str,
        retry_token: str,
        *,
        most_waiting: int | None = None,
        most_of_one: int | None = None,
    ) -> JobRecord:
        """Put an ended job back in the queue, with its failed segments planned again, but for those
        that the source itself rules out.

        Answers the job unchanged where this token retried it already. Raises `TransitionError`,
        and `QueueFullError` as `add` does.
        """

        def work(transaction: Transaction) -> JobRecord | QueueFullError:
            connection = transaction.connection
            table = schema.jobs
            seen = connection.execute(
                select(table.c.retry_token).where(table.c.job_id == job_id)
            ).scalar_one_or_none()
            record = load_job(connection, job_id)
            if retry_token and seen == retry_token:
                return record
            check_job(record.state, JobState.PENDING)
            if full := waiting.refusal(transaction, record.principal, most_waiting, most_of_one):
                return full
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

        made = await self._database.write(work)
        if isinstance(made, QueueFullError):
            raise made
        return made

    async def delete(self, principal: str, job_id: str) -> None:
        """Forget a job and its events; its client token is remembered for a day."""

        def work(transaction: Transaction) -> JobState:
            record = load_job(transaction.connection, job_id, principal)
            _delete(transaction, [job_id])
            waiting.moved(transaction, record.principal, record.state, None)
            return record.state

        state = await self._database.write(work)
        metrics.JOBS.labels(state.value).dec()

    async def sweep(self) -> list[str]:
        """Forget some of the jobs whose time is over, and client tokens; answers the ids of the
        jobs. Others need not wait long for it, so it is called until it answers none."""

        def work(transaction: Transaction) -> dict[str, str]:
            connection, expired, size = transaction.connection, dict[str, str](), 0
            for row in connection.execute(_DUE, {"of_time": micros(transaction.now)}).all():
                size += row.last_sequence + row.segment_count
                if expired and size > _MOST_SWEPT:
                    break
                expired[row.job_id] = row.state
            if expired:
                _delete(transaction, list(expired))
            _forget_tokens(transaction)
            return expired

        forgotten = await self._database.write(work)
        for state in forgotten.values():
            metrics.JOBS.labels(state).dec()
        return list(forgotten)

    async def sweep_tokens(self) -> int:
        """Forget some of the client tokens whose time is over; answers how many."""
        return await self._database.write(_forget_tokens)


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


def _delete(transaction: Transaction, job_ids: Sequence[str]) -> None:
    connection, tokens, events = transaction.connection, schema.tokens, schema.events
    jobs = schema.jobs.c
    lasts = connection.execute(
        select(jobs.principal_id, func.max(events.c.position))
        .join(schema.events, events.c.job_id == jobs.job_id)
        .where(jobs.job_id.in_(job_ids))
        .group_by(jobs.principal_id)
    ).all()
    for owner, last in lasts:
        _forget_up_to(connection, forgotten_of(owner), last)
    _forget_up_to(connection, forgotten_of(None), max((last for _, last in lasts), default=0))
    forget = micros(transaction.now + MEMORY_OF_TOKENS)
    connection.execute(
        update(tokens).where(tokens.c.job_id.in_(job_ids)).values(forget_time=forget)
    )
    connection.execute(delete(schema.jobs).where(jobs.job_id.in_(job_ids)))


def _forget_tokens(transaction: Transaction) -> int:
    tokens = schema.tokens.c
    old = (
        select(tokens.principal_id, tokens.client_token)
        .where(tokens.forget_time < micros(transaction.now))
        .limit(_MOST_SWEPT)
    )
    place = tuple_(tokens.principal_id, tokens.client_token)
    done = transaction.connection.execute(delete(schema.tokens).where(place.in_(old)))
    return done.rowcount


def _forget_up_to(connection: Connection, name: str, position: int) -> None:
    """Keep, as the property of this name, the place in the log up to which events may be
    missing."""
    table = schema.properties
    known = connection.execute(
        select(table.c.value).where(table.c.name == name)
    ).scalar_one_or_none()
    if known is None:
        connection.execute(insert(table).values(name=name, value=b"0"))
    value = str(max(position, int(known or b"0"))).encode()
    connection.execute(update(table).where(table.c.name == name).values(value=value))
