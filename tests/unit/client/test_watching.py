"""Watches over real streams that are cut, repeat themselves, or skip something."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import grpc
import pytest

from reelsplit import (
    AsyncClient,
    CallCancelledError,
    Client,
    InternalError,
    JobEvent,
    JobFailedError,
    JobProgress,
    JobState,
    NotFoundError,
    ResourceExhaustedError,
    RetryPolicy,
    UnauthenticatedError,
    UnavailableError,
)
from reelsplit.v1 import event_pb2
from tests.ports import free_ports
from tests.unit.client.scripted import (
    JOB_ID,
    QUICK,
    Line,
    Scripted,
    failure,
    got,
    info,
    progress,
    retry_after,
    segment,
    serving,
    state,
    stream,
)

Code = grpc.StatusCode
CUT = failure(Code.UNAVAILABLE, "cut")


def numbers(events: Any) -> list[int]:
    return [event.sequence for event in events]


def tokens(server: Scripted) -> list[str]:
    return [request.resume_token for request in server.requests["WatchJob"]]


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_watch_hands_out_the_log_and_ends(client: Any, server: Scripted) -> None:
    server.on(
        "WatchJob",
        stream(state(1, "PENDING"), state(2, "RUNNING"), progress(5, "2"), state(3, "SUCCEEDED")),
    )
    events = client.watch(JOB_ID, progress_interval=0.5)
    assert numbers(events) == [1, 2, 0, 3]
    assert events.resume_token == "3"
    assert list(events) == []
    request = server.requests["WatchJob"][0]
    assert (request.job_id, request.resume_token, request.skip_progress) == (JOB_ID, "", False)
    assert request.progress_interval.ToMilliseconds() == 500


@pytest.mark.parametrize(
    "cut",
    [
        failure(Code.UNAVAILABLE, "draining", info("SHUTTING_DOWN")),
        failure(Code.UNAVAILABLE, "Socket closed"),
        failure(Code.INTERNAL, "Received RST_STREAM with error code 2"),
        failure(Code.CANCELLED, "Received RST_STREAM with error code 8"),
        failure(Code.UNKNOWN, "Stream removed"),
        failure(Code.DEADLINE_EXCEEDED, "a proxy's own"),
        failure(Code.RESOURCE_EXHAUSTED, "busy", info("TOO_MANY_WATCHES"), retry_after(0.01)),
        stream(),
    ],
)
def test_a_watch_outlasts_a_cut_stream(client: Any, server: Scripted, cut: Any) -> None:
    server.on(
        "WatchJob",
        stream(state(1, "PENDING"), state(2, "RUNNING"), cut),
        # Replays what was seen, then goes on.
        stream(state(1, "PENDING"), state(2, "RUNNING"), segment(3), cut),
        cut if cut is not CUT else CUT,
        stream(segment(4), state(5, "SUCCEEDED")),
    )
    assert numbers(client.watch(JOB_ID)) == [1, 2, 3, 4, 5]
    assert tokens(server) == ["", "2", "3", "3"]


def test_a_watch_outlasts_the_server(connect: Any, server: Scripted) -> None:
    hold = threading.Event()
    (port,) = free_ports(1)
    with serving(server, port) as target:
        server.on("WatchJob", stream(state(1, "PENDING"), lambda *_: hold.wait(10)))
        events = connect(target, retry=RetryPolicy(initial=0.05, maximum=0.2)).watch(JOB_ID)
        assert next(events).sequence == 1
        threading.Timer(0.2, hold.set).start()
    time.sleep(0.2)
    server.on("WatchJob", stream(segment(2), state(3, "SUCCEEDED")))
    with serving(server, port):
        assert numbers(events) == [2, 3]
    assert tokens(server)[-1] == "1"


def test_a_watch_outlasts_a_line_that_is_cut_again_and_again(
    connect: Any, target: str, server: Scripted
) -> None:
    log = [state(1, "PENDING"), *(segment(n) for n in range(2, 200)), state(200, "SUCCEEDED")]
    line = Line(target)

    def replay(request: Any, context: grpc.ServicerContext) -> Any:
        for place, event in enumerate(log[int(request.resume_token or 0) :]):
            yield from stream(event)(request, context)
            if place == 39:
                # What was sent last is on its way or lost with the line.
                line.cut()
                _idle(context)

    server.on("WatchJob", replay)
    assert numbers(connect(line.target).watch(JOB_ID)) == list(range(1, 201))
    assert len(server.requests["WatchJob"]) >= 5
    line.close()


def test_a_gap_is_resumed_from_the_last_number(client: Any, server: Scripted) -> None:
    server.on(
        "WatchJob",
        stream(state(1, "PENDING"), segment(4), state(5, "SUCCEEDED")),
        stream(segment(2), segment(3), segment(4), state(5, "SUCCEEDED")),
    )
    assert numbers(client.watch(JOB_ID)) == [1, 2, 3, 4, 5]
    assert tokens(server) == ["", "1"]


def test_a_gap_at_the_very_beginning_is_seen(client: Any, server: Scripted) -> None:
    server.on(
        "WatchJob",
        stream(state(2, "RUNNING")),
        stream(state(1, "PENDING"), state(2, "SUCCEEDED")),
    )
    assert numbers(client.watch(JOB_ID)) == [1, 2]


def test_a_gap_that_does_not_heal_is_an_error(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "PENDING"), segment(3)))
    events = client.watch(JOB_ID)
    assert next(events).sequence == 1
    with pytest.raises(InternalError, match=f"event 2 of job {JOB_ID} is missing") as caught:
        next(events)
    assert caught.value.reason == "SEQUENCE_GAP"
    assert list(events) == []


def test_progress_never_goes_back(client: Any, server: Scripted) -> None:
    server.on(
        "WatchJob",
        stream(state(1, "RUNNING"), progress(40, "1"), CUT),
        stream(progress(30, "1"), progress(45, "1"), CUT),
        stream(progress(10, "1"), state(2, "FAILED", percent=20)),
    )
    percents = [event.event.percent for event in client.watch(JOB_ID)]
    assert percents == [0, 40, 40, 45, 45, 45]
    assert tokens(server) == ["", "1", "1"]


def test_progress_can_be_left_out(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "SUCCEEDED")))
    list(client.job(JOB_ID).watch(progress=False))
    assert server.requests["WatchJob"][0].skip_progress


def test_a_watch_resumes_behind_a_token(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(progress(50, "7"), CUT), stream(segment(8), state(9, "FAILED")))
    assert numbers(client.watch(JOB_ID, resume_token="7")) == [0, 8, 9]
    assert tokens(server) == ["7", "7"]


def test_a_watch_behind_the_last_event_ends_at_once(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream())
    assert list(client.watch(JOB_ID, resume_token="9")) == []
    assert len(server.requests["WatchJob"]) == 1


def test_a_retried_job_goes_on_behind_an_earlier_end(client: Any, server: Scripted) -> None:
    server.on(
        "WatchJob",
        stream(state(1, "PENDING"), state(2, "FAILED"), CUT),
        stream(state(3, "PENDING"), CUT),
        stream(state(4, "SUCCEEDED")),
    )
    assert numbers(client.watch(JOB_ID)) == [1, 2, 3, 4]
    assert tokens(server) == ["", "2", "3"]


def test_a_server_that_is_gone_behind_the_end_does_no_harm(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "SUCCEEDED"), CUT), CUT)
    assert numbers(client.watch(JOB_ID)) == [1]


def test_a_job_that_is_deleted_behind_the_end_does_no_harm(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "SUCCEEDED"), CUT), failure(Code.NOT_FOUND))
    assert numbers(client.watch(JOB_ID)) == [1]


def test_a_job_that_is_deleted_before_the_end_is_an_error(client: Any, server: Scripted) -> None:
    gone = failure(Code.NOT_FOUND, "no such job", info("JOB_NOT_FOUND"))
    server.on("WatchJob", stream(state(1, "RUNNING"), CUT), gone)
    events = client.watch(JOB_ID)
    next(events)
    with pytest.raises(NotFoundError):
        next(events)


@pytest.mark.parametrize(
    ("code", "kind", "details"),
    [
        (Code.UNAUTHENTICATED, UnauthenticatedError, []),
        (Code.INTERNAL, InternalError, [info("INTERNAL")]),
        (Code.RESOURCE_EXHAUSTED, ResourceExhaustedError, [info("TOO_MANY_WATCHES")]),
    ],
)
def test_what_a_new_stream_cannot_cure_ends_the_watch(
    client: Any, server: Scripted, code: Code, kind: type[Exception], details: Any
) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), failure(code, "no", *details)))
    events = client.watch(JOB_ID)
    next(events)
    with pytest.raises(kind):
        next(events)
    assert len(server.requests["WatchJob"]) == 1


def test_a_watch_that_never_began_fails_as_a_call_does(connect: Any) -> None:
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        next(connect("127.0.0.1:1", retry=RetryPolicy(attempts=3, initial=0.01)).watch(JOB_ID))
    assert time.monotonic() - began < 60


def test_an_outage_is_bounded(connect: Any, target: str, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), CUT), CUT)
    began = time.monotonic()
    events = connect(target, retry=QUICK).watch(JOB_ID)
    next(events)
    with pytest.raises(UnavailableError):
        next(events)
    assert 0.4 < time.monotonic() - began < 60
    assert len(server.requests["WatchJob"]) > QUICK.attempts


def test_closing_a_watch_ends_its_stream(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))
    events = client.watch(JOB_ID)
    assert next(events).sequence == 1
    events.close()
    wait_until(lambda: server.ended)
    assert list(events) == []


def test_a_watch_that_is_let_go_ends_its_stream(server: Scripted, target: str) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))
    with Client(target) as client:
        for _ in client.watch(JOB_ID):
            break
        gc.collect()
        wait_until(lambda: server.ended)


def test_an_async_watch_that_is_let_go_ends_its_stream(server: Scripted, target: str) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))

    async def main() -> None:
        async with AsyncClient(target) as client:
            async for _ in client.watch(JOB_ID):
                break
            gc.collect()
            while not server.ended:
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_watch_can_be_closed_from_another_thread(server: Scripted, target: str) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))
    with Client(target) as client, client.watch(JOB_ID) as events:
        threading.Timer(0.2, events.close).start()
        assert numbers(events) == [1]


def test_closing_the_client_ends_its_watches(server: Scripted, target: str) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))
    with Client(target) as client:
        events = client.watch(JOB_ID)
        next(events)
        threading.Timer(0.2, client.close).start()
        with pytest.raises(CallCancelledError):
            next(events)


def test_closing_an_async_client_ends_its_watches_and_calls(server: Scripted, target: str) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))
    server.on("GetJob", lambda _, context: _idle(context))

    async def main() -> None:
        async with AsyncClient(target) as client:
            events = client.watch(JOB_ID)
            await anext(events)
            watch = asyncio.ensure_future(anext(events))
            call = asyncio.ensure_future(client.get(JOB_ID))
            await asyncio.sleep(0.2)
            await client.close()
            for task in (watch, call):
                with pytest.raises(CallCancelledError):
                    await task

    asyncio.run(main())


def test_an_async_watch_can_be_closed_by_another_task(server: Scripted, target: str) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))

    async def main() -> list[int]:
        async with AsyncClient(target) as client, client.watch(JOB_ID) as events:
            asyncio.get_running_loop().call_later(
                0.2, lambda: closing.append(asyncio.ensure_future(events.close()))
            )
            return [event.sequence async for event in events]

    closing: list[asyncio.Future[None]] = []
    assert asyncio.run(main()) == [1]


def test_a_cancelled_task_stays_cancelled_and_loses_no_event(server: Scripted, target: str) -> None:
    server.on(
        "WatchJob",
        stream(state(1, "RUNNING"), lambda _, context: _idle(context)),
        stream(segment(2), state(3, "SUCCEEDED")),
    )

    async def main() -> list[int]:
        async with AsyncClient(target) as client, client.watch(JOB_ID) as events:
            await anext(events)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.2)
            return [event.sequence async for event in events]

    assert asyncio.run(main()) == [2, 3]
    assert tokens(server) == ["", "1"]


def test_watching_all_jobs_takes_bookmarks_and_keeps_jobs_apart(
    client: Any, server: Scripted
) -> None:
    def other(sequence: int, token: str) -> event_pb2.JobEvent:
        event = segment(sequence)
        event.job_id, event.resume_token = "other", token
        return event

    bookmark = event_pb2.JobEvent(resume_token="b", bookmark=event_pb2.Bookmark())
    server.on(
        "WatchJobs",
        stream(state(5, "RUNNING"), other(9, "x"), state(6, "SUCCEEDED"), bookmark, CUT),
        stream(other(9, "x"), other(10, "y"), lambda _, context: _idle(context)),
    )
    events = client.watch_jobs(resume_token="list", labels={"a": "b"})
    seen: list[JobEvent] = [next(events) for _ in range(5)]
    assert [(event.job_id[:5], event.sequence) for event in seen] == [
        ("01234", 5),
        ("other", 9),
        ("01234", 6),
        ("", 0),
        ("other", 10),
    ]
    events.close()
    requests = server.requests["WatchJobs"]
    assert [request.resume_token for request in requests] == ["list", "b"]
    assert dict(requests[1].labels) == {"a": "b"}
    assert not requests[0].include_progress


def test_a_watch_of_all_jobs_resumes_when_the_server_ends_it(client: Any, server: Scripted) -> None:
    server.on(
        "WatchJobs",
        stream(state(1, "SUCCEEDED")),
        stream(state(2, "PENDING"), lambda _, context: _idle(context)),
    )
    events = client.watch_jobs()
    assert [next(events).sequence, next(events).sequence] == [1, 2]
    events.close()


def test_wait_answers_the_job_at_its_end(client: Any, server: Scripted) -> None:
    server.on("GetJob", got("RUNNING"), got("FAILED"))
    server.on("WatchJob", stream(state(1, "RUNNING"), CUT), stream(state(2, "FAILED")))
    assert client.wait(JOB_ID).state is JobState.FAILED
    with pytest.raises(JobFailedError) as caught:
        client.job(JOB_ID).result()
    assert caught.value.job.job_id == JOB_ID
    with pytest.raises(JobFailedError):
        client.wait(JOB_ID, check=True)


def test_wait_is_over_at_once_for_a_job_that_has_ended(client: Any, server: Scripted) -> None:
    server.on("GetJob", got("SUCCEEDED"))
    assert client.job(JOB_ID).result().state is JobState.SUCCEEDED
    assert not server.requests["WatchJob"]


def test_wait_gives_up_after_its_timeout(client: Any, server: Scripted) -> None:
    server.on("GetJob", got("RUNNING"))
    server.on("WatchJob", stream(state(1, "RUNNING"), lambda _, context: _idle(context)))
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="did not end within the timeout"):
        client.wait(JOB_ID, timeout=0.4)
    assert 0.3 < time.monotonic() - began < 60


def test_events_are_typed(client: Any, server: Scripted) -> None:
    server.on("WatchJob", stream(state(1, "RUNNING"), progress(5, "1"), state(2, "SUCCEEDED")))
    first, second, last = client.watch(JOB_ID)
    assert first.event.state is JobState.RUNNING
    assert second.event == JobProgress(percent=5)
    assert last.event.state is JobState.SUCCEEDED


def _idle(context: grpc.ServicerContext) -> None:
    while context.is_active():
        time.sleep(0.01)
