"""Watches over a real store: each event once and in order, made once for all who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reelsplit import JobEvent, JobProgress, JobState
from reelsplit.v1 import event_pb2
from reelsplit.wire import from_message
from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app import watching as module
from reelsplit_server.app.errors import AppError
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.app.watching import Watching
from reelsplit_server.jobs.records import JobRecord
from tests.patience import PATIENCE
from tests.unit.jobs.keeping import Kept, kept, pieces

ME = Caller(principal="me")
THEM = Caller(principal="them")
ADMIN = Caller(principal="boss", permissions=frozenset(Permission))


@dataclass
class Draining:
    """Of the jobs, a watch asks only this."""

    draining: bool = False


@dataclass
class Watched:
    """Watches on a store. ``made`` counts what was turned into bytes, ``reads`` looks into the
    database."""

    keep: Kept
    watching: Watching
    jobs: Draining
    made: list[str] = field(default_factory=list)
    reads: int = 0

    def make(self, event: bytes, token: str) -> bytes:
        message = event_pb2.JobEvent.FromString(event)
        message.resume_token = token
        self.made.append(token)
        return message.SerializeToString()

    async def job(
        self, caller: Caller, job_id: str, **options: Any
    ) -> AsyncGenerator[JobEvent, None]:
        async with aclosing(self.watching.job(caller, job_id, self.make, **options)) as events:
            async for event in events:
                yield _read(event)

    async def all(self, caller: Caller, **options: Any) -> AsyncGenerator[JobEvent, None]:
        async with aclosing(self.watching.all(caller, self.make, **options)) as events:
            async for event in events:
                yield _read(event)

    async def end(self, job: JobRecord, state: JobState = JobState.FAILED) -> None:
        await self.keep.store.change_job(job.job_id, JobState.RUNNING)
        await self.keep.store.change_job(job.job_id, state)


def _read(event: bytes) -> JobEvent:
    return from_message(JobEvent, event_pb2.JobEvent.FromString(event))


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    async with kept(tmp_path) as keep:
        jobs = Draining()
        watching = Watching(jobs, keep.store, keep.log, Sealer(b"k" * 32), 100)  # type: ignore[arg-type]
        made = Watched(keep, watching, jobs)
        read = keep.database.read

        async def counted(function: Callable[[Any], Any]) -> Any:
            made.reads += 1
            return await read(function)

        monkeypatch.setattr(keep.database, "read", counted)
        keep.log.begin(0)
        yield made


async def _take(events: AsyncGenerator[JobEvent, None], count: int) -> list[JobEvent]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(events) for _ in range(count)]


async def _rest(events: AsyncGenerator[JobEvent, None]) -> list[JobEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in events]


def _numbers(events: list[JobEvent]) -> list[int]:
    return [event.sequence for event in events if event.sequence]


async def test_all_watchers_get_all_events_whenever_they_come(watched: Watched) -> None:
    job = await watched.keep.add()
    store, tasks = watched.keep.store, []
    count = 0
    # Some commits hold more than memory keeps.
    for burst in (1, 3, 100, 40, 1, 1, 33, 200, 1):
        watch = watched.job(ME, job.job_id, skip_progress=bool(burst % 2))
        tasks += [asyncio.create_task(_rest(watch))]
        await asyncio.sleep(0)
        await store.plan(job.job_id, pieces(burst, first=count))
        count += burst
    await watched.end(job)
    expected = list(range(1, count + 4))
    for events in await asyncio.gather(*tasks):
        assert _numbers(events) == expected
    whole = await _rest(watched.job(ME, job.job_id, skip_progress=True))
    for place in (0, 30, 31, 32, 33, 63, 64, len(whole) - 2, len(whole) - 1):
        token = whole[place].resume_token
        rest = await _rest(watched.job(ME, job.job_id, resume_token=token, skip_progress=True))
        assert rest == whole[place + 1 :]


async def test_an_event_is_made_once_and_nobody_asks_the_database(watched: Watched) -> None:
    job = await watched.keep.add()
    watches = [watched.job(ME, job.job_id, skip_progress=True) for _ in range(50)]
    for watch in watches:
        await _take(watch, 1)
    watched.made.clear()
    tasks = [asyncio.create_task(_take(watch, 10)) for watch in watches]
    await asyncio.sleep(0)
    before = watched.reads
    for index in range(10):
        await watched.keep.store.plan(job.job_id, pieces(1, first=index))
        await asyncio.sleep(0.01)
    events = await asyncio.gather(*tasks)
    assert all(one == events[0] for one in events)
    assert len(watched.made) == 10
    assert watched.reads == before
    for watch in watches:
        await watch.aclose()


async def test_those_who_come_together_share_what_is_read(watched: Watched) -> None:
    job = await watched.keep.add()
    await watched.keep.store.plan(job.job_id, pieces(300))
    await watched.end(job)
    watched.reads = 0
    watches = [_rest(watched.job(ME, job.job_id)) for _ in range(50)]
    events = await asyncio.gather(*watches)
    assert _numbers(events[0]) == list(range(1, 304))
    assert all(one == events[0] for one in events)
    # Ten pages, and where the job stands.
    assert watched.reads <= 12
    assert len(watched.made) == 304


async def test_one_who_leaves_takes_nothing_from_those_who_read_with_it(watched: Watched) -> None:
    job = await watched.keep.add()
    await watched.keep.store.plan(job.job_id, pieces(100))
    await watched.end(job)
    tasks = [asyncio.create_task(_rest(watched.job(ME, job.job_id))) for _ in range(4)]
    for turn in range(3):
        await asyncio.sleep(0.001 * turn)
        tasks[turn].cancel()
    assert _numbers(await tasks[3]) == list(range(1, 104))
    await asyncio.gather(*tasks[:3], return_exceptions=True)


async def test_a_reader_that_stops_holds_nobody_up_and_misses_nothing(watched: Watched) -> None:
    job = await watched.keep.add()
    slow = watched.job(ME, job.job_id, skip_progress=True)
    first = await _take(slow, 1)
    quick = asyncio.create_task(_rest(watched.job(ME, job.job_id, skip_progress=True)))
    for index in range(0, 500, 10):
        await watched.keep.store.plan(job.job_id, pieces(10, first=index))
    await watched.end(job)
    whole = await asyncio.wait_for(quick, PATIENCE)
    assert _numbers(whole) == list(range(1, 504))
    assert first + await _rest(slow) == whole


async def test_a_watch_ends_behind_the_end_and_another_follows_the_next_attempt(
    watched: Watched,
) -> None:
    job = await watched.keep.add()
    await watched.end(job)
    whole = await _rest(watched.job(ME, job.job_id, skip_progress=True))
    await watched.keep.store.retry(job.job_id, "again")
    token = whole[-1].resume_token
    watch = watched.job(ME, job.job_id, resume_token=token, skip_progress=True)
    (again,) = await _take(watch, 1)
    assert again.sequence == whole[-1].sequence + 1
    await watched.end(job)
    assert _numbers(await _rest(watch)) == [again.sequence + 1, again.sequence + 2]


@pytest.mark.parametrize("behind", [0, 100])
async def test_a_job_that_is_deleted_is_gone_for_its_watchers(
    watched: Watched, behind: int
) -> None:
    job = await watched.keep.add()
    watch = watched.job(ME, job.job_id, skip_progress=True)
    await _take(watch, 1)
    if behind:
        await watched.keep.store.plan(job.job_id, pieces(behind))
    await watched.keep.forget(job.job_id)
    watched.keep.log.deleted(job.job_id)
    with pytest.raises(AppError, match="There is no job"):
        await _rest(watch)
    with pytest.raises(AppError, match="There is no job"):
        await _rest(watched.job(ME, job.job_id))


async def test_a_job_that_was_deleted_unheard_is_gone_for_a_reader_that_is_behind(
    watched: Watched,
) -> None:
    job = await watched.keep.add()
    await watched.keep.store.plan(job.job_id, pieces(100))
    watch = watched.job(ME, job.job_id)
    await _take(watch, 1)
    await watched.keep.forget(job.job_id)
    with pytest.raises(AppError, match="There is no job"):
        await _rest(watch)


async def test_the_end_is_told_though_the_job_was_deleted_at_once(watched: Watched) -> None:
    job = await watched.keep.add()
    watch = watched.job(ME, job.job_id, skip_progress=True)
    await _take(watch, 1)
    await watched.end(job, JobState.SUCCEEDED)
    await watched.keep.forget(job.job_id)
    watched.keep.log.deleted(job.job_id)
    assert _numbers(await _rest(watch)) == [2, 3]


async def test_only_those_who_may_see_a_job_watch_it(watched: Watched) -> None:
    job = await watched.keep.add()
    await watched.keep.store.plan(job.job_id, pieces(2))
    mine = watched.job(ME, job.job_id, skip_progress=True)
    events = await _take(mine, 3)
    # While somebody watches it, too, whose reading could be shared.
    with pytest.raises(AppError, match="There is no job"):
        await _rest(watched.job(THEM, job.job_id))
    theirs = watched.job(ADMIN, job.job_id, skip_progress=True)
    seen = await _take(theirs, 3)
    assert _numbers(seen) == _numbers(events)
    with pytest.raises(AppError, match="resume_token"):
        await _rest(watched.job(ADMIN, job.job_id, resume_token=events[0].resume_token))
    await mine.aclose()
    await theirs.aclose()


async def test_a_server_that_drains_sends_its_watchers_away(watched: Watched) -> None:
    job = await watched.keep.add()
    watches = [watched.job(ME, job.job_id) for _ in range(3)] + [watched.all(ME)]
    for watch in watches:
        await _take(watch, 1)
    tasks = [asyncio.create_task(_rest(watch)) for watch in watches]
    await asyncio.sleep(0.01)
    watched.jobs.draining = True
    watched.keep.log.wake_all()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, AppError)
        assert outcome.reason == "SHUTTING_DOWN"


async def test_a_caller_has_so_many_watches(watched: Watched) -> None:
    job = await watched.keep.add()
    watches = [watched.job(ME, job.job_id) for _ in range(100)]
    for watch in watches:
        await _take(watch, 1)
    for further in (watched.job(ME, job.job_id), watched.all(ME)):
        with pytest.raises(AppError, match="100 watches"):
            await _rest(further)
    await watches.pop().aclose()
    await _take(watched.job(ME, job.job_id), 1)
    for watch in watches:
        await watch.aclose()


# --- Progress --------------------------------------------------------------------------------


async def test_those_with_one_interval_hear_of_progress_together(watched: Watched) -> None:
    job = await watched.keep.add()
    await watched.keep.store.change_job(job.job_id, JobState.RUNNING)
    watches = [watched.job(ME, job.job_id, interval=0.1) for _ in range(20)]
    for watch in watches:
        assert isinstance((await _take(watch, 3))[-1].event, JobProgress)
    # Whoever was just shown where the job stands hears nothing new for an interval.
    await asyncio.sleep(0.15)
    watched.made.clear()
    tasks = [asyncio.create_task(_take(watch, 3)) for watch in watches]
    for percent in range(1, 99):
        watched.keep.log.progress("me", job.job_id, JobProgress(percent=percent))
        await asyncio.sleep(0.01)
    heard = await asyncio.gather(*tasks)
    assert all(one == heard[0] for one in heard)
    assert len(watched.made) <= 12
    for watch in watches:
        await watch.aclose()


async def test_percent_never_goes_back_for_anybody(watched: Watched) -> None:
    job = await watched.keep.add()
    log, store = watched.keep.log, watched.keep.store
    watches = [watched.job(ME, job.job_id, interval=0) for _ in range(3)]
    tasks = [asyncio.create_task(_rest(watch)) for watch in watches]
    await asyncio.sleep(0.05)
    await store.change_job(job.job_id, JobState.RUNNING)
    for percent in (5, 3, 20, 10, 20, 21, 0):
        await store.raise_percent(job.job_id, percent)
        log.progress("me", job.job_id, JobProgress(percent=percent))
        await asyncio.sleep(0.01)
    late = asyncio.create_task(_rest(watched.job(ME, job.job_id, interval=0)))
    await asyncio.sleep(0.05)
    log.progress("me", job.job_id, JobProgress(percent=2))
    await asyncio.sleep(0.01)
    log.progress("me", job.job_id, None)
    await store.change_job(job.job_id, JobState.SUCCEEDED)
    for events in await asyncio.gather(*tasks, late):
        percents = [event.event.percent for event in events if hasattr(event.event, "percent")]
        assert percents == sorted(percents)
        assert percents[-1] == 100


async def test_a_snapshot_knows_what_the_events_before_it_told(watched: Watched) -> None:
    job = await watched.keep.add()
    watch = watched.job(ME, job.job_id)
    await _take(watch, 1)
    await watched.keep.store.plan(job.job_id, pieces(5))
    events = await _take(watch, 6)
    shown = events[-1]
    assert isinstance(shown.event, JobProgress)
    assert shown.event.segment_count == 5
    assert shown.resume_token == events[-2].resume_token
    await watch.aclose()


# --- All jobs --------------------------------------------------------------------------------


async def test_a_watch_of_all_is_made_once_too(watched: Watched) -> None:
    watches = [watched.all(ME) for _ in range(20)]
    for watch in watches:
        await _take(watch, 1)
    watched.made.clear()
    tasks = [asyncio.create_task(_take(watch, 12)) for watch in watches]
    jobs = [await watched.keep.add() for _ in range(4)]
    await watched.keep.add(principal="them")
    for job in jobs:
        await watched.keep.store.plan(job.job_id, pieces(2))
    heard = await asyncio.gather(*tasks)
    assert all(one == heard[0] for one in heard)
    assert {event.job_id for event in heard[0]} == {job.job_id for job in jobs}
    assert len(watched.made) == 12
    for watch in watches:
        await watch.aclose()


async def test_labels_are_read_once_for_all(watched: Watched) -> None:
    watches = [watched.all(ME, labels={"colour": "blue"}) for _ in range(20)]
    for watch in watches:
        await _take(watch, 1)
    watched.reads = 0
    tasks = [asyncio.create_task(_take(watch, 4)) for watch in watches]
    await watched.keep.add(labels={"colour": "red"})
    blue = await watched.keep.add(labels={"colour": "blue", "size": "small"})
    await watched.keep.store.plan(blue.job_id, pieces(3))
    for heard in await asyncio.gather(*tasks):
        assert [event.job_id for event in heard] == [blue.job_id] * 4
    assert watched.reads <= 2
    for watch in watches:
        await watch.aclose()


async def test_a_quiet_watch_of_all_gets_bookmarks(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BOOKMARK", 0.1)
    watch = watched.all(ME, labels={"colour": "blue"})
    first = (await _take(watch, 1))[0]
    for _ in range(3):
        await watched.keep.add(labels={"colour": "red"})
    later = (await _take(watch, 2))[-1]
    assert later.resume_token != first.resume_token
    assert not later.job_id
    blue = await watched.keep.add(labels={"colour": "blue"})
    async for event in watch:
        if event.job_id:
            assert event.job_id == blue.job_id
            break
    await watch.aclose()


async def test_progress_of_all_jobs_is_told_at_most_once_in_a_while(watched: Watched) -> None:
    jobs = [await watched.keep.add() for _ in range(3)]
    for job in jobs:
        watched.keep.log.progress("me", job.job_id, JobProgress(percent=1))
    watch = watched.all(ME, include_progress=True)
    heard = await _take(watch, 4)
    assert {event.job_id for event in heard[1:]} == {job.job_id for job in jobs}
    task = asyncio.create_task(_take(watch, 2))
    for percent in range(2, 60):
        watched.keep.log.progress("me", jobs[0].job_id, JobProgress(percent=percent))
        await asyncio.sleep(0.005)
    told = [event.event for event in await task]
    assert all(isinstance(event, JobProgress) for event in told)
    assert len(watched.made) <= 10
    await watch.aclose()


async def test_a_reader_of_all_hears_that_jobs_were_deleted_before_it_saw_them(
    watched: Watched,
) -> None:
    jobs = [await watched.keep.add() for _ in range(200)]
    token = watched.watching._sealer.seal("watch-all", ("me",), [0])
    watched.keep.log._floor = None
    watch = watched.all(ME, resume_token=token)
    await _take(watch, 1)
    await watched.keep.forget(jobs[-1].job_id)
    with pytest.raises(AppError, match="list the jobs again"):
        await _rest(watch)


async def test_a_reader_of_all_is_handed_what_came_in_parts(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    recent = watched.keep.log.recent

    def seen(*given: Any) -> Any:
        found = recent(*given)
        sizes.append(len(found or ()))
        return found

    monkeypatch.setattr(watched.keep.log, "recent", seen)
    watch = watched.all(ME)
    await _take(watch, 1)
    job = await watched.keep.add()
    await watched.keep.add(principal="them")
    await watched.keep.store.plan(job.job_id, pieces(199))
    assert _numbers(await _take(watch, 200)) == list(range(1, 201))
    assert 64 <= max(sizes) < 200
    await watch.aclose()


# --- A database that was put back ------------------------------------------------------------


async def test_a_token_of_a_later_state_of_the_database_is_refused(watched: Watched) -> None:
    job = await watched.keep.add()
    await watched.keep.store.plan(job.job_id, pieces(2))
    seal = watched.watching._sealer.seal
    last = await watched.keep.store.last_position()
    of_job = [seal("watch", ("me", job.job_id), [number]) for number in (3, 4)]
    of_all = [seal("watch-all", ("me",), [position]) for position in (last, last + 1)]
    for watch in (
        watched.job(ME, job.job_id, resume_token=of_job[1]),
        watched.all(ME, resume_token=of_all[1]),
    ):
        with pytest.raises(AppError, match="later state") as caught:
            await _take(watch, 1)
        assert caught.value.reason == "TOKEN_TOO_OLD"
    watches = [
        watched.job(ME, job.job_id, resume_token=of_job[0], skip_progress=True),
        watched.all(ME, resume_token=of_all[0]),
    ]
    tasks = [asyncio.create_task(_take(watch, 1)) for watch in watches]
    await asyncio.sleep(0)
    await watched.keep.store.plan(job.job_id, pieces(1, first=2))
    for (event,) in await asyncio.gather(*tasks):
        assert event.sequence == 4
    for watch in watches:
        await watch.aclose()


async def test_a_token_that_is_newer_than_a_look_that_is_shared_is_taken(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await watched.keep.add()
    early = await watched.keep.store.standing(job.job_id)
    await watched.keep.store.plan(job.job_id, pieces(2))
    looks = [early]
    read = watched.keep.store.standing

    async def standing(job_id: str) -> Any:
        return looks.pop() if looks else await read(job_id)

    monkeypatch.setattr(watched.keep.store, "standing", standing)
    token = watched.watching._sealer.seal("watch", ("me", job.job_id), [2])
    watch = watched.job(ME, job.job_id, resume_token=token)
    assert _numbers(await _take(watch, 1)) == [3]
    await watch.aclose()
