"""One try of a unit, as metrics, traces and logs see it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import structlog

from reelsplit_server import metrics, tracing
from reelsplit_server.engine import seam
from reelsplit_server.jobs import traces
from reelsplit_server.jobs.records import JobRecord

_MOST_STAGES = 64
_MOST_READ, _MOST_FRAMES = 2**50, 2**40
"""Of one try: a worker may say anything."""


class Observed:
    """Told what happens in the try, which lasts as long as its ``with`` block."""

    def __init__(
        self, unit: seam.Analyse | seam.Render | seam.Scan, record: JobRecord, tries: int
    ) -> None:
        self._kind = unit.label.split()[0]
        self._span = tracing.start(
            self._kind,
            traces.of_job(record),
            reelsplit__job__id=record.job_id,
            reelsplit__unit__try=tries,
        )
        self._ids: dict[str, object] = {"job_id": record.job_id}
        if isinstance(unit, seam.Render):
            self._ids["segment"] = unit.segment.index
            self._span.set(
                reelsplit__segment__index=unit.segment.index,
                reelsplit__segment__attempt=unit.segment.attempt,
            )
        place = self._span.place
        self.unit = dataclasses.replace(unit, trace=None if place is None else str(place))
        """The unit, which knows where it is in traces."""
        self._outcome = "failed"
        self._frames = 0
        self._stack = ExitStack()

    def hearing(self, on_report: seam.OnReport) -> seam.OnReport:
        """What hears the reports: those that tell of the work itself are for nobody else."""

        async def hear(report: seam.Report) -> None:
            match report:
                case seam.Account():
                    self._settle(report)
                    return
                case seam.Progress(frames=frames) if self._kind == "analyse":
                    frames = max(self._frames, min(frames, _MOST_FRAMES))
                    metrics.FRAMES.labels("analysed").inc(frames - self._frames)
                    self._frames = frames
                case seam.PublishedReport(report=made):
                    metrics.BYTES_WRITTEN.labels("report").inc(made.size_bytes)
            await on_report(report)

        return hear

    def _settle(self, account: seam.Account) -> None:
        """A worker may say anything: nothing lies outside the try."""
        count_read(account)
        now = time.time_ns()
        for stage in account.stages[:_MOST_STAGES] if tracing.is_on() else ():
            start = min(max(stage.start, self._begun), now)
            span = tracing.start(stage.name, self._span.place, at=start)
            span.end(min(max(stage.end, start), now))

    def died(self, error: seam.WorkerDiedError) -> None:
        """The worker ended before."""
        self._outcome = "died"
        self._span.fail(f"worker_{count_death(error)}")

    def late(self) -> None:
        """It took too long."""
        self._outcome = "late"
        self._span.fail("late")

    def ended(self, outcome: seam.Outcome, *, again: bool) -> None:
        """It has come to an end; ``again`` where there will be another try."""
        if again:
            metrics.RETRIES.labels(self._kind).inc()
        if not isinstance(outcome, seam.Failed):
            self._outcome = "done"
        elif self._outcome == "failed":
            self._span.fail(outcome.error.reason)

    def __enter__(self) -> Self:
        self._begun, self._started = time.time_ns(), time.monotonic()
        self._stack.enter_context(structlog.contextvars.bound_contextvars(**self._ids))
        self._stack.enter_context(tracing.within(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if isinstance(error, asyncio.CancelledError):
            self._outcome = "stopped"
        self._span.set(reelsplit__unit__outcome=self._outcome)
        self._span.end()
        seconds = time.monotonic() - self._started
        metrics.UNIT_SECONDS.labels(self._kind, self._outcome).observe(seconds)


def count_read(account: seam.Account) -> None:
    """A worker has taken so much from a source."""
    metrics.BYTES_READ.inc(min(max(account.read, 0), _MOST_READ))


def count_death(error: seam.WorkerDiedError) -> str:
    """A worker ended before its unit did; answers the cause."""
    cause = _cause(error)
    metrics.WORKER_DEATHS.labels(cause).inc()
    return cause


def _cause(error: seam.WorkerDiedError) -> str:
    match error.end:
        case seam.End.STALLED:
            return "stalled"
        case seam.End.OUT_OF_MEMORY:
            return "memory"
        case _ if error.signal == "SIGKILL":
            return "killed"
        case _:
            return "crashed" if error.signal else "exited"
