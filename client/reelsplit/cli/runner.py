"""Runs jobs to their end: submits, follows their events, and cancels them when interrupted.

Every job is followed by a thread of its own; all that is shown is shown by the caller's thread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from reelsplit import Client, errors
from reelsplit.cli.failures import ExitCode, Failure
from reelsplit.cli.signals import Interrupts
from reelsplit.cli.translate import explain, job_failure
from reelsplit.cli.view import JobView
from reelsplit.types.event import JobEvent
from reelsplit.types.job import Job
from reelsplit.types.segment import Segment
from reelsplit.types.spec import JobSpec

_AT_ONCE = 8
"""So many jobs are followed at a time."""
_CANCEL_SECONDS = 15.0
"""So long an interrupted command waits for its jobs to be CANCELLED."""
_POLL = 0.1
_AHEAD = 1000
"""So many events may wait to be shown."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One job to run, or, with `job_id`, one that is there already and only followed."""

    name: str
    spec: JobSpec | None = None
    job_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended, or what kept it from ending."""

    task: Task
    job: Job | None
    segments: Sequence[Segment]
    failure: Failure | None
    """Why the job failed; None if it succeeded."""

    @property
    def outside(self) -> Failure | None:
        """The failure, unless it is that of the job, which tells it itself."""
        return self.failure if self.job is None or self.job.error is None else None


class Reporter(Protocol):
    """Shows what happens."""

    def event(self, task: Task, event: JobEvent, view: JobView) -> None:
        """One event came; the view has it already."""

    def ended(self, outcome: Outcome) -> None:
        """One job has ended."""


@dataclasses.dataclass(slots=True, eq=False)
class _Run:
    """What goes on with one task. Written by its own thread until it is done."""

    task: Task
    view: JobView = dataclasses.field(default_factory=JobView)
    job: Job | None = None


_Message = tuple[_Run, JobEvent | Outcome]


class Runner:
    """Runs tasks on one server."""

    def __init__(
        self,
        client: Client,
        reporter: Reporter,
        interrupts: Interrupts,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` raises a Failure when the server is known to be gone."""
        self._client = client
        self._reporter = reporter
        self._interrupts = interrupts
        self._check = check
        # Bounded: a slow reader of stdout slows the streams down instead of filling the memory.
        self._messages: queue.Queue[_Message] = queue.Queue(_AHEAD)
        self._waiting: queue.SimpleQueue[_Run] = queue.SimpleQueue()

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Run all of them, and answer once all have ended, in the order given."""
        runs = [_Run(task) for task in tasks]
        for run in runs:
            self._waiting.put(run)
        for _ in range(min(_AT_ONCE, len(runs))):
            threading.Thread(target=self._work, daemon=True).start()
        outcomes: dict[_Run, Outcome] = {}
        cancelling = False
        deadline = float("inf")
        failure: Failure | None = None
        while len(outcomes) < len(runs):
            open_runs = [run for run in runs if run not in outcomes]
            try:
                if self._interrupts.happened() and not cancelling:
                    cancelling, deadline = True, time.monotonic() + _CANCEL_SECONDS
                    self._cancel(open_runs)
                if time.monotonic() > deadline or (cancelling and not _owned(open_runs)):
                    raise _interrupted()
                message = self._next()
                if message is None:
                    self._check()
                else:
                    self._take(*message, outcomes)
            except Failure as raised:
                if raised.code is ExitCode.INTERRUPTED and not cancelling:
                    self._interrupts.interrupt()  # Nobody reads any longer.
                    continue
                failure = raised
                break
        for run in runs:
            if run not in outcomes:
                assert failure is not None
                outcomes[run] = self._cut_off(run, failure)
        return [outcomes[run] for run in runs]

    def _next(self) -> _Message | None:
        try:
            return self._messages.get(timeout=_POLL)
        except queue.Empty:
            return None

    def _take(self, run: _Run, message: JobEvent | Outcome, outcomes: dict[_Run, Outcome]) -> None:
        if isinstance(message, Outcome):
            outcomes[run] = message
            self._reporter.ended(message)
        else:
            run.view.apply(message)
            self._reporter.event(run.task, message, run.view)

    def _cut_off(self, run: _Run, failure: Failure) -> Outcome:
        segments = [run.view.segments[index] for index in sorted(run.view.segments)]
        outcome = Outcome(task=run.task, job=run.job, segments=segments, failure=failure)
        self._reporter.ended(outcome)
        return outcome

    def _work(self) -> None:
        while True:
            try:
                run = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                outcome = self._follow(run)
            except errors.ReelsplitError as error:
                outcome = self._failed(run, explain(error, run.task.spec))
            except (ValueError, TypeError) as error:
                # What the SDK refuses to send.
                failure = Failure(ExitCode.USAGE, str(error), reason="INVALID_FIELD")
                outcome = self._failed(run, failure)
            except RuntimeError as error:
                # The client was closed.
                outcome = self._failed(run, Failure(ExitCode.UNREACHABLE, str(error)))
            self._messages.put((run, outcome))

    def _follow(self, run: _Run) -> Outcome:
        task, client = run.task, self._client
        if self._interrupts.happened():
            return self._failed(run, _interrupted())
        if task.spec is None:
            run.job = client.get(task.job_id)
        else:
            handle = client.submit_spec(task.spec)
            run.job = handle.job or handle.get()
            if self._interrupts.happened():
                # The interruption came while we were submitting, and did not know of this job.
                client.cancel(handle.job_id)
        for event in client.watch(run.job.job_id):
            self._messages.put((run, event))
        run.job = client.get(run.job.job_id)
        segments = tuple(client.segments(run.job.job_id))
        failure = job_failure(run.job)
        if failure is not None and task.spec is not None and self._interrupts.happened():
            failure = _interrupted()
        return Outcome(task=task, job=run.job, segments=segments, failure=failure)

    def _failed(self, run: _Run, failure: Failure) -> Outcome:
        segments = [run.view.segments[index] for index in sorted(run.view.segments)]
        return Outcome(task=run.task, job=run.job, segments=segments, failure=failure)

    def _cancel(self, runs: Sequence[_Run]) -> None:
        for run in runs:
            if run.job is not None and run.task.spec is not None:
                threading.Thread(
                    target=self._cancel_one, args=(run.job.job_id,), daemon=True
                ).start()

    def _cancel_one(self, job_id: str) -> None:
        # Where it fails the job has ended, or the server has, which the watch will tell.
        with contextlib.suppress(errors.ReelsplitError, RuntimeError):
            self._client.cancel(job_id)


def exit_code(outcomes: Sequence[Outcome]) -> ExitCode:
    """That of the worst."""
    codes = {outcome.failure.code for outcome in outcomes if outcome.failure is not None}
    ranked = (ExitCode.INTERRUPTED, ExitCode.UNREACHABLE, ExitCode.USAGE, ExitCode.FAILED)
    return next((code for code in ranked if code in codes), ExitCode.DONE)


def _owned(runs: Sequence[_Run]) -> bool:
    return any(run.task.spec is not None for run in runs)


def _interrupted() -> Failure:
    return Failure(ExitCode.INTERRUPTED, "interrupted", reason="CANCELLED")
