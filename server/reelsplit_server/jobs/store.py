"""What is kept of jobs, segments and events: every change of state with its event, in one step."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from reelsplit.types.error import Error
from reelsplit.types.event import PlanCompleted, SourceOpened
from reelsplit.types.job import JobState, Report, SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentState
from reelsplit.types.spec import JobSpec, ReportKind
from reelsplit.wire import to_message
from reelsplit_server import metrics
from reelsplit_server.jobs import changes, forgetting, schema, segments, traces
from reelsplit_server.jobs.arrivals import Arrival, Arrivals, TokenReusedError, first_job
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.reading import Reading
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import (
    facts_bytes,
    is_large,
    load_job,
)
from reelsplit_server.jobs.waiting import QueueFullError

__all__ = ["QueueFullError", "Store", "TokenReusedError"]

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

        return await self._database.write(lambda t: segments.plan(t, job_id, planned))

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

        return await self._database.write(lambda t: segments.change(t, segment, state))

    async def begin_segment(self, job_id: str, index: int) -> tuple[JobRecord, Segment, str | None]:
        """Bring a segment to RUNNING; answers with it the checksum that its last attempt was
        about to publish. Raises `TransitionError`."""

        return await self._database.write(lambda t: segments.begin(t, job_id, index))

    async def intend(self, job_id: str, index: int, checksum: str) -> None:
        """Keep what an attempt is about to publish."""
        await self._database.write(lambda t: segments.intend(t, job_id, index, checksum))

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

        made = await self._database.write(
            lambda t: changes.retry(t, job_id, retry_token, most_waiting, most_of_one)
        )
        if isinstance(made, QueueFullError):
            raise made
        return made

    async def delete(self, principal: str, job_id: str) -> None:
        """Forget a job and its events; its client token is remembered for a day. Raises
        `TransitionError` where the job has not ended, or goes on by now."""

        state = await self._database.write(lambda t: forgetting.delete(t, principal, job_id))
        metrics.JOBS.labels(state.value).dec()

    async def sweep(self) -> list[str]:
        """Forget some of the jobs whose time is over; answers their ids. Others need not wait long
        for it, so it is called until it answers none."""

        forgotten = await self._database.write(forgetting.sweep)
        for state in forgotten.values():
            metrics.JOBS.labels(state).dec()
        return list(forgotten)

    async def sweep_tokens(self) -> int:
        """Forget some of the client tokens whose time is over; answers how many."""
        return await self._database.write(forgetting.sweep_tokens)
