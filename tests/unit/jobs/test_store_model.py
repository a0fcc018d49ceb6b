"""Random histories of a store, compared after each step with a model that is too simple to be
wrong: dictionaries and a list of events. Some servers end meanwhile, and some are killed."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Awaitable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from reelsplit import (
    Error,
    JobEvent,
    JobState,
    JobStateChanged,
    PlanCompleted,
    SegmentChanged,
    SegmentState,
    SourceInfo,
)
from reelsplit_server.jobs import transitions
from reelsplit_server.jobs.forgetting import MEMORY_OF_TOKENS
from reelsplit_server.jobs.records import StoredEvent
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import QueueFullError, TokenReusedError
from reelsplit_server.jobs.transitions import TransitionError
from tests.unit.jobs.keeping import SPEC, Kept, kept, pieces

T = TypeVar("T")
PRINCIPALS = st.sampled_from(["red", "blue"])
TOKENS = st.sampled_from(["", "a", "b"])
PRIORITIES = st.sampled_from([1, 2])
MOST_WAITING, MOST_OF_ONE = 6, 4
LIFE = timedelta(hours=1)
FINAL = "RANGE_OUTSIDE_SOURCE"


@dataclasses.dataclass(slots=True)
class Piece:
    """A segment, as the model knows it."""

    state: SegmentState = SegmentState.PLANNED
    attempt: int = 0
    reason: str | None = None
    intent: str | None = None


@dataclasses.dataclass(slots=True)
class Model:
    """A job, as the model knows it."""

    job_id: str
    principal: str
    state: JobState = JobState.PENDING
    attempt: int = 1
    percent: float = 0.0
    planned: bool = False
    expires: datetime | None = None
    retry: str = ""
    pieces: list[Piece] = dataclasses.field(default_factory=list)
    told: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    """What its events say, in order."""

    def change(self, state: JobState) -> None:
        self.told.append(("job", self.state, state, self.attempt))
        self.state = state

    def count(self, state: SegmentState) -> int:
        return sum(piece.state is state for piece in self.pieces)


@dataclasses.dataclass(slots=True)
class Token:
    """A client token, with the priority that tells requests apart."""

    job_id: str
    priority: int
    forgotten: datetime | None = None


class Histories(RuleBasedStateMachine):
    """One store with one model beside it."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.jobs: dict[str, Model] = {}
        self.gone: list[Model] = []
        self.tokens: dict[tuple[str, str], Token] = {}
        self.order: list[tuple[str, int]] = []
        """Job and number of each event, in the order in which they were told."""
        self.position = 0
        self.last: dict[str, int] = {}
        """The position of the newest event of each job."""
        self.touched: set[str] = set()
        self.place = self.folder / "0"
        shutil.copytree(self.template, self.place)
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        self.stack = AsyncExitStack()
        before: datetime | None = self.keep.clock.now if hasattr(self, "keep") else None
        self.keep: Kept = await self.stack.enter_async_context(kept(self.place))
        if before is not None:
            self.keep.clock.now = before

    def teardown(self) -> None:
        self.touched = set(self.jobs)
        try:
            self.as_in_the_model()
            self.run(self.whole_log())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    made = Bundle("made")

    # --- Jobs ------------------------------------------------------------------------------

    @rule(target=made, principal=PRINCIPALS, token=TOKENS, priority=PRIORITIES)
    def add(self, principal: str, token: str, priority: int) -> Any:
        return self.submit(principal, [token], priority)

    @rule(target=made, principal=PRINCIPALS, token=st.sampled_from(["c", "d"]), priority=PRIORITIES)
    def add_at_once(self, principal: str, token: str, priority: int) -> Any:
        """The same request several times at the same instant."""
        return self.submit(principal, [token] * 3, priority)

    def submit(self, principal: str, tokens: list[str], priority: int) -> Any:
        spec = dataclasses.replace(SPEC, priority=priority)

        async def work() -> list[Any]:
            adds: list[Awaitable[Any]] = [
                self.keep.store.add(
                    principal,
                    token,
                    spec,
                    spec,
                    most_waiting=MOST_WAITING,
                    most_of_one=MOST_OF_ONE,
                )
                for token in tokens
            ]
            return await asyncio.gather(*adds, return_exceptions=True)

        answers, token = self.run(work()), tokens[0]
        known = self.tokens.get((principal, token)) if token else None
        if known is not None and (known.priority != priority or known.job_id not in self.jobs):
            assert all(isinstance(a, TokenReusedError) for a in answers), answers
            assert {answer.job_id for answer in answers} == {known.job_id}
            return multiple()
        if known is not None:
            assert {answer.job_id for answer in answers} == {known.job_id}
            return multiple()
        waiting = [job for job in self.jobs.values() if job.state is JobState.PENDING]
        own = sum(job.principal == principal for job in waiting)
        if len(waiting) >= MOST_WAITING or own >= MOST_OF_ONE:
            assert all(isinstance(a, QueueFullError) for a in answers), answers
            return multiple()
        (job_id,) = {answer.job_id for answer in answers}
        job = self.jobs[job_id] = Model(job_id, principal)
        job.told.append(("job", JobState.UNSPECIFIED, JobState.PENDING, 1))
        if token:
            self.tokens[principal, token] = Token(job_id, priority)
        self.touched.add(job_id)
        return job_id

    @rule(job_id=made, state=st.sampled_from([s for s in JobState if s.value != "UNSPECIFIED"]))
    def change_job(self, job_id: str, state: JobState) -> None:
        job = self.jobs.get(job_id)
        ended = state in transitions.ENDED
        error = Error(reason="SEGMENTS_FAILED") if state is JobState.FAILED else None

        async def work() -> None:
            expire = LIFE if ended else None
            await self.keep.store.change_job(job_id, state, error=error, expire=expire)

        if job is None:
            self.refused(work(), NoSuchJobError)
        elif state is JobState.PENDING and state in transitions.JOB[job.state]:
            # By a retry only.
            return
        elif state not in transitions.JOB[job.state]:
            self.refused(work(), TransitionError)
        else:
            self.run(work())
            job.change(state)
            if ended:
                job.expires = self.keep.clock.now + LIFE
            if state is JobState.SUCCEEDED:
                job.percent = 100.0
        self.touched.add(job_id)

    @rule(job_id=made, token=TOKENS)
    def retry(self, job_id: str, token: str) -> None:
        job = self.jobs.get(job_id)
        work = self.keep.store.retry(job_id, token)
        self.touched.add(job_id)
        if job is None:
            self.refused(work, NoSuchJobError)
        elif token and job.retry == token:
            self.run(work)
        elif JobState.PENDING not in transitions.JOB[job.state]:
            self.refused(work, TransitionError)
        else:
            self.run(work)
            for index, piece in enumerate(job.pieces):
                before = piece.state
                stopped = before is SegmentState.RUNNING
                if stopped or (before is SegmentState.FAILED and piece.reason != FINAL):
                    piece.state, piece.reason = SegmentState.PLANNED, None
                    job.told.append(("piece", index, before, piece.state))
            job.attempt, job.retry, job.expires = job.attempt + 1, token, None
            job.change(JobState.PENDING)

    @rule(job_id=made, percent=st.sampled_from([0.0, 12.5, 50.0, 99.0]))
    def raise_percent(self, job_id: str, percent: float) -> None:
        self.run(self.keep.store.raise_percent(job_id, percent))
        if job_id in self.jobs:
            self.jobs[job_id].percent = max(self.jobs[job_id].percent, percent)
            self.touched.add(job_id)

    @rule(target=made, job_id=consumes(made), principal=PRINCIPALS)
    def delete(self, job_id: str, principal: str) -> Any:
        job, work = self.jobs.get(job_id), self.keep.store.delete(principal, job_id)
        if job is None or job.principal != principal:
            self.refused(work, NoSuchJobError)
        elif job.state not in transitions.ENDED:
            self.refused(work, TransitionError)
            return job_id
        else:
            self.run(work)
            self.forget(job)
        return multiple()

    def forget(self, job: Model) -> None:
        del self.jobs[job.job_id]
        self.gone.append(job)
        for token in self.tokens.values():
            if token.job_id == job.job_id:
                token.forgotten = self.keep.clock.now + MEMORY_OF_TOKENS

    @rule(hours=st.sampled_from([0.5, 1.5, 25]))
    def sweep(self, hours: float) -> None:
        self.keep.clock.turn(timedelta(hours=hours))
        now = self.keep.clock.now
        due = [job for job in self.jobs.values() if job.expires and job.expires < now]
        assert set(self.run(self.keep.store.sweep())) == {job.job_id for job in due}
        for job in due:
            self.forget(job)
        self.run(self.keep.store.sweep_tokens())
        old = [k for k, token in self.tokens.items() if token.forgotten and token.forgotten < now]
        for key in old:
            del self.tokens[key]

    # --- Segments --------------------------------------------------------------------------

    @rule(job_id=made, count=st.integers(0, 4), wrong=st.booleans())
    def plan(self, job_id: str, count: int, wrong: bool) -> None:
        """An analysis tells what it found, some of it again."""
        job = self.jobs.get(job_id)
        work = self.keep.store.plan(job_id, pieces(count, wrong=[count - 1] if wrong else []))
        if job is None:
            self.refused(work, NoSuchJobError)
            return
        self.run(work)
        for index in range(len(job.pieces), count):
            job.pieces.append(Piece())
            job.told.append(("piece", index, SegmentState.UNSPECIFIED, SegmentState.PLANNED))
            if wrong and index == count - 1:
                self.move(job, index, SegmentState.FAILED)
                job.pieces[index].reason = FINAL
        self.touched.add(job_id)

    @rule(job_id=made)
    def plan_complete(self, job_id: str) -> None:
        job, work = self.jobs.get(job_id), self.keep.store.plan_complete(job_id, SourceInfo(), ())
        if job is None:
            self.refused(work, NoSuchJobError)
            return
        self.run(work)
        job.planned = True
        job.told.append(("plan", len(job.pieces)))
        self.touched.add(job_id)

    @rule(job_id=made, index=st.integers(0, 3))
    def begin(self, job_id: str, index: int) -> None:
        job, work = self.jobs.get(job_id), self.keep.store.begin_segment(job_id, index)
        if job is None or index >= len(job.pieces):
            self.refused(work, NoSuchJobError)
        elif SegmentState.RUNNING not in transitions.SEGMENT[job.pieces[index].state]:
            self.refused(work, TransitionError)
        else:
            _, segment, intent = self.run(work)
            self.move(job, index, SegmentState.RUNNING)
            piece = job.pieces[index]
            piece.attempt, piece.reason = piece.attempt + 1, None
            assert (segment.attempt, intent) == (piece.attempt, piece.intent)
            self.touched.add(job_id)

    @rule(
        job_id=made,
        index=st.integers(0, 3),
        state=st.sampled_from([SegmentState.PUBLISHED, SegmentState.FAILED, SegmentState.PLANNED]),
    )
    def end(self, job_id: str, index: int, state: SegmentState) -> None:
        """What came of a segment is kept."""
        job = self.jobs.get(job_id)
        if job is None or index >= len(job.pieces):
            return
        piece = job.pieces[index]

        async def work() -> None:
            segment, _ = await self.keep.store.segment(job_id, index)
            reason = "OUTPUT_EXISTS" if state is SegmentState.FAILED else None
            error = Error(reason=reason) if reason else None
            await self.keep.store.change_segment(dataclasses.replace(segment, error=error), state)

        if state not in transitions.SEGMENT[piece.state]:
            self.refused(work(), TransitionError)
        else:
            self.run(work())
            self.move(job, index, state)
            piece.reason = "OUTPUT_EXISTS" if state is SegmentState.FAILED else None
        self.touched.add(job_id)

    @rule(job_id=made, index=st.integers(0, 3), checksum=st.sampled_from(["x", "y"]))
    def intend(self, job_id: str, index: int, checksum: str) -> None:
        self.run(self.keep.store.intend(job_id, index, checksum))
        job = self.jobs.get(job_id)
        if job is not None and index < len(job.pieces):
            job.pieces[index].intent = checksum
            self.touched.add(job_id)

    def move(self, job: Model, index: int, state: SegmentState) -> None:
        job.told.append(("piece", index, job.pieces[index].state, state))
        job.pieces[index].state = state

    # --- Servers ---------------------------------------------------------------------------

    @precondition(lambda self: self.jobs)
    @rule(killed=st.booleans())
    def another_server(self, killed: bool) -> None:
        """The server ends, or is killed: then its files are what it had written by then."""
        self.run(self.another(killed))
        self.touched = set(self.jobs)

    async def another(self, killed: bool) -> None:
        self.told()
        stack, before = self.stack, self.place
        if killed:
            self.place = self.folder / str(int(before.name) + 1)
            shutil.copytree(before, self.place)
        else:
            await stack.aclose()
        await self.open()
        if killed:
            await stack.aclose()
        found = [*await self.keep.store.queued(), *await self.keep.store.unfinished()]
        active = {job.job_id for job in found}
        assert active == {
            job.job_id for job in self.jobs.values() if job.state not in transitions.ENDED
        }

    # --- What must hold --------------------------------------------------------------------

    def refused(self, work: Coroutine[Any, Any, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            self.run(work)

    def told(self) -> None:
        """Events are told as they are committed: each at a position behind all before."""
        for event in [stored for commit in self.keep.commits for stored in commit]:
            assert event.position > self.position, "a position was given out again"
            self.position = event.position
            self.last[event.event.job_id] = event.position
            self.order.append((event.event.job_id, event.event.sequence))
        self.keep.commits.clear()

    @invariant()
    def as_in_the_model(self) -> None:
        self.told()
        touched, self.touched = self.touched, set()
        for job_id in touched:
            if job_id in self.jobs:
                self.run(self.check(self.jobs[job_id]))

    async def check(self, job: Model) -> None:
        store = self.keep.store
        record = await store.get(job.principal, job.job_id)
        assert (record.state, record.attempt, record.percent) == (
            job.state,
            job.attempt,
            job.percent,
        )
        assert (record.plan_complete, record.segment_count) == (job.planned, len(job.pieces))
        assert record.published_count == job.count(SegmentState.PUBLISHED)
        assert record.failed_count == job.count(SegmentState.FAILED)
        assert record.expire_time == job.expires
        assert record.last_sequence == len(job.told)
        segments, _ = await store.segments(job.job_id)
        found = [(s.state, s.attempt, s.error.reason if s.error else None) for s in segments]
        assert found == [(p.state, p.attempt, p.reason) for p in job.pieces]
        for index, piece in enumerate(job.pieces):
            assert (await store.segment(job.job_id, index))[1] == piece.intent
        events = await store.events(job.job_id, 0, 10_000)
        assert [e.event.sequence for e in events] == list(range(1, len(job.told) + 1))
        assert [_said(e.event) for e in events] == job.told

    async def whole_log(self) -> None:
        """The log of all jobs holds what was told, in that order, but what was deleted."""
        store = self.keep.store
        left = [(job_id, number) for job_id, number in self.order if job_id in self.jobs]
        assert _numbers(await store.all_events(None, 0, 10_000)) == left
        for principal in ("red", "blue"):
            own = [e for e in left if self.jobs[e[0]].principal == principal]
            assert _numbers(await store.all_events(principal, 0, 10_000)) == own
            lost = [self.last[job.job_id] for job in self.gone if job.principal == principal]
            assert await store.forgotten_position(principal) == max(lost, default=0)
        if self.order:
            assert await store.last_position() == self.position
        lost = [self.last[job.job_id] for job in self.gone]
        assert await store.forgotten_position(None) == max(lost, default=0)
        for job in self.gone:
            with pytest.raises(NoSuchJobError):
                await store.get(None, job.job_id)
            assert await store.events(job.job_id, 0, 10) == []


def _numbers(events: list[StoredEvent]) -> list[tuple[str, int]]:
    return [(item.event.job_id, item.event.sequence) for item in events]


def _said(event: JobEvent) -> tuple[Any, ...]:
    match event.event:
        case JobStateChanged(previous_state=before, state=state, attempt=attempt):
            return "job", before, state, attempt
        case SegmentChanged(previous_state=before, segment=segment):
            assert segment is not None
            return "piece", segment.index, before, segment.state
        case PlanCompleted(segment_count=count):
            return "plan", count
    raise AssertionError(event)


def test_random_histories_go_as_in_the_model(empty: Path) -> None:
    class Machine(Histories):
        template = empty

    Machine.TestCase.settings = settings(
        # A smaller history that fails is not looked for: that takes minutes.
        max_examples=10,
        stateful_step_count=40,
        phases=[Phase.reuse, Phase.generate],
    )
    Machine.TestCase().runTest()
