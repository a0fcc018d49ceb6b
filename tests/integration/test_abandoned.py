"""Calls that the client gives up while they are answered leave nothing half done."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from reelsplit import Client, JobState, Output, VideoEncoding, every
from reelsplit.types.spec import Input, JobSpec
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from reelsplit.wire import to_message
from tests.server import Served, wait_for

ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


def _abandon(call: Callable[[], grpc.Future], seconds: float) -> None:
    future = call()
    time.sleep(seconds)
    future.cancel()


def test_a_job_that_was_kept_is_worked_on_though_nobody_waits_for_the_answer(
    server: Served, client: Client
) -> None:
    labels = {"test": "abandoned"}
    spec = JobSpec(input=Input(uri=str(server.root / "missing.mp4")), mode=every(1), labels=labels)
    request = pb.SubmitJobRequest()
    request.spec.MergeFrom(to_message(spec))
    with grpc.insecure_channel(server.address) as channel:
        stub = JobServiceStub(channel)
        for turn in range(30):
            _abandon(lambda: stub.SubmitJob.future(request), 0.0005 * (turn % 12))
    client.submit_spec(spec)
    wait_for(lambda: all(job.state in ENDED for job in client.list(labels=labels)))
    assert len(list(client.list(labels=labels))) >= 1


def test_a_cancel_that_nobody_waits_for_is_carried_out(
    server: Served, client: Client, film: str, out: Path
) -> None:
    slow = Output(uri_template=f"{out}/{{index}}.mp4", video=VideoEncoding(preset="placebo"))
    job = client.submit(film, every(1), slow)
    wait_for(lambda: job.get().state is not JobState.PENDING)
    with grpc.insecure_channel(server.address) as channel:
        stub = JobServiceStub(channel)
        stub.GetJob(pb.GetJobRequest(job_id=job.job_id))
        request = pb.CancelJobRequest(job_id=job.job_id)
        _abandon(lambda: stub.CancelJob.future(request), 0.004)
    assert job.cancel().state in ENDED


@pytest.mark.parametrize(
    ("garbage", "word"), [(b"\x0a\x02\xff\xfe", "UTF-8"), (b"\xfa\x7f\x01x", "not known")]
)
def test_a_request_that_is_no_message_is_refused_in_our_words(
    server: Served, garbage: bytes, word: str
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        raw = channel.unary_unary("/reelsplit.v1.JobService/GetJob")
        with pytest.raises(grpc.RpcError, match=word) as caught:
            raw(garbage)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
