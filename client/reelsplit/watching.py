"""How a watch outlasts broken streams: what it has seen, and what a failure means to it. Pure.

The promise is that each numbered event is handed out exactly once and in order. It stands on
three rules. Only numbered events and bookmarks move the resume token. A number that was seen is
dropped. A number that was skipped is a broken stream, which is resumed behind the last number.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

from google.protobuf.message import Message

from reelsplit import errors, wire
from reelsplit.retry import RetryPolicy, is_retryable
from reelsplit.types.event import Bookmark, JobEvent, JobStateChanged
from reelsplit.types.job import JobProgress, JobState
from reelsplit.types.record import Seconds
from reelsplit.v1 import job_service_pb2

TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""The states in which a job has ended, until it is retried."""

_STEADY = 30.0
"""A stream that lasted for so many seconds had reached the server, whether it brought anything or
not: connecting gives up earlier."""

_BROKEN_LIMIT = 10
"""How many streams in a row may break, each without news, before that counts as a fault that
reconnecting does not cure. A server that merely cannot be reached has `max_outage` instead."""

_KEPT_JOBS = 10_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is watched: one job, or all of them."""

    job_id: str | None = None
    """None for all jobs; those never end."""

    resume_token: str = ""
    progress: bool = True
    progress_interval: Seconds | None = None
    labels: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def method(self) -> str:
        """The RPC."""
        return "WatchJobs" if self.job_id is None else "WatchJob"

    def request(self, token: str) -> Message:
        """The request that begins behind the token."""
        if self.job_id is None:
            return job_service_pb2.WatchJobsRequest(
                resume_token=token, labels=self.labels, include_progress=self.progress
            )
        request = job_service_pb2.WatchJobRequest(
            job_id=self.job_id, resume_token=token, skip_progress=not self.progress
        )
        if self.progress_interval is not None:
            wire.set_duration(request.progress_interval, self.progress_interval)
        return request


@dataclasses.dataclass(slots=True)
class _Seen:
    """What was seen of one job."""

    sequence: int | None = None
    """The number of the last event; None while a resumed watch does not know it."""

    percent: float = 0.0


class Watching:
    """The state of one watch, over all the streams that it takes."""

    def __init__(self, plan: Plan, policy: RetryPolicy, deadline: float | None = None) -> None:
        self._plan = plan
        self._policy = policy
        self._deadline = deadline
        self._jobs: OrderedDict[str, _Seen] = OrderedDict()
        if plan.job_id is not None and not plan.resume_token:
            # Everything is replayed, so even the first event can be missed.
            self._jobs[plan.job_id] = _Seen(0)
        self._ended: bool | None = None if plan.resume_token else False
        self._reached = False
        self._failures = 0
        self._broken = 0
        self._began = 0.0
        self._down_since: float | None = None
        self.method = plan.method
        """The RPC."""

        self.token = plan.resume_token
        """What resumes behind all that was handed out."""

    def begin(self, now: float) -> Message:
        """A stream begins: its request."""
        self._began = now
        return self._plan.request(self.token)

    def remaining(self, now: float) -> float | None:
        """The seconds that the stream may last; None without bound."""
        return None if self._deadline is None else max(0.0, self._deadline - now)

    def accept(self, event: JobEvent) -> JobEvent | None:
        """What is handed out for an event that came; None for one that was seen before. Raises
        InternalError for one before which another is missing; the stream is then broken."""
        self._reached = True
        self._down_since = None
        if isinstance(event.event, Bookmark):
            self._news(event.resume_token)
            return event
        seen = self._seen(event.job_id)
        if event.sequence == 0:
            return _forward(event, seen)
        if seen.sequence is None:
            seen.sequence = event.sequence - 1
        if event.sequence <= seen.sequence:
            return None
        if event.sequence > seen.sequence + 1:
            self._ended = False
            raise errors.InternalError(
                "SEQUENCE_GAP",
                f"event {seen.sequence + 1} of job {event.job_id} is missing before "
                f"event {event.sequence}",
                {"job_id": event.job_id},
            )
        seen.sequence = event.sequence
        self._news(event.resume_token)
        change = event.event
        self._ended = isinstance(change, JobStateChanged) and change.state in TERMINAL
        return _forward(event, seen)

    def finished(self, now: float) -> float | None:
        """The stream ended with OK: None if that was the end of the watch, else the pause before
        the next stream. Raises when there is none."""
        if self._plan.job_id is not None and self._ended is not False:
            return None
        return self.failed(
            errors.InternalError("STREAM_ENDED", "the stream ended before its job"), now
        )

    def failed(self, error: errors.ReelsplitError, now: float) -> float | None:
        """The stream failed: the pause before the next one, or None if nothing is missing
        without it. Raises ``error`` where it is final."""
        if now - self._began >= _STEADY:
            self._reached = True
            self._failures = self._broken = 0
            self._down_since = None
        self._failures += 1
        if self._down_since is None:
            self._down_since = now
        resumable = _resumable(error)
        late = self._deadline is not None and now >= self._deadline
        unreachable = is_retryable(error)
        if not unreachable:
            self._broken += 1
        if self._ended:
            # The end of the job was told, and only the OK behind it is missing: gone with the
            # job when it was deleted, and not worth an outage when the server is.
            over = isinstance(error, errors.NotFoundError)
            if over or (resumable and (late or self._failures >= self._policy.attempts)):
                return None
        if resumable and late:
            raise errors.DeadlineExceededError(
                "DEADLINE_EXCEEDED", "the job did not end within the timeout"
            )
        if not resumable or self._gives_up(now - self._down_since, unreachable):
            raise error
        pause = self._policy.pause(self._failures, error)
        left = self.remaining(now)
        return pause if left is None else min(pause, left)

    def _gives_up(self, outage: float, unreachable: bool) -> bool:
        if not self._reached:
            # Until it has begun, a watch fails as any other call does.
            return self._failures >= self._policy.attempts
        if unreachable:
            return outage >= self._policy.max_outage
        return self._broken >= _BROKEN_LIMIT

    def _news(self, token: str) -> None:
        self._failures = self._broken = 0
        self.token = token or self.token

    def _seen(self, job_id: str) -> _Seen:
        seen = self._jobs.setdefault(job_id, _Seen())
        self._jobs.move_to_end(job_id)
        if len(self._jobs) > _KEPT_JOBS:
            # A watch of all jobs may go on for months.
            self._jobs.popitem(last=False)
        return seen


def _forward(event: JobEvent, seen: _Seen) -> JobEvent:
    """The event, with a percentage that is not below the one that was told before."""
    change = event.event
    if not isinstance(change, JobProgress | JobStateChanged):
        return event
    if change.percent >= seen.percent:
        seen.percent = change.percent
        return event
    return dataclasses.replace(event, event=dataclasses.replace(change, percent=seen.percent))


def _resumable(error: errors.ReelsplitError) -> bool:
    """Whether another stream may bring what this one did not."""
    if is_retryable(error):
        return True
    match error:
        case errors.InternalError() | errors.DeadlineExceededError() | errors.CallCancelledError():
            # What lies in between broke the stream, or cut it after a time of its own.
            return not error.from_server
        case _:
            return False
