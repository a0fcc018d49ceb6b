"""The log in memory: who is woken, what is known of a job, and how far back it reaches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from reelsplit import Bookmark, JobEvent, JobProgress, JobState, JobStateChanged
from reelsplit_server.jobs.log import EventLog, Feed, Follower
from reelsplit_server.jobs.records import KeptEvent, Standing, StoredEvent


def _event(sequence: int, job_id: str = "a", principal: str = "me") -> StoredEvent:
    return _stored(JobEvent(job_id=job_id, sequence=sequence, event=Bookmark()), principal)


def _changed(sequence: int, state: JobState, percent: float = 0.0) -> StoredEvent:
    change = JobStateChanged(state=state, percent=percent)
    return _stored(JobEvent(job_id="a", sequence=sequence, event=change), "me")


def _stored(event: JobEvent, principal: str) -> StoredEvent:
    return StoredEvent(position=event.sequence, principal=principal, event=event, data=b"")


def _standing(last: int, state: JobState) -> Standing:
    return Standing(job_id="a", principal="me", state=state, last_sequence=last)


def _sequences(events: Sequence[KeptEvent] | None) -> list[int] | None:
    return None if events is None else [item.sequence for item in events]


async def test_only_those_who_follow_are_woken() -> None:
    log = EventLog()
    job, other = log.follow_job("a"), log.follow_job("b")
    mine, theirs = log.follow_principal("me"), log.follow_principal("them")
    log.commit([_event(1)])
    woken = [await job.woken(0.01), await other.woken(0.01)]
    assert [*woken, await mine.woken(0.01), await theirs.woken(0.01)] == [True, False, True, False]


async def test_a_follower_is_woken_once_for_all_that_happened() -> None:
    log = EventLog()
    follower = log.follow_job("a")
    log.commit([_event(1), _event(2)])
    log.commit([_event(3)])
    assert await follower.woken(0.01)
    assert not await follower.woken(0.01)


async def test_a_follower_is_woken_once_for_a_commit() -> None:
    woken: list[Follower[Any]] = []

    class Counting(Follower[Any]):
        def wake(self) -> None:
            woken.append(self)
            super().wake()

    log = EventLog()
    sources = (log.follow_job("a"), log.follow_principal("me"), log.follow_principal(None))
    followers = [Counting(follower.source) for follower in sources]
    for follower in followers:
        follower.source.followers.add(follower)
    log.commit([_event(number) for number in range(1, 100)])
    assert sorted(map(id, woken)) == sorted(map(id, followers))


async def test_what_came_last_is_handed_out_in_parts() -> None:
    log = EventLog()
    log.commit([_event(n, principal="me" if n % 2 else "them") for n in range(1, 101)])
    assert _sequences(log.recent(None, 0, 3)) == [1, 2, 3]
    assert _sequences(log.recent("me", 2, 3)) == [3, 5, 7]
    assert _sequences(log.recent("them", 94, 3)) == [96, 98, 100]
    assert _sequences(log.recent("them", 96, 3)) == [98, 100]
    assert _sequences(log.recent("me", 100, 3)) == []


async def test_one_who_waits_already_is_woken() -> None:
    log = EventLog()
    followers = [log.follow_job("a") for _ in range(3)]
    waiting = [asyncio.create_task(follower.woken()) for follower in followers]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    log.commit([_event(1)])
    assert await asyncio.gather(*waiting[1:]) == [True, True]


async def test_one_who_left_is_not_woken() -> None:
    log = EventLog()
    follower, stays = log.follow_job("a"), log.follow_job("a")
    log.leave(follower)
    log.commit([_event(1)])
    log.wake_all()
    assert not await follower.woken(0.01)
    assert await stays.woken(0.01)


async def test_the_tail_holds_what_came_since_somebody_follows() -> None:
    log = EventLog()
    log.commit([_event(1)])
    follower = log.follow_job("a")
    feed = follower.source
    assert feed.behind(0) is None
    log.commit([_event(2), _event(3)])
    assert feed.behind(0) is None
    assert _sequences(feed.behind(1)) == [2, 3]
    assert _sequences(feed.behind(2)) == [3]
    assert _sequences(feed.behind(3)) == []
    assert log.follow_job("a").source is feed
    log.leave(follower)
    assert _sequences(log.follow_job("a").source.behind(1)) == [2, 3]


async def test_what_nobody_follows_is_not_kept() -> None:
    log = EventLog()
    follower = log.follow_job("a")
    log.commit([_event(1)])
    log.leave(follower)
    log.commit([_event(2)])
    assert log.follow_job("a").source.behind(0) is None


async def test_a_reader_that_is_far_behind_is_sent_to_the_store() -> None:
    log = EventLog()
    feed = log.follow_job("a").source
    log.commit([_event(number) for number in range(1, 1001)])
    assert feed.behind(10) is None
    assert _sequences(feed.behind(999)) == [1000]
    first = next(after for after in range(1000) if feed.behind(after) is not None)
    assert _sequences(feed.behind(first)) == list(range(first + 1, 1001))


async def test_a_tail_never_has_a_gap() -> None:
    log = EventLog()
    feed = log.follow_job("a").source
    log.commit([_event(1), _event(3)])
    assert feed.behind(0) is None
    assert _sequences(feed.behind(2)) == [3]


async def test_what_is_known_of_a_job_never_falls_back() -> None:
    feed = EventLog().follow_job("a").source
    feed.know(_standing(5, JobState.SUCCEEDED))
    assert (feed.last, feed.ended) == (5, True)
    # The word of a commit comes after the store was asked.
    feed.commit(_changed(4, JobState.RUNNING).kept, _changed(4, JobState.RUNNING).event.event)
    assert (feed.last, feed.ended) == (5, True)
    feed.know(_standing(3, JobState.RUNNING))
    assert (feed.last, feed.ended) == (5, True)


async def test_a_job_ends_and_is_run_again() -> None:
    log = EventLog()
    feed = log.follow_job("a").source
    log.commit([_changed(1, JobState.PENDING), _changed(2, JobState.FAILED, 40.0)])
    assert (feed.last, feed.ended, feed.percent) == (2, True, 40.0)
    log.commit([_event(3), _changed(4, JobState.PENDING)])
    assert (feed.last, feed.ended, feed.percent) == (4, False, 40.0)


async def test_progress_is_told_until_the_end() -> None:
    log = EventLog()
    group = log.follow_principal("me").source
    log.progress("me", "a", JobProgress(percent=5))
    assert group.progressed(0) == ["a"]
    assert log.last_progress("a") == JobProgress(percent=5)
    log.progress("me", "a", None)
    assert group.progressed(0) == []
    assert log.last_progress("a") is None


async def test_the_jobs_that_progressed_since_are_told() -> None:
    log = EventLog()
    log.progress("me", "before", JobProgress(percent=1))
    log.progress("them", "theirs", JobProgress(percent=1))
    group = log.follow_principal("me").source
    assert group.progressed(-1) == ["before"]
    log.progress("me", "a", JobProgress(percent=1))
    log.progress("me", "b", JobProgress(percent=1))
    seen = group.told
    log.progress("me", "a", JobProgress(percent=2))
    assert group.progressed(seen) == ["a"]
    assert sorted(group.progressed(0)) == ["a", "b", "before"]
    assert sorted(log.follow_principal(None).source.progressed(-1)) == [
        *("a", "b", "before", "theirs")
    ]


async def test_only_those_who_wait_for_progress_are_woken_by_it() -> None:
    log = EventLog()
    waits, does_not = log.follow_job("a"), log.follow_job("a")
    beat = waits.source.beat(waits, 0.0)
    log.progress("me", "a", JobProgress(percent=5))
    assert await waits.woken(0.01)
    assert beat.number == 1
    assert not await does_not.woken(0.01)


async def test_one_timer_holds_progress_back_for_all_with_the_same_interval() -> None:
    log = EventLog()
    followers = [log.follow_job("a") for _ in range(3)]
    beats = {id(follower.source.beat(follower, 0.2)) for follower in followers}
    assert len(beats) == 1
    beat = followers[0].source.beat(followers[0], 0.2)
    for percent in range(50):
        log.progress("me", "a", JobProgress(percent=percent))
    assert beat.number == 1
    assert [await follower.woken(0.01) for follower in followers] == [True] * 3
    assert [await follower.woken(20) for follower in followers] == [True] * 3
    assert beat.number == 2
    assert not await followers[0].woken(0.5)


async def test_a_beat_ends_with_those_who_wait_for_it() -> None:
    log = EventLog()
    stays, leaves = log.follow_job("a"), log.follow_job("a")
    beat = leaves.source.beat(leaves, 0.05)
    log.progress("me", "a", JobProgress(percent=1))
    log.progress("me", "a", JobProgress(percent=2))
    log.leave(leaves)
    assert not await stays.woken(0.2)
    assert beat.number == 1


async def _woken(*followers: Follower[Feed]) -> list[bool]:
    return [await follower.woken(0.01) for follower in followers]


async def test_all_are_woken_when_the_server_stops_and_some_when_a_job_is_deleted() -> None:
    log = EventLog()
    deleted, other, group = log.follow_job("a"), log.follow_job("b"), log.follow_principal("me")
    log.deleted("a")
    assert deleted.source.gone
    assert await _woken(deleted, other) == [True, False]
    log.wake_all()
    assert await _woken(deleted, other) == [True, True]
    assert await group.woken(0.01)
