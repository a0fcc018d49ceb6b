"""The use cases on jobs: validate, authorize, and act. Every rule once, for all faces."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Sequence

from reelsplit.types.job import Job, JobState, Report
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import JobSpec
from reelsplit_server import tracing
from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.authorization import require
from reelsplit_server.app.bounds import Bounds
from reelsplit_server.app.errors import (
    OUT_OF_REACH,
    AppError,
    Kind,
    Violation,
    invalid,
    job_not_found,
    queue_full,
    shutting_down,
    translated,
)
from reelsplit_server.app.inputs import located
from reelsplit_server.app.job_reading import JobReading
from reelsplit_server.app.lasting import lasting
from reelsplit_server.app.resolution import resolve
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.app.validation import Checker
from reelsplit_server.assets.store import MediaStore
from reelsplit_server.jobs.failures import RemoveError
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError, is_large
from reelsplit_server.jobs.scheduler import Scheduler
from reelsplit_server.jobs.store import QueueFullError, Store, TokenReusedError
from reelsplit_server.jobs.transitions import TransitionError
from reelsplit_server.storage.report_places import report_endpoint
from reelsplit_server.storage.routes import Verb

_MOST_LOOKS = 100


class Jobs(JobReading):
    """The jobs of all callers. Each call names the caller that it is for, whose permissions and
    reach are looked at here and nowhere else."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        scheduler: Scheduler,
        sealer: Sealer,
        bounds: Bounds,
        media: MediaStore,
    ) -> None:
        super().__init__(store, events, sealer)
        self._scheduler = scheduler
        self._bounds = bounds
        self._media = media
        self.draining = False

    @lasting
    async def submit(
        self,
        caller: Caller,
        client_token: str,
        spec: JobSpec | None,
        violations: Sequence[Violation] = (),
    ) -> Job:
        """Accept a job. ``violations`` are those that the face found while reading the request."""
        require(caller, Permission.SUBMIT)
        if spec is not None and spec.output is not None and spec.output.export_as_media:
            require(caller, Permission.MEDIA)
        if self.draining:
            raise shutting_down()
        found, media_id = spec, None
        if spec is not None:
            with translated():
                try:
                    found, media_id = await located(self._media, caller, spec)
                except AppError:
                    # The asset may have been deleted since this very request made its job.
                    with contextlib.suppress(TokenReusedError):
                        if before := await self._store.first(caller.principal, client_token, spec):
                            return self._present(before)
                    raise
        check = functools.partial(self._checked, caller, client_token, found, violations)
        # Thousands of ranges take longer than other calls should wait; a thread, than few ranges.
        large = found is not None and is_large(found)
        resolved = await asyncio.to_thread(check) if large else check()
        assert spec is not None
        with translated():
            try:
                record = await self._store.add(
                    caller.principal,
                    client_token,
                    spec,
                    resolved,
                    most_waiting=self._bounds.most_waiting,
                    most_of_one=self._bounds.most_waiting_of_one,
                    key_id=caller.key_id,
                    media_id=media_id,
                    trace_parent=str(place) if (place := tracing.current()) else None,
                )
            except TokenReusedError as error:
                raise AppError(
                    Kind.ALREADY_EXISTS,
                    "CLIENT_TOKEN_REUSED",
                    f"The client token was used for job {error.job_id} with another request, or "
                    "for one that was deleted; take a new token for a new request.",
                    metadata={"job_id": error.job_id},
                ) from error
            except QueueFullError as error:
                raise queue_full(error) from error
        if record.state is JobState.PENDING:
            self._scheduler.add(record)
        return self._present(record)

    def _checked(
        self,
        caller: Caller,
        client_token: str,
        spec: JobSpec | None,
        violations: Sequence[Violation],
    ) -> JobSpec:
        """The resolved spec; raises INVALID_FIELD or NOT_SUPPORTED with every wrong field."""
        checker = Checker(self._bounds, caller.reach)
        checker.violations += violations
        checker.client_token("client_token", client_token)
        if spec is None:
            checker.wrong("spec", "is required")
        else:
            checker.spec(spec)
        if checker.violations or spec is None:
            raise invalid(checker.violations)
        return resolve(spec, self._bounds)

    @lasting
    async def cancel(self, caller: Caller, job_id: str) -> Job:
        """Stop a job; one that has ended stays as it is."""
        require(caller, Permission.CANCEL)
        return await self._cancel(caller, job_id)

    async def _cancel(self, caller: Caller, job_id: str) -> Job:
        record = await self.record(caller, job_id)
        with translated():
            for _ in range(_MOST_LOOKS):
                if record.ended:
                    break
                if record.state is JobState.CANCELLING:
                    # Another call is stopping it; this one answers when that is done.
                    await asyncio.sleep(0.05)
                    record = await self.record(caller, job_id)
                    continue
                try:
                    await self._scheduler.cancel(record)
                    break
                except NoSuchJobError:
                    raise job_not_found(job_id) from None
                except TransitionError:
                    # At this moment it is admitted, or ends by itself; the next look will tell.
                    await asyncio.sleep(0.05)
                    record = await self.record(caller, job_id)
        return self._present(await self.record(caller, job_id))

    async def deletable(self, caller: Caller, job_id: str) -> None:
        """Raise what deleting a job would raise because of who asks, or because there is none."""
        require(caller, Permission.DELETE)
        await self.record(caller, job_id)

    @lasting
    async def delete(
        self,
        caller: Caller,
        job_id: str,
        *,
        allow_missing: bool,
        delete_outputs: bool,
        force: bool,
    ) -> int:
        """Forget a job; answers how many of its objects were deleted."""
        require(caller, Permission.DELETE)
        try:
            record = await self.record(caller, job_id)
            if not record.ended and force:
                await self._cancel(caller, job_id)
                record = await self.record(caller, job_id)
        except AppError as error:
            if error.kind is Kind.NOT_FOUND and allow_missing:
                return 0
            raise
        if not record.ended:
            raise _not_ended(record)
        deleted = 0
        if delete_outputs:
            self._check_reach(caller, record, "write")
            deleted = await self._delete_outputs(record)
        with translated():
            try:
                await self._store.delete(record.principal, job_id)
            except NoSuchJobError:
                raise job_not_found(job_id) from None
            except TransitionError:
                # It was retried meanwhile.
                raise _not_ended(await self.record(caller, job_id)) from None
        self._events.deleted(job_id)
        return deleted

    async def _delete_outputs(self, record: JobRecord) -> int:
        spec = record.spec
        deleted, after = 0, -1
        if record.reports:
            deleted = await self._remove(
                [(report, report_endpoint(spec, report.uri)) for report in record.reports]
            )
        while True:
            with translated():
                page, _ = await self._store.segments(
                    record.job_id, states=[SegmentState.PUBLISHED], after=after
                )
            if not page:
                return deleted
            after = page[-1].index
            endpoint = spec.output.endpoint if spec.output is not None else None
            deleted += await self._remove([(segment, endpoint) for segment in page])

    async def _remove(self, outputs: Sequence[tuple[Segment | Report, str | None]]) -> int:
        try:
            return await self._scheduler.remove(outputs)
        except RemoveError as error:
            raise AppError(
                Kind.INTERNAL,
                error.error.reason,
                f"Not all outputs could be deleted, so the job was kept: {error}",
                metadata=error.error.metadata,
            ) from error

    @lasting
    async def retry(self, caller: Caller, job_id: str, client_token: str) -> Job:
        """Run what failed again."""
        require(caller, Permission.SUBMIT)
        if self.draining:
            raise shutting_down()
        checker = Checker(self._bounds)
        checker.client_token("client_token", client_token)
        if checker.violations:
            raise invalid(checker.violations)
        record = await self.record(caller, job_id)
        if record.spec.output is not None and record.spec.output.export_as_media:
            require(caller, Permission.MEDIA)
        if not record.ended and record.attempt > 1:
            return self._present(record)
        self._check_reach(caller, record, "read", "write")
        with translated():
            try:
                record = await self._store.retry(
                    job_id,
                    client_token,
                    most_waiting=self._bounds.most_waiting,
                    most_of_one=self._bounds.most_waiting_of_one,
                )
            except QueueFullError as error:
                raise queue_full(error) from error
            except NoSuchJobError:
                raise job_not_found(job_id) from None
            except TransitionError:
                raise AppError(
                    Kind.WRONG_STATE,
                    "JOB_STATE",
                    f"The job is {record.state}; only one that FAILED or was CANCELLED can be "
                    "run again.",
                    metadata={"job_id": job_id, "state": record.state.value},
                ) from None
        if record.state is JobState.PENDING:
            self._scheduler.add(record)
        return self._present(record)

    def _check_reach(self, caller: Caller, record: JobRecord, *verbs: Verb) -> None:
        """Hold a caller to what its key may read and write, for a job that another key, or
        another principal, may have submitted. Raises PERMISSION_DENIED."""
        checker = Checker(self._bounds, caller.reach)
        checker.places(record.spec, verbs)
        if any(item.reason == OUT_OF_REACH for item in checker.violations):
            raise AppError(
                Kind.DENIED,
                "PERMISSION_DENIED",
                f"These credentials may not {' and '.join(verbs)} where this job does; take the "
                "key that submitted it.",
                metadata={"permission": "reach"},
            )


def _not_ended(record: JobRecord) -> AppError:
    return AppError(
        Kind.WRONG_STATE,
        "JOB_STATE",
        f"The job is {record.state}; cancel it first, or set force.",
        metadata={"job_id": record.job_id, "state": record.state.value},
    )
