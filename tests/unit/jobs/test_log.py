"""The log in memory: who is woken, and how far back it reaches."""

from __future__ import annotations

from reelsplit import Bookmark, JobEvent, JobProgress
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.records import StoredEvent


def _event(sequence: int, job_id: str = "a", principal: str = "me") -> StoredEvent:
    event = JobEvent(job_id=job_id, sequence=sequence, event=Bookmark())
    return StoredEvent(position=sequence, principal=principal, event=event)


def _sequences(events: list[StoredEvent] | None) -> list[int] | None:
    return None if events is None else [item.event.sequence for item in events]


async def test_only_those_who_follow_are_woken() -> None:
    log = EventLog()
    job, other = log.follow_job("a"), log.follow_job("b")
    mine, theirs = log.follow_principal("me"), log.follow_principal("them")
    log.commit([_event(1)])
    assert [await f.woken(0.01) for f in (job, other, mine, theirs)] == [True, False, True, False]


async def test_a_follower_is_woken_once_for_all_that_happened() -> None:
    log = EventLog()
    follower = log.follow_job("a")
    log.commit([_event(1), _event(2)])
    log.commit([_event(3)])
    assert await follower.woken(0.01)
    assert not await follower.woken(0.01)


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
    assert log.tail("a", 0) is None
    follower = log.follow_job("a")
    assert log.tail("a", 0) is None
    log.commit([_event(2), _event(3)])
    assert _sequences(log.tail("a", 0)) is None
    assert _sequences(log.tail("a", 1)) == [2, 3]
    assert _sequences(log.tail("a", 2)) == [3]
    assert _sequences(log.tail("a", 3)) == []
    log.leave(follower)
    assert log.tail("a", 1) is None


async def test_a_reader_that_is_far_behind_is_sent_to_the_store() -> None:
    log = EventLog()
    log.follow_job("a")
    log.commit([_event(number) for number in range(1, 1001)])
    assert log.tail("a", 10) is None
    kept = _sequences(log.tail("a", 999))
    assert kept == [1000]
    first = next(after for after in range(1000) if log.tail("a", after) is not None)
    assert _sequences(log.tail("a", first)) == list(range(first + 1, 1001))


async def test_progress_is_told_until_the_end() -> None:
    log = EventLog()
    follower = log.follow_principal("me")
    log.progress("me", "a", JobProgress(percent=5))
    assert await follower.woken(0.01)
    assert log.last_progress("a") == JobProgress(percent=5)
    log.progress("me", "a", None)
    assert log.last_progress("a") is None


async def test_all_are_woken_when_the_server_stops_and_some_when_a_job_is_deleted() -> None:
    log = EventLog()
    followers = [log.follow_job("a"), log.follow_job("b"), log.follow_principal("me")]
    log.wake_job("a")
    assert [await f.woken(0.01) for f in followers] == [True, False, False]
    log.wake_all()
    assert [await f.woken(0.01) for f in followers] == [True, True, True]
