"""Random commits, watchers that come, stop reading and go, and servers that are started again:
each watcher is told exactly what is kept, whatever it is that memory still holds."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from reelsplit import JobEvent, JobState, JobStateChanged
from reelsplit.v1 import event_pb2
from reelsplit.wire import from_message
from reelsplit_server.access.callers import Caller
from reelsplit_server.app import telling, watching
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.app.watching import Watching
from reelsplit_server.jobs import log
from reelsplit_server.jobs.transitions import ENDED
from tests.patience import PATIENCE
from tests.unit.jobs.keeping import Kept, kept, pieces

T = TypeVar("T")
PRINCIPALS = ("red", "blue")
ENDS = st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])


@dataclasses.dataclass(slots=True)
class Watcher:
    """One who watches a job, or all jobs of a principal; it may stop reading."""

    principal: str
    job_id: str | None
    after: int
    """The number, or the position, behind which it began."""
    seen: list[JobEvent] = dataclasses.field(default_factory=list)
    token: str = ""
    reads: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether its job's end was told, and the watch with it."""
        return self.task is not None and self.task.done()


class Watches(RuleBasedStateMachine):
    """A store, its log in memory, and those who watch."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.place = self.folder / "data"
        shutil.copytree(self.template, self.place)
        self.kept: dict[str, list[int]] = {principal: [] for principal in PRINCIPALS}
        """The positions of each principal's events."""
        self.jobs: dict[str, str] = {}
        self.states: dict[str, JobState] = {}
        self.lengths: dict[str, int] = {}
        self.watchers: list[Watcher] = []
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        self.stack = AsyncExitStack()
        self.keep: Kept = await self.stack.enter_async_context(kept(self.place))
        sealer = Sealer(b"0" * 32)
        given: Any = (self.keep.store, self.keep.log, None, sealer, None, None)
        self.watching = Watching(Jobs(*given), self.keep.store, self.keep.log, sealer, 1000)
        self.sealer = sealer

    async def close(self) -> None:
        """The server ends, and with it all streams."""
        self.count()
        tasks = [watcher.task for watcher in self.watchers if watcher.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.stack.aclose()

    def teardown(self) -> None:
        try:
            self.run(self.settle())
        finally:
            self.run(self.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    # --- Commits ---------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for principal in PRINCIPALS:
            self.add(principal)

    @rule(principal=st.sampled_from(PRINCIPALS))
    def add(self, principal: str) -> None:
        record = self.run(self.keep.add(principal=principal))
        self.jobs[record.job_id], self.lengths[record.job_id] = principal, 0
        self.states[record.job_id] = JobState.PENDING

    @rule(data=st.data(), count=st.sampled_from([1, 2, 5, 20]), apart=st.booleans())
    def commit(self, data: st.DataObject, count: int, apart: bool) -> None:
        """So many events of a job, by as many commits or by one."""
        job_id = self.some(data)
        if self.states[job_id] in ENDED:
            return
        self.lengths[job_id] += count

        async def work() -> None:
            before = self.lengths[job_id] - count
            for step in range(1, count + 1) if apart else [count]:
                await self.keep.store.plan(job_id, pieces(before + step))

        self.run(work())

    @rule(data=st.data(), state=ENDS)
    def end(self, data: st.DataObject, state: JobState) -> None:
        job_id = self.some(data)
        before = self.states[job_id]
        if before in ENDED or (before is JobState.PENDING and state is JobState.SUCCEEDED):
            return
        if before is JobState.RUNNING and state is JobState.CANCELLED:
            return
        self.change(job_id, state)

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """A job is admitted, or run again that has ended."""
        job_id = self.some(data)
        if self.states[job_id] is JobState.PENDING:
            self.change(job_id, JobState.RUNNING)
        elif self.states[job_id] in (JobState.FAILED, JobState.CANCELLED):
            # Those who watch are told of the end first.
            self.run(self.settle())
            self.run(self.keep.store.retry(job_id, ""))
            self.states[job_id] = JobState.PENDING

    def change(self, job_id: str, state: JobState) -> None:
        expire = timedelta(days=1) if state in ENDED else None
        self.run(self.keep.store.change_job(job_id, state, expire=expire))
        self.states[job_id] = state

    def some(self, data: st.DataObject) -> str:
        return list(self.jobs)[data.draw(st.integers(0, len(self.jobs) - 1))]

    # --- Watchers --------------------------------------------------------------------------

    @rule(data=st.data(), reads=st.booleans())
    def join(self, data: st.DataObject, reads: bool) -> None:
        """Somebody watches a job, from its beginning or behind any event of it."""
        job_id = self.some(data)

        async def work() -> None:
            last = (await self.keep.store.get(None, job_id)).last_sequence
            after = data.draw(st.integers(0, last))
            principal = self.jobs[job_id]
            token = self.sealer.seal("watch", (principal, job_id), [after]) if after else ""
            self.follow(Watcher(principal, job_id, after, token=token), reads)

        self.run(work())

    @rule(data=st.data(), principal=st.sampled_from(PRINCIPALS), reads=st.booleans())
    def join_all(self, data: st.DataObject, principal: str, reads: bool) -> None:
        """Somebody watches all jobs, behind any event."""
        self.count()
        after = data.draw(st.sampled_from([0, *self.kept[principal]]))

        async def work() -> None:
            token = self.sealer.seal("watch-all", (principal,), [after])
            self.follow(Watcher(principal, None, after, token=token), reads)

        self.run(work())

    @rule(data=st.data())
    @precondition(lambda self: self.watchers)
    def stop_reading_or_go_on(self, data: st.DataObject) -> None:
        watcher = self.watchers[data.draw(st.integers(0, len(self.watchers) - 1))]
        if watcher.reads.is_set():
            watcher.reads.clear()
        else:
            watcher.reads.set()
        self.run(asyncio.sleep(0))

    @rule()
    @precondition(lambda self: self.watchers)
    def another_server(self) -> None:
        """All who watched come back, with the token of what they saw last."""

        async def work() -> None:
            left = [watcher for watcher in self.watchers if not watcher.ended]
            await self.close()
            await self.open()
            for watcher in left:
                self.follow(watcher, watcher.reads.is_set())

        self.run(work())

    @rule()
    def wait(self) -> None:
        self.run(self.settle())

    def follow(self, watcher: Watcher, reads: bool) -> None:
        if watcher not in self.watchers:
            self.watchers.append(watcher)
        if reads:
            watcher.reads.set()
        watcher.task = asyncio.create_task(self.read(watcher))

    async def read(self, watcher: Watcher) -> None:
        caller = Caller(principal=watcher.principal)
        stream: AsyncIterator[bytes]
        if watcher.job_id is None:
            stream = self.watching.all(caller, _told, resume_token=watcher.token)
        else:
            stream = self.watching.job(caller, watcher.job_id, _told, resume_token=watcher.token)
        async for told in stream:
            await watcher.reads.wait()
            event = from_message(JobEvent, event_pb2.JobEvent.FromString(told))
            watcher.token = event.resume_token or watcher.token
            if event.sequence:
                watcher.seen.append(dataclasses.replace(event, resume_token=""))

    # --- What must hold --------------------------------------------------------------------

    def count(self) -> None:
        for stored in [item for commit in self.keep.commits for item in commit]:
            self.kept[stored.principal].append(stored.position)
        self.keep.commits.clear()

    async def settle(self) -> None:
        """All read on: before long each of them has been told everything, and nothing twice."""
        self.count()
        for watcher in self.watchers:
            watcher.reads.set()
        for watcher in self.watchers:
            async with asyncio.timeout(PATIENCE):
                while not await self.is_told(watcher):
                    await asyncio.sleep(0.001)

    async def is_told(self, watcher: Watcher) -> bool:
        if watcher.ended and watcher.task is not None:
            watcher.task.result()
        if watcher.job_id is None:
            stored = await self.keep.store.all_events(watcher.principal, watcher.after, 100_000)
        else:
            stored = await self.keep.store.events(watcher.job_id, watcher.after, 100_000)
        wanted = [item.event for item in stored]
        seen = watcher.seen
        assert seen == wanted[: len(seen)], "another event was told than the one that is next"
        if watcher.ended:
            # Nothing more is told of a job that has ended, though it may be run again.
            assert not seen or _is_end(seen[-1]) or len(seen) == len(wanted)
            return True
        over = watcher.job_id is not None and self.states[watcher.job_id] in ENDED
        return len(seen) == len(wanted) and not over


def _told(event: bytes, token: str) -> bytes:
    """As the face makes it of an event that is kept, and of the token behind it."""
    return event + event_pb2.JobEvent(resume_token=token).SerializeToString()


def _is_end(event: JobEvent) -> bool:
    return isinstance(event.event, JobStateChanged) and event.event.state in ENDED


def test_each_watcher_is_told_what_is_kept(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # So small that readers soon fall behind what memory holds.
    monkeypatch.setattr(log, "_TAIL", 4)
    monkeypatch.setattr(log, "_RECENT", 8)
    monkeypatch.setattr(watching, "_BATCH", 3)
    monkeypatch.setattr(telling, "_PAGE", 3)

    class Machine(Watches):
        template = empty

    Machine.TestCase.settings = settings(
        # A smaller history that fails is not looked for: that takes minutes.
        max_examples=15,
        stateful_step_count=30,
        phases=[Phase.reuse, Phase.generate],
    )
    Machine.TestCase().runTest()
