"""Jobs in flight: each is submitted, watched and perhaps stopped by a thread of its own, which goes
on whatever happens to the server."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle

import pytest

from reelsplit import (
    Client,
    Job,
    JobEvent,
    JobState,
    JobStateChanged,
    NotFoundError,
    PlanCompleted,
    RetryPolicy,
    SegmentChanged,
    SegmentState,
    SourceOpened,
    channel,
)
from reelsplit.watching import TERMINAL
from tests.crash.kinds import LASTING, PASSING, Kind, Wanted, Where
from tests.crash.places import Place
from tests.patience import PATIENCE
from tests.server import wait_for

STUBBORN = RetryPolicy(attempts=10_000, initial=0.05, maximum=0.3)
TOKENS = {name: f"token-of-{name}-0123456789" for name in ("red", "blue", "grey")}
WATCHED = ("red", "blue")
"""Whose jobs last, and are watched all together as well."""
_END = 600.0
"""Seconds in which all that was begun must have ended."""


@dataclasses.dataclass(slots=True)
class Tracked:
    """A job as its client knows it."""

    name: str
    principal: str
    wanted: Wanted
    job_id: str = ""
    """Once its submission was answered."""
    events: list[JobEvent] = dataclasses.field(default_factory=list)
    stamps: dict[int, object] = dataclasses.field(default_factory=dict)
    """Of each segment's object, taken when the watcher was told that it is published."""
    answers: list[Job] = dataclasses.field(default_factory=list)
    """To cancelling."""
    failure: BaseException | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.wanted.kind} {self.name} {self.job_id}"


class Load:
    """Keeps ``most`` jobs in flight, of kinds that take turns, for several callers."""

    def __init__(
        self,
        address: str,
        source: str,
        places: Sequence[Place],
        dice: random.Random,
        *,
        most: int = 7,
        lasting: Sequence[Kind] = LASTING,
        passing: Sequence[Kind] = PASSING,
    ) -> None:
        self.places = places
        self.jobs: list[Tracked] = []
        self.all: dict[str, list[JobEvent]] = {principal: [] for principal in WATCHED}
        """What watchers of all jobs were told, for each caller."""
        with _connecting_soon():
            self.clients: Mapping[str, Client] = {
                principal: Client(address, token=token, timeout=_END, retry=STUBBORN)
                for principal, token in TOKENS.items()
            }
        self._source, self._dice, self._most = source, dice, most
        self._kinds: list[tuple[str, Kind]] = []
        turns, others, callers = cycle(lasting), cycle(passing), cycle(WATCHED)
        for place in range(10_000):
            passes = passing and place % 3 == 2
            kind = next(others) if passes else next(turns)
            self._kinds.append(("grey" if passes else next(callers), kind))
        self._stopping, self._closing = threading.Event(), threading.Event()
        self._lives: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._trigger: tuple[str | None, threading.Event] | None = None
        self._watches = [
            self.clients[principal].watch_jobs(
                resume_token=self.clients[principal].list_page(page_size=1).watch_token,
                progress=True,
            )
            for principal in WATCHED
        ]
        self._others = [
            self._thread(self._watch_all, principal, stream)
            for principal, stream in zip(WATCHED, self._watches, strict=True)
        ]
        self._others.append(self._thread(self._submit_for_ever))

    # --- For those who kill ----------------------------------------------------------------

    def until(self, moment: str | None, patience: float) -> bool:
        """Wait for the next moment of this name in the life of any job; for any where it is
        None."""
        reached = threading.Event()
        self._trigger = moment, reached
        return reached.wait(patience)

    def reach(self, moment: str) -> None:
        """Something happened that those who kill may wait for."""
        if self._trigger is not None and self._trigger[0] in (None, moment):
            self._trigger[1].set()

    def check(self) -> None:
        """Raise what went wrong by now."""
        for failure in [*self._failures, *(job.failure for job in self.jobs)]:
            if failure is not None:
                raise failure

    def finish(self) -> None:
        """Begin no more jobs, and wait until all have ended and everything was told."""
        self._stopping.set()
        deadline = time.monotonic() + _END
        for thread in self._lives:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"not ended: {[job.label for job in self._open()]}"
        self.check()
        for principal in WATCHED:
            wait_for(lambda principal=principal: not self._untold(principal))
        self._end_watches()
        self.check()

    def place(self, job: Tracked) -> Place:
        """Where a job writes."""
        return self.places[int(job.name) % len(self.places)]

    def _end_watches(self) -> None:
        self._closing.set()
        for stream in self._watches:
            stream.close()
        for thread in self._others:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._end_watches()
        for client in self.clients.values():
            client.close()
        for thread in self._lives:
            thread.join(PATIENCE)

    # --- Within ----------------------------------------------------------------------------

    def _thread(self, work: Callable[..., None], *given: object) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*given)
            except BaseException as error:
                if not self._closing.is_set():
                    self._failures.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def _open(self) -> list[Tracked]:
        return [job for job in self.jobs if not (_ended(job.events) or job.failure)]

    def _submit_for_ever(self) -> None:
        for number, (principal, kind) in enumerate(self._kinds):
            while sum(thread.is_alive() for thread in self._lives) >= self._most:
                if self._stopping.wait(0.02):
                    return
            if self._stopping.is_set():
                return
            place = self.places[number % len(self.places)]
            where = Where(source=self._source, folder=place.folder, dice=self._dice)
            name = f"{number:04}"
            wanted = kind(where, name)
            spec = dataclasses.replace(wanted.spec, labels={"name": name})
            job = Tracked(name, principal, dataclasses.replace(wanted, spec=spec))
            self.jobs.append(job)
            self._lives.append(self._thread(self._live, job, place))

    def _live(self, job: Tracked, place: Place) -> None:
        client = self.clients[job.principal]
        dice = random.Random(job.name)
        self.reach("submitting")
        token = f"token-{job.name}"
        job.job_id = client.submit_spec(job.wanted.spec, client_token=token).job_id
        if job.wanted.kind != "fleeting" and dice.random() < 0.3:
            again = client.submit_spec(job.wanted.spec, client_token=token).job_id
            assert again == job.job_id, "the same request with the same token made another job"
        stopper = threading.Thread(target=self._stop, args=(job, dice.uniform(0, 1.5)))
        if job.wanted.stopped:
            stopper.start()
        try:
            for event in client.watch(job.job_id, progress_interval=0.05):
                self._see(job, place, event)
        except NotFoundError:
            if job.wanted.kind not in ("deleted", "fleeting"):
                raise
        if job.wanted.stopped:
            stopper.join()

    def _see(self, job: Tracked, place: Place, event: JobEvent) -> None:
        job.events.append(event)
        match event.event:
            case JobStateChanged(state=state):
                self.reach(state.value)
            case SourceOpened():
                self.reach("opened")
            case PlanCompleted():
                self.reach("planned")
            case SegmentChanged(segment=segment) if segment is not None:
                if segment.state is SegmentState.PUBLISHED and job.wanted.kind != "deleted":
                    job.stamps[segment.index] = place.stamp(segment.uri)
                self.reach(f"segment {segment.state.value}")

    def _stop(self, job: Tracked, pause: float) -> None:
        client = self.clients[job.principal]
        time.sleep(pause)
        self.reach("stopping")
        try:
            if job.wanted.stopped == "cancel":
                job.answers += [client.cancel(job.job_id) for _ in range(2)]
            else:
                for _ in range(2):
                    client.delete(job.job_id, allow_missing=True, delete_outputs=True, force=True)
        except BaseException as error:
            job.failure = error

    def _watch_all(self, principal: str, stream: Iterable[JobEvent]) -> None:
        for event in stream:
            self.all[principal].append(event)

    def _untold(self, principal: str) -> bool:
        """Whether a watcher of all jobs has still to be told of the end of one."""
        ended = {event.job_id for event in self.all[principal] if _ended([event])}
        return any(job.principal == principal and job.job_id not in ended for job in self.jobs)


@contextmanager
def _connecting_soon() -> Iterator[None]:
    """Clients that are made within the block never wait long before they connect again: these
    servers are never away for long, and killed so often that most of the time would be waited."""
    usual, longest = channel._options, "grpc.max_reconnect_backoff_ms"

    def options(*, loopback: bool) -> Sequence[tuple[str, int | str]]:
        return tuple((dict(usual(loopback=loopback)) | {longest: 300}).items())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel, "_options", options)
        yield


def _ended(events: Sequence[JobEvent]) -> bool:
    return any(
        isinstance(event.event, JobStateChanged) and event.event.state in TERMINAL
        for event in events
    )


MOMENTS = (
    "submitting",
    JobState.RUNNING.value,
    "opened",
    "segment PLANNED",
    "segment RUNNING",
    "segment PUBLISHED",
    "planned",
    JobState.SUCCEEDED.value,
    JobState.CANCELLING.value,
    "stopping",
)
"""What those who kill can wait for."""
