from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from reelsplit import (
    DeadlineExceededError,
    InternalError,
    NotFoundError,
    ResourceExhaustedError,
    RetryPolicy,
    UnavailableError,
    every,
)
from reelsplit.v1 import job_service_pb2, media_service_pb2
from tests.unit.client.scripted import (
    JOB_ID,
    QUICK,
    Scripted,
    failure,
    got,
    info,
    job,
    retry_after,
)

Code = grpc.StatusCode
DOWN = failure(Code.UNAVAILABLE, "stopping", info("SHUTTING_DOWN"))


def test_submit_sends_one_token_however_often_it_is_repeated(client: Any, server: Scripted) -> None:
    server.on("SubmitJob", DOWN, DOWN, job_service_pb2.SubmitJobResponse(job=job()))
    assert client.submit("film.mp4", every(10)).job_id == JOB_ID
    first, *others = server.requests["SubmitJob"]
    assert first.client_token
    assert others == [first, first]
    client.submit("film.mp4", every(10))
    assert server.requests["SubmitJob"][-1].client_token != first.client_token


def test_retry_sends_one_token_too(client: Any, server: Scripted) -> None:
    server.on("RetryJob", DOWN, job_service_pb2.RetryJobResponse(job=job()))
    client.retry(JOB_ID)
    first, second = server.requests["RetryJob"]
    assert first.client_token
    assert first == second


def test_the_attempts_are_bounded(client: Any, server: Scripted) -> None:
    server.on("GetJob", DOWN)
    with pytest.raises(UnavailableError) as caught:
        client.get(JOB_ID)
    assert caught.value.reason == "SHUTTING_DOWN"
    assert len(server.requests["GetJob"]) == QUICK.attempts


def test_the_server_says_when_to_come_back(client: Any, server: Scripted) -> None:
    busy = failure(Code.RESOURCE_EXHAUSTED, "busy", info("TOO_MANY_CALLS"), retry_after(0.3))
    server.on("GetJob", busy, got("RUNNING"))
    began = time.monotonic()
    client.get(JOB_ID)
    assert time.monotonic() - began >= 0.3
    assert len(server.requests["GetJob"]) == 2


def test_a_full_server_that_does_not_say_when_is_not_asked_again(
    client: Any, server: Scripted
) -> None:
    server.on("GetJob", failure(Code.RESOURCE_EXHAUSTED, "full", info("TOO_MANY_JOBS")))
    with pytest.raises(ResourceExhaustedError):
        client.get(JOB_ID)
    assert len(server.requests["GetJob"]) == 1


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.DEADLINE_EXCEEDED, Code.ABORTED])
def test_other_failures_stand(client: Any, server: Scripted, code: Code) -> None:
    server.on("GetJob", failure(code))
    with pytest.raises((InternalError, DeadlineExceededError)):
        client.get(JOB_ID)
    assert len(server.requests["GetJob"]) == 1


def test_the_timeout_bounds_a_call_that_hangs(connect: Any, target: str, server: Scripted) -> None:
    def hang(request: object, context: grpc.ServicerContext) -> job_service_pb2.GetJobResponse:
        while context.is_active():
            time.sleep(0.01)
        return got("RUNNING")

    server.on("GetJob", hang)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect(target, timeout=0.3).get(JOB_ID)
    assert 0.2 < time.monotonic() - began < 60
    assert len(server.requests["GetJob"]) == 1


def test_the_timeout_bounds_all_attempts_together(
    connect: Any, target: str, server: Scripted
) -> None:
    server.on("GetJob", DOWN)
    policy = RetryPolicy(attempts=1000, initial=0.05, maximum=0.05)
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        connect(target, timeout=0.4, retry=policy).get(JOB_ID)
    assert time.monotonic() - began < 60


def test_a_timeout_in_a_repeated_attempt_tells_what_failed_before(
    connect: Any, target: str, server: Scripted
) -> None:
    def hang(request: object, context: grpc.ServicerContext) -> job_service_pb2.GetJobResponse:
        while context.is_active():
            time.sleep(0.01)
        return got("RUNNING")

    server.on("GetJob", DOWN, hang)
    with pytest.raises(UnavailableError) as caught:
        connect(target, timeout=1, retry=RetryPolicy(initial=0.01)).get(JOB_ID)
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_a_repeated_delete_takes_not_found_for_done(client: Any, server: Scripted) -> None:
    missing = failure(Code.NOT_FOUND, "no such job", info("JOB_NOT_FOUND"))
    server.on("DeleteJob", DOWN, missing)
    assert client.delete(JOB_ID) == 0
    with pytest.raises(NotFoundError):
        client.delete(JOB_ID)
    server.on("DeleteMedia", DOWN, missing)
    assert client.delete_media("m") is None
    with pytest.raises(NotFoundError):
        client.delete_media("m")


def test_a_repeated_get_takes_not_found_for_what_it_is(client: Any, server: Scripted) -> None:
    server.on("GetMedia", DOWN, failure(Code.NOT_FOUND))
    with pytest.raises(NotFoundError):
        client.get_media("m")
    assert media_service_pb2.GetMediaRequest(media_id="m") in server.requests["GetMedia"]


def test_pauses_grow_to_a_limit() -> None:
    policy = RetryPolicy(initial=1, maximum=5, multiplier=2, jitter=0)
    error = UnavailableError("X", "x")
    assert [policy.pause(n, error) for n in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]


def test_pauses_are_spread() -> None:
    policy = RetryPolicy(initial=1, maximum=5, jitter=0.5)
    pauses = {policy.pause(1, UnavailableError("X", "x")) for _ in range(100)}
    assert len(pauses) > 50
    assert all(0.5 <= pause <= 1.5 for pause in pauses)


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"jitter": 2}, {"initial": -1}, {"maximum": 0.1}, {"max_outage": -1}],
)
def test_impossible_policies_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
