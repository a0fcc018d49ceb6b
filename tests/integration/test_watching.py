"""Watches: every event once and in order, however often they break."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import pytest

from reelsplit import (
    Bookmark,
    Client,
    InvalidRequestError,
    JobEvent,
    JobHandle,
    JobProgress,
    JobState,
    JobStateChanged,
    NotFoundError,
    OutOfRangeError,
    Output,
    SegmentChanged,
    SegmentState,
    VideoCodec,
    VideoEncoding,
    every,
    ranges,
    shots,
)
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from tests.server import Served

QUICK = VideoEncoding(codec=VideoCodec.H264, preset="ultrafast")


def _split(client: Client, film: str, out: Path, **values: object) -> JobHandle:
    output = Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK)
    return client.submit(film, every(1), output, **values)  # type: ignore[arg-type]


def _numbered(events: list[JobEvent]) -> list[JobEvent]:
    return [event for event in events if event.sequence]


def _percents(events: list[JobEvent]) -> list[float]:
    told = [e.event for e in events]
    return [e.percent for e in told if isinstance(e, JobProgress | JobStateChanged)]


def test_a_watch_tells_everything_once_and_in_order(client: Client, film: str, out: Path) -> None:
    handle = _split(client, film, out)
    events = list(handle.watch(progress_interval=0.05))
    numbered = _numbered(events)
    assert [event.sequence for event in numbered] == list(range(1, len(numbered) + 1))
    first, last = numbered[0].event, events[-1].event
    assert isinstance(first, JobStateChanged)
    assert first.state is JobState.PENDING
    assert isinstance(last, JobStateChanged)
    assert (last.state, last.percent) == (JobState.SUCCEEDED, 100)
    percents = _percents(events)
    assert percents == sorted(percents)
    assert all(percent < 100 for percent in percents[:-1])
    published = [
        e.event.segment.index
        for e in numbered
        if isinstance(e.event, SegmentChanged)
        and e.event.segment
        and e.event.segment.state is SegmentState.PUBLISHED
    ]
    assert sorted(published) == list(range(10))
    assert {event.job_id for event in events} == {handle.job_id}
    assert film not in "".join(repr(e) for e in events if not isinstance(e.event, SegmentChanged))


def test_progress_repeats_the_token_of_the_last_numbered_event(
    client: Client, film: str, out: Path
) -> None:
    token = ""
    for event in _split(client, film, out).watch(progress_interval=0):
        if event.sequence:
            token = event.resume_token
        else:
            assert isinstance(event.event, JobProgress)
            assert event.resume_token == token


def test_resuming_from_any_token_gives_exactly_the_rest(
    client: Client, film: str, out: Path
) -> None:
    handle = _split(client, film, out)
    whole = _numbered(list(handle.watch(progress=False)))
    for place, event in enumerate(whole):
        rest = list(handle.watch(resume_token=event.resume_token, progress=False))
        assert rest == whole[place + 1 :]


def test_a_watch_of_an_ended_job_replays_all_with_one_snapshot(client: Client, film: str) -> None:
    handle = client.submit(film, every(5))
    handle.result(timeout=90)
    events = list(handle.watch())
    assert len([e for e in events if isinstance(e.event, JobProgress)]) == 1
    assert list(handle.watch(progress=False)) == _numbered(events)


def test_two_watchers_see_the_same(client: Client, film: str, out: Path) -> None:
    handle, seen = _split(client, film, out), [list[JobEvent](), list[JobEvent]()]
    threads = [
        threading.Thread(target=lambda kept=kept: kept.extend(handle.watch(progress=False)))
        for kept in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert seen[0] == seen[1] != []


def test_a_token_of_another_job_is_refused(client: Client, film: str) -> None:
    one, two = client.submit(film, every(5)), client.submit(film, every(5))
    one.result(timeout=90)
    two.result(timeout=90)
    token = next(iter(one.watch(progress=False))).resume_token
    for wrong in (token, token[:-3], "nonsense", token + "A" * 4):
        with pytest.raises(InvalidRequestError) as caught:
            list(two.watch(resume_token=wrong))
        assert caught.value.reason == "INVALID_TOKEN"


def test_a_job_that_is_deleted_while_watched_is_told(client: Client, film: str, out: Path) -> None:
    handle = _split(client, film, out)
    events = handle.watch(progress=False)
    next(iter(events))
    handle.delete(force=True)
    try:
        last = list(events)[-1].event
    except NotFoundError:
        return
    # It was quick enough to hear of the end that came before.
    assert isinstance(last, JobStateChanged)
    assert last.state is JobState.CANCELLED


def test_a_watch_of_all_jobs_from_a_list_misses_nothing(client: Client, film: str) -> None:
    token = client.list_page(page_size=1).watch_token
    jobs = [client.submit(film, every(5), labels={"watch": "all"}) for _ in range(3)]
    seen: dict[str, list[int]] = {job.job_id: [] for job in jobs}
    left = set(seen)
    with client.watch_jobs(resume_token=token, labels={"watch": "all"}) as events:
        for event in events:
            if event.job_id in seen:
                seen[event.job_id].append(event.sequence)
                if isinstance(event.event, JobStateChanged) and event.event.state in (
                    JobState.SUCCEEDED,
                    JobState.FAILED,
                ):
                    left.discard(event.job_id)
            if not left:
                break
    for job in jobs:
        whole = [event.sequence for event in job.watch(progress=False)]
        assert seen[job.job_id] == whole


def test_a_watch_of_all_jobs_begins_with_a_bookmark_and_resumes(client: Client, film: str) -> None:
    with client.watch_jobs() as events:
        iterator = iter(events)
        first = next(iterator)
        assert isinstance(first.event, Bookmark)
        handle = client.submit(film, every(5))
        told = next(event for event in iterator if event.job_id == handle.job_id)
        assert told.sequence == 1
    with client.watch_jobs(resume_token=first.resume_token) as events:
        again = next(event for event in events if event.job_id == handle.job_id)
        assert again == told
    handle.wait(timeout=90)


def test_labels_choose_what_a_watch_tells(client: Client, film: str) -> None:
    token = client.list_page(page_size=1).watch_token
    other = client.submit(film, every(5), labels={"colour": "red"})
    wanted = client.submit(film, every(5), labels={"colour": "blue"})
    other.wait(timeout=90)
    wanted.wait(timeout=90)
    with client.watch_jobs(resume_token=token, labels={"colour": "blue"}) as events:
        seen = [next(iter(events)).job_id for _ in range(3)]
    assert set(seen) == {wanted.job_id}


def test_progress_of_a_job_that_runs_already_is_told_in_a_watch_of_all(
    client: Client, film: str, out: Path
) -> None:
    handle = _split(client, film, out)
    with handle.watch(progress=False) as events:
        for event in events:
            if isinstance(event.event, SegmentChanged):
                break
    with client.watch_jobs(progress=True) as events:
        for event in events:
            if event.job_id != handle.job_id:
                continue
            if isinstance(event.event, JobProgress):
                break
            assert not isinstance(event.event, JobStateChanged), "it ended without progress"
    handle.wait(timeout=90)


# --- The stubs themselves --------------------------------------------------------------------


def test_progress_can_be_left_out_and_ok_comes_after_the_end(
    server: Served, client: Client, film: str
) -> None:
    handle = client.submit(film, ranges((0, 1)))
    with grpc.insecure_channel(server.address) as channel:
        request = pb.WatchJobRequest(job_id=handle.job_id, skip_progress=True)
        call = JobServiceStub(channel).WatchJob(request, timeout=90)
        events = [answer.event for answer in call]
        assert call.code() is grpc.StatusCode.OK
    assert events[-1].job_state_changed.state == 4
    assert not any(event.HasField("progress") for event in events)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("seconds", [-1, 3601])
def test_an_interval_out_of_bounds_is_refused(client: Client, film: str, seconds: int) -> None:
    handle = client.submit(film, shots())
    with pytest.raises(InvalidRequestError) as caught:
        list(handle.watch(progress_interval=seconds))
    assert [item.field for item in caught.value.violations] == ["progress_interval"]
    handle.wait(timeout=90)


def test_a_token_behind_which_events_were_deleted_is_too_old(client: Client, film: str) -> None:
    token = client.list_page().watch_token
    job = client.submit(film, shots())
    job.wait(timeout=60)
    with client.watch_jobs(resume_token=token) as stream:
        assert next(stream).job_id == job.job_id
    job.delete()
    with pytest.raises(OutOfRangeError, match="list the jobs again"):
        next(client.watch_jobs(resume_token=token))
    fresh = client.list_page().watch_token
    other = client.submit(film, shots())
    assert next(client.watch_jobs(resume_token=fresh)).job_id == other.job_id
    other.wait(timeout=60)
