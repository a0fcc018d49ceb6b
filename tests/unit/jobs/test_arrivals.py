"""Jobs that are submitted at the same time, and how many may wait."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from reelsplit import JobState
from reelsplit_server.jobs import arrivals, changes
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import QueueFullError, TokenReusedError
from tests.patience import PATIENCE
from tests.unit.jobs.keeping import SPEC, Kept


async def at_once(keep: Kept, *adds: dict[str, Any]) -> list[Any]:
    """What comes of adds that are handed in at the same moment."""

    def add(principal: str = "me", token: str = "", **given: Any) -> Any:
        limits = {"most_waiting": given.pop("most", 10_000), "most_of_one": given.pop("own", None)}
        spec = dataclasses.replace(SPEC, **given)
        return keep.store.add(principal, token, spec, spec, **limits)

    work = asyncio.gather(*(add(**given) for given in adds), return_exceptions=True)
    return await asyncio.wait_for(work, PATIENCE)


def kinds(answers: list[Any]) -> dict[str, int]:
    return dict(Counter(type(answer).__name__ for answer in answers))


async def test_many_at_once_are_all_kept_as_they_were_sent(keep: Kept) -> None:
    given = [
        {"principal": f"p{n % 3}", "token": f"t{n}", "labels": {"n": str(n)}, "priority": n % 5}
        for n in range(300)
    ]
    answers = await at_once(keep, *given)
    assert len({answer.job_id for answer in answers}) == 300
    for sent, answer in zip(given, answers, strict=True):
        assert await keep.store.get(sent["principal"], answer.job_id) == answer
        assert answer.spec.labels == sent["labels"]
        assert await keep.sequences(answer.job_id) == [1]
    # Few commits, in the order of their positions, and each job told once before it was answered.
    assert len(keep.commits) < 10
    told = [stored for commit in keep.commits for stored in commit]
    assert [item.event.job_id for item in told] == [answer.job_id for answer in answers]
    positions = [item.position for item in told]
    assert positions == sorted(set(positions))


async def test_one_token_at_one_moment_makes_one_job(keep: Kept) -> None:
    answers = await at_once(keep, *[{"token": "t"}] * 40, {"token": "t", "principal": "other"})
    ids = {answer.job_id for answer in answers[:40]}
    assert len(ids) == 1
    assert answers[40].job_id not in ids
    assert len(await keep.store.queued()) == 2


async def test_one_token_at_one_moment_with_two_requests_makes_the_first(keep: Kept) -> None:
    first, other, again = await at_once(
        keep, {"token": "t"}, {"token": "t", "priority": 7}, {"token": "t"}
    )
    assert isinstance(other, TokenReusedError)
    assert other.job_id == first.job_id == again.job_id
    assert len(await keep.store.queued()) == 1


async def test_no_more_wait_than_may_however_many_come_at_once(keep: Kept) -> None:
    answers = await at_once(keep, *[{"most": 7}] * 20)
    assert kinds(answers) == {"JobRecord": 7, "QueueFullError": 13}
    assert {(e.limit, e.own) for e in answers if isinstance(e, QueueFullError)} == {(7, False)}
    assert len(await keep.store.queued()) == 7


async def test_each_caller_has_a_limit_of_its_own(keep: Kept) -> None:
    answers = await at_once(keep, *[{"own": 2}] * 5, *[{"own": 2, "principal": "you"}] * 2)
    assert kinds(answers[:5]) == {"JobRecord": 2, "QueueFullError": 3}
    assert {(e.limit, e.own) for e in answers if isinstance(e, QueueFullError)} == {(2, True)}
    assert kinds(answers[5:]) == {"JobRecord": 2}


async def test_whatever_ends_the_waiting_makes_room(keep: Kept) -> None:
    async def full() -> bool:
        (answer,) = await at_once(keep, {"most": 1})
        if isinstance(answer, JobRecord):
            waiting.append(answer.job_id)
        return isinstance(answer, QueueFullError)

    waiting: list[str] = []
    store = keep.store
    assert not await full()
    assert await full()
    await store.change_job(waiting[-1], JobState.CANCELLED, expire=timedelta(hours=1))
    assert not await full()
    await store.change_job(waiting[-1], JobState.RUNNING)
    assert not await full()
    await store.change_job(waiting[-1], JobState.FAILED, expire=timedelta(hours=1))
    await store.delete("me", waiting[-1])
    assert not await full()
    # A retry waits as well, and is refused as well.
    assert await full()
    with pytest.raises(QueueFullError):
        await store.retry(waiting[0], "", most_waiting=1)
    assert (await store.get("me", waiting[0])).state is JobState.CANCELLED
    await store.change_job(waiting[-1], JobState.RUNNING)
    await store.retry(waiting[0], "", most_waiting=1)
    assert await full()


async def test_the_count_is_right_after_a_write_that_was_undone(keep: Kept) -> None:
    await at_once(keep, {"most": 3}, {"most": 3})
    first, second = (queued.job_id for queued in await keep.store.queued())

    def undone(transaction: Any) -> None:
        changes.change_job(transaction, first, JobState.RUNNING)
        raise LookupError

    with pytest.raises(LookupError):
        await keep.database.write(undone)
    with pytest.raises(NoSuchJobError):
        await keep.store.change_job("0" * 32, JobState.RUNNING)
    assert kinds(await at_once(keep, *[{"most": 3}] * 2)) == {"JobRecord": 1, "QueueFullError": 1}
    await keep.force("ALTER TABLE events RENAME TO gone")
    with pytest.raises(StoreUnavailableError):
        await keep.store.change_job(second, JobState.RUNNING)
    await keep.force("ALTER TABLE gone RENAME TO events")
    assert kinds(await at_once(keep, *[{"most": 4}] * 2)) == {"JobRecord": 1, "QueueFullError": 1}


async def test_a_database_that_cannot_be_used_is_told_to_all(keep: Kept) -> None:
    await keep.force("ALTER TABLE events RENAME TO gone")
    answers = await at_once(keep, *[{}] * 5)
    assert kinds(answers) == {"StoreUnavailableError": 5}
    await keep.force("ALTER TABLE gone RENAME TO events")
    assert await keep.store.queued() == []
    assert kinds(await at_once(keep, {})) == {"JobRecord": 1}


async def test_one_that_cannot_be_kept_does_not_spoil_it_for_the_others(
    keep: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = arrivals.outbox.wanted

    def faulty(spec: Any) -> int | None:
        if spec.priority == 9:
            raise ZeroDivisionError
        return wanted(spec)

    monkeypatch.setattr(arrivals.outbox, "wanted", faulty)
    answers = await at_once(keep, {"token": "a"}, {"priority": 9}, {"token": "b"})
    assert kinds(answers) == {"JobRecord": 2, "ZeroDivisionError": 1}
    assert {q.job_id for q in await keep.store.queued()} == {answers[0].job_id, answers[2].job_id}


async def test_a_caller_that_goes_away_does_not_take_its_job_back(keep: Kept) -> None:
    gone = asyncio.create_task(keep.add("token"))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    job = await keep.add("token")
    assert [queued.job_id for queued in await keep.store.queued()] == [job.job_id]


async def test_many_that_are_over_are_forgotten_in_small_steps(keep: Kept) -> None:
    made = await at_once(keep, *[{"token": f"t{n}"} for n in range(450)])
    await keep.force(
        "UPDATE jobs SET state = 'CANCELLED', expire_time = :t", t=made[0].create_time.timestamp()
    )
    sizes = []
    while swept := await keep.store.sweep():
        sizes.append(len(swept))
    assert sum(sizes) == 450
    assert max(sizes) <= 200
    assert await keep.store.last_position() == 450
    assert await keep.store.sweep_tokens() == 0
    keep.clock.turn(timedelta(hours=25))
    assert await keep.store.sweep_tokens() == 450
    assert await keep.store.sweep_tokens() == 0


async def test_large_jobs_that_are_over_are_forgotten_one_at_a_time(keep: Kept) -> None:
    made = await at_once(keep, *[{}] * 5)
    await keep.force("UPDATE jobs SET expire_time = 1, last_sequence = 700 WHERE state = 'PENDING'")
    await keep.force("UPDATE jobs SET last_sequence = 100000 WHERE job_id = :j", j=made[0].job_id)
    sizes = []
    while swept := await keep.store.sweep():
        sizes.append(len(swept))
    assert sizes == [1] * 5
