"""What is kept of jobs: once for each token, with an event for each change."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from reelsplit import (
    Error,
    FixedInterval,
    JobState,
    JobStateChanged,
    Notice,
    PlanCompleted,
    SegmentChanged,
    SegmentState,
    SourceInfo,
    SourceOpened,
    TimeRange,
    UserDefined,
)
from reelsplit_server.jobs.forgetting import MEMORY_OF_TOKENS
from reelsplit_server.jobs.records import JobFilter
from reelsplit_server.jobs.rows import NoSuchJobError, micros
from reelsplit_server.jobs.store import QueueFullError, TokenReusedError
from reelsplit_server.jobs.transitions import TransitionError
from tests.patience import PATIENCE
from tests.unit.jobs.keeping import SPEC, Kept, kept, pieces

HOUR = timedelta(hours=1)


async def _failed(keep: Kept, count: int = 3) -> str:
    """A job whose middle segment failed and whose first was published."""
    job_id = (await keep.add()).job_id
    await keep.store.change_job(job_id, JobState.RUNNING)
    await keep.store.plan(job_id, pieces(count))
    segment, _ = await keep.store.segment(job_id, 1)
    segment = dataclasses.replace(segment, error=Error(reason="OUTPUT_EXISTS"))
    await keep.store.change_segment(segment, SegmentState.FAILED)
    segment, _ = await keep.store.segment(job_id, 0)
    _, segment = await keep.store.change_segment(segment, SegmentState.RUNNING)
    await keep.store.change_segment(segment, SegmentState.PUBLISHED)
    await keep.store.plan_complete(job_id, SourceInfo(), ())
    await keep.store.change_job(
        job_id, JobState.FAILED, error=Error(reason="SEGMENTS_FAILED"), expire=HOUR
    )
    return job_id


# --- Events ----------------------------------------------------------------------------------


async def test_each_change_has_its_event_and_numbers_have_no_gap(keep: Kept) -> None:
    job_id = await _failed(keep)
    events = [item.event for item in await keep.store.events(job_id, 0, 1000)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (await keep.store.get(None, job_id)).last_sequence == len(events)
    told = [(type(e.event).__name__, str(getattr(e.event, "state", ""))) for e in events]
    assert told[0] == ("JobStateChanged", "PENDING")
    assert told[-1] == ("JobStateChanged", "FAILED")
    changes = [e.event for e in events if isinstance(e.event, SegmentChanged)]
    assert [(c.segment.index, c.previous_state, c.segment.state) for c in changes if c.segment] == [
        (0, SegmentState.UNSPECIFIED, SegmentState.PLANNED),
        (1, SegmentState.UNSPECIFIED, SegmentState.PLANNED),
        (2, SegmentState.UNSPECIFIED, SegmentState.PLANNED),
        (1, SegmentState.PLANNED, SegmentState.FAILED),
        (0, SegmentState.PLANNED, SegmentState.RUNNING),
        (0, SegmentState.RUNNING, SegmentState.PUBLISHED),
    ]
    assert any(isinstance(e.event, PlanCompleted) and e.event.segment_count == 3 for e in events)


async def test_a_change_that_is_refused_leaves_no_event(keep: Kept) -> None:
    job = await keep.add()
    with pytest.raises(TransitionError):
        await keep.store.change_job(job.job_id, JobState.SUCCEEDED)
    assert await keep.sequences(job.job_id) == [1]


async def test_events_are_read_behind_a_number_and_in_portions(keep: Kept) -> None:
    job = await keep.add()
    await keep.store.plan(job.job_id, pieces(9))
    assert [i.event.sequence for i in await keep.store.events(job.job_id, 4, 3)] == [5, 6, 7]
    assert await keep.store.events(job.job_id, 10, 3) == []


async def test_the_log_of_a_principal_holds_no_event_of_another(keep: Kept) -> None:
    mine, theirs = await keep.add(), await keep.add(principal="them")
    assert [i.event.job_id for i in await keep.store.all_events("me", 0, 10)] == [mine.job_id]
    assert [i.event.job_id for i in await keep.store.all_events("them", 0, 10)] == [theirs.job_id]
    assert await keep.store.last_position() == 2


async def test_positions_are_never_given_out_again(keep: Kept) -> None:
    job = await keep.add()
    position = await keep.store.last_position()
    await keep.force("UPDATE jobs SET state = 'FAILED'")
    await keep.forget(job.job_id)
    await keep.add()
    assert [i.position for i in await keep.store.all_events("me", 0, 10)] == [position + 1]


async def test_a_source_that_is_opened_is_kept_with_the_job(keep: Kept) -> None:
    job = await keep.add()
    source = SourceInfo(container="mp4", duration=5, size_bytes=10)
    await keep.store.source_opened(job.job_id, source, "now")
    await keep.store.source_opened(job.job_id, source, "later")
    record = await keep.store.get(None, job.job_id)
    assert (record.source, record.source_pin) == (source, "now")
    last = (await keep.store.events(job.job_id, 1, 10))[0].event
    assert last.event == SourceOpened(source=source)


# --- Plans -----------------------------------------------------------------------------------


async def test_a_plan_that_is_repeated_plans_nothing_twice(keep: Kept) -> None:
    job = await keep.add()
    await keep.store.plan(job.job_id, pieces(3))
    before = await keep.sequences(job.job_id)
    record = await keep.store.plan(job.job_id, pieces(3))
    assert record.segment_count == 3
    assert await keep.sequences(job.job_id) == before
    assert (await keep.store.plan(job.job_id, pieces(5))).segment_count == 5


async def test_the_end_of_the_plan_keeps_notices_and_source(keep: Kept) -> None:
    job = await keep.add()
    notices = (Notice(code="SOURCE_TRUNCATED", message="Cut off."),)
    source = SourceInfo(container="mkv", frame_count=7)
    record = await keep.store.plan_complete(job.job_id, source, notices)
    assert (record.plan_complete, record.source, record.notices) == (True, source, notices)


async def test_segments_come_by_index_by_state_and_in_pages(keep: Kept) -> None:
    job = await keep.add()
    await keep.store.plan(job.job_id, pieces(6, wrong=[2, 4]))
    found, total = await keep.store.segments(job.job_id, states=[SegmentState.FAILED])
    assert ([s.index for s in found], total) == ([2, 4], 2)
    found, total = await keep.store.segments(job.job_id, after=1, size=3)
    assert ([s.index for s in found], total) == ([2, 3, 4], 6)


async def test_an_attempt_counts_up_and_clears_the_error(keep: Kept) -> None:
    job = await keep.add()
    await keep.store.plan(job.job_id, pieces(1))
    segment, _ = await keep.store.segment(job.job_id, 0)
    for attempt in (1, 2):
        _, segment = await keep.store.change_segment(segment, SegmentState.RUNNING)
        assert (segment.attempt, segment.error) == (attempt, None)
        _, segment = await keep.store.change_segment(segment, SegmentState.PLANNED)


async def test_what_an_attempt_intends_is_kept(keep: Kept) -> None:
    job = await keep.add()
    await keep.store.plan(job.job_id, pieces(1))
    assert (await keep.store.segment(job.job_id, 0))[1] is None
    await keep.store.intend(job.job_id, 0, "sha256:" + "0" * 64)
    assert (await keep.store.segment(job.job_id, 0))[1] == "sha256:" + "0" * 64


async def test_percent_is_raised_and_never_lowered(keep: Kept) -> None:
    job = await keep.add()
    for percent, kept_percent in ((10.0, 10.0), (5.0, 10.0), (99.9, 99.9)):
        await keep.store.raise_percent(job.job_id, percent)
        assert (await keep.store.get(None, job.job_id)).percent == kept_percent


async def test_success_is_one_hundred_percent_and_nothing_else_is(keep: Kept) -> None:
    for state, percent in ((JobState.SUCCEEDED, 100.0), (JobState.FAILED, 42.0)):
        job = await keep.add()
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.raise_percent(job.job_id, 42.0)
        record = await keep.store.change_job(job.job_id, state, expire=HOUR)
        assert record.percent == percent
        event = (await keep.store.events(job.job_id, 2, 10))[0].event.event
        assert isinstance(event, JobStateChanged)
        assert event.percent == percent


# --- Idempotence -----------------------------------------------------------------------------


async def test_the_same_token_and_request_give_the_first_job(keep: Kept) -> None:
    first = await keep.add("token", labels={"a": "1", "b": "2"})
    again = await keep.add("token", labels={"b": "2", "a": "1"})
    assert again.job_id == first.job_id
    assert await keep.sequences(first.job_id) == [1]


async def test_two_submissions_at_once_make_one_job(keep: Kept) -> None:
    made = await asyncio.wait_for(asyncio.gather(*(keep.add("token") for _ in range(8))), PATIENCE)
    assert len({record.job_id for record in made}) == 1
    _, _, total = await keep.store.find("me", JobFilter(), None, 10)
    assert total == 1


async def test_the_same_token_with_another_request_is_refused(keep: Kept) -> None:
    first = await keep.add("token")
    with pytest.raises(TokenReusedError) as caught:
        await keep.add("token", mode=FixedInterval(interval=2))
    assert caught.value.job_id == first.job_id


async def test_tokens_of_two_principals_do_not_meet(keep: Kept) -> None:
    mine = await keep.add("token")
    theirs = await keep.add("token", principal="them", priority=5)
    assert mine.job_id != theirs.job_id


async def test_without_a_token_each_request_makes_a_job(keep: Kept) -> None:
    assert (await keep.add()).job_id != (await keep.add()).job_id


async def test_the_token_of_a_deleted_job_is_remembered_for_a_day(keep: Kept) -> None:
    job = await keep.add("token")
    await keep.forget(job.job_id)
    keep.clock.turn(MEMORY_OF_TOKENS - timedelta(seconds=1))
    await keep.store.sweep_tokens()
    with pytest.raises(TokenReusedError) as caught:
        await keep.add("token")
    assert caught.value.job_id == job.job_id
    keep.clock.turn(timedelta(seconds=2))
    await keep.store.sweep_tokens()
    assert (await keep.add("token")).job_id != job.job_id


async def test_a_full_queue_refuses_new_jobs_but_answers_known_tokens(keep: Kept) -> None:
    first = await keep.add("token")
    with pytest.raises(QueueFullError):
        await keep.store.add("me", "other", SPEC, SPEC, most_waiting=1)
    again = await keep.store.add("me", "token", SPEC, SPEC, most_waiting=1)
    assert again.job_id == first.job_id
    await keep.store.change_job(first.job_id, JobState.RUNNING)
    await keep.store.add("me", "other", SPEC, SPEC, most_waiting=1)


async def test_the_request_is_compared_as_sent_not_as_resolved(keep: Kept) -> None:
    resolved = dataclasses.replace(SPEC, priority=0)
    first = await keep.store.add("me", "token", SPEC, resolved, most_waiting=9)
    other = dataclasses.replace(resolved, time_to_live=7200)
    assert (await keep.store.add("me", "token", SPEC, other, most_waiting=9)) == first


# --- Retry -----------------------------------------------------------------------------------


async def test_a_retry_plans_the_failed_segments_again_and_no_other(keep: Kept) -> None:
    job_id = await _failed(keep)
    record = await keep.store.retry(job_id, "again")
    assert (record.state, record.attempt, record.failed_count) == (JobState.PENDING, 2, 0)
    assert (record.error, record.end_time, record.expire_time) == (None, None, None)
    found, _ = await keep.store.segments(job_id)
    states = [segment.state for segment in found]
    assert states == [SegmentState.PUBLISHED, SegmentState.PLANNED, SegmentState.PLANNED]
    assert found[1].error is None
    sequences = await keep.sequences(job_id)
    assert sequences == list(range(1, len(sequences) + 1))


async def test_what_the_source_rules_out_is_not_tried_again(keep: Kept) -> None:
    job_id = (await keep.add()).job_id
    await keep.store.change_job(job_id, JobState.RUNNING)
    await keep.store.plan(job_id, pieces(2, wrong=[1]))
    await keep.store.change_job(job_id, JobState.FAILED, expire=HOUR)
    assert (await keep.store.retry(job_id, "again")).failed_count == 1
    states = [segment.state for segment in (await keep.store.segments(job_id))[0]]
    assert states == [SegmentState.PLANNED, SegmentState.FAILED]


async def test_the_same_retry_token_retries_once(keep: Kept) -> None:
    job_id = await _failed(keep)
    await keep.store.retry(job_id, "again")
    await keep.store.change_job(job_id, JobState.RUNNING)
    await keep.store.change_job(job_id, JobState.FAILED, expire=HOUR)
    assert (await keep.store.retry(job_id, "again")).state is JobState.FAILED
    assert (await keep.store.retry(job_id, "anew")).attempt == 3


async def test_a_segment_that_an_ended_job_left_running_is_planned_again(keep: Kept) -> None:
    job_id = (await keep.add()).job_id
    await keep.store.change_job(job_id, JobState.RUNNING)
    await keep.store.plan(job_id, pieces(1))
    await keep.store.begin_segment(job_id, 0)
    await keep.store.change_job(job_id, JobState.FAILED, expire=HOUR)
    assert (await keep.store.retry(job_id, "again")).failed_count == 0
    segment, _ = await keep.store.segment(job_id, 0)
    assert (segment.state, segment.attempt) == (SegmentState.PLANNED, 1)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING", "SUCCEEDED"])
async def test_only_what_failed_or_was_cancelled_is_retried(keep: Kept, state: str) -> None:
    job = await keep.add()
    await keep.force("UPDATE jobs SET state = :s", s=state)
    with pytest.raises(TransitionError):
        await keep.store.retry(job.job_id, "again")


# --- Forgetting ------------------------------------------------------------------------------


async def test_a_deleted_job_leaves_nothing_behind_but_its_token(keep: Kept) -> None:
    job_id = (await keep.add("token", labels={"a": "b"})).job_id
    await keep.store.plan(job_id, pieces(2))
    await keep.forget(job_id)
    with pytest.raises(NoSuchJobError):
        await keep.store.get(None, job_id)
    for table in ("jobs", "segments", "events", "job_labels"):
        count = await keep.database.read(
            lambda c, t=table: c.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar_one()
        )
        assert count == 0, table


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
async def test_a_job_that_has_not_ended_is_not_deleted(keep: Kept, state: str) -> None:
    job = await keep.add()
    await keep.force("UPDATE jobs SET state = :s", s=state)
    with pytest.raises(TransitionError):
        await keep.store.delete("me", job.job_id)
    assert (await keep.store.get("me", job.job_id)).state == state


async def test_the_job_of_another_is_not_deleted(keep: Kept) -> None:
    job = await keep.add()
    with pytest.raises(NoSuchJobError):
        await keep.store.delete("them", job.job_id)
    with pytest.raises(NoSuchJobError):
        await keep.store.get("them", job.job_id)
    assert (await keep.store.get("me", job.job_id)).job_id == job.job_id


async def test_the_sweep_forgets_what_is_over_and_nothing_else(keep: Kept) -> None:
    over, waiting = await _failed(keep), (await keep.add()).job_id
    keep.clock.turn(HOUR - timedelta(seconds=1))
    assert await keep.store.sweep() == []
    keep.clock.turn(timedelta(seconds=2))
    assert await keep.store.sweep() == [over]
    assert (await keep.store.get(None, waiting)).state is JobState.PENDING


# --- Lists -----------------------------------------------------------------------------------


@pytest.fixture
async def five(keep: Kept) -> list[str]:
    """Five jobs, two of them of the same moment."""
    made = []
    for number in range(5):
        labels = {"n": str(number), "odd": str(number % 2)}
        made.append((await keep.add(labels=labels)).job_id)
        if number != 2:
            keep.clock.turn(timedelta(seconds=1))
    return made


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_hold_each_job_once_and_in_order(
    keep: Kept, five: list[str], oldest_first: bool
) -> None:
    chosen = JobFilter(oldest_first=oldest_first)
    whole, more, total = await keep.store.find("me", chosen, None, 100)
    assert (total, more) == (5, False)
    assert {job.job_id for job in whole} == set(five)
    keys = [(job.create_time, job.job_id) for job in whole]
    assert keys == sorted(keys, reverse=not oldest_first)
    paged: list[str] = []
    after, more = None, True
    while more:
        page, more, _ = await keep.store.find("me", chosen, after, 2)
        paged += [job.job_id for job in page]
        after = (micros(page[-1].create_time), page[-1].job_id)
    assert paged == [job.job_id for job in whole]


async def test_lists_are_filtered(keep: Kept, five: list[str]) -> None:
    async def ids(**values: object) -> set[str]:
        found, _, total = await keep.store.find("me", JobFilter(**values), None, 100)  # type: ignore[arg-type]
        assert total == len(found)
        return {job.job_id for job in found}

    await keep.store.change_job(five[0], JobState.RUNNING)
    await keep.store.change_job(five[1], JobState.CANCELLED)
    assert await ids(states=[JobState.RUNNING]) == {five[0]}
    assert await ids(states=[JobState.RUNNING, JobState.CANCELLED]) == set(five[:2])
    assert await ids(labels={"odd": "1"}) == {five[1], five[3]}
    assert await ids(labels={"odd": "1", "n": "3"}) == {five[3]}
    assert await ids(labels={"odd": "1", "n": "2"}) == set()
    time = (await keep.store.get(None, five[1])).create_time
    assert await ids(create_time_from=time) == set(five[1:])
    assert await ids(create_time_until=time) == {five[0]}
    assert (await keep.store.find("them", JobFilter(), None, 100)) == ([], False, 0)


async def test_pages_end_early_where_specs_are_large(
    keep: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelsplit_server.jobs.reading._MOST_BYTES", 300)
    wide = UserDefined(ranges=[TimeRange(start_offset=n, end_offset=n + 1) for n in range(20)])
    for number in range(6):
        await keep.add(mode=wide if number % 2 else SPEC.mode)
    seen: list[str] = []
    after, more = None, True
    while more:
        page, more, total = await keep.store.find("me", JobFilter(), after, 1000)
        assert 0 < len(page) < total == 6
        seen += [job.job_id for job in page]
        after = (micros(page[-1].create_time), page[-1].job_id)
    assert len(seen) == len(set(seen)) == 6


# --- After a restart -------------------------------------------------------------------------


async def test_what_has_not_ended_is_found_again(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        waiting, running = (await keep.add()).job_id, (await keep.add()).job_id
        await keep.store.change_job(running, JobState.RUNNING)
        await _failed(keep)
    async with kept(tmp_path) as keep:
        assert [job.job_id for job in await keep.store.queued()] == [waiting]
        begun = await keep.store.unfinished()
        assert [(job.job_id, job.state) for job in begun] == [(running, JobState.RUNNING)]


async def test_a_property_is_made_once_and_kept(tmp_path: Path) -> None:
    for _ in range(2):
        async with kept(tmp_path) as keep:
            values = [b"first", b"second"]
            value = await keep.store.property("key", lambda made=values: made.pop(0))
            assert value == b"first"
            assert await keep.store.property("key", lambda: b"other") == b"first"


async def test_a_record_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        job_id = await _failed(keep)
        before = await keep.store.get(None, job_id)
        segments = await keep.store.segments(job_id)
    async with kept(tmp_path) as keep:
        assert await keep.store.get(None, job_id) == before
        assert await keep.store.segments(job_id) == segments
        assert before.spec == SPEC


async def test_each_event_is_told_with_its_own_principal(keep: Kept) -> None:
    jobs = [await keep.add(principal=name) for name in ("me", "you", "them", "you")]
    told = {item.event.job_id: item.principal for commit in keep.commits for item in commit}
    assert [told[job.job_id] for job in jobs] == ["me", "you", "them", "you"]
