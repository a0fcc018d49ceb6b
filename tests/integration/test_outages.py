"""A server whose database takes no writes for a while says so, and goes on when that is over."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from reelsplit import Client, JobState, Output, SegmentState, VideoEncoding, every
from reelsplit.types.spec import Input, JobSpec
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from reelsplit.wire import to_message
from tests.disks import small_disk
from tests.patience import PATIENCE
from tests.server import ServerProcess, alive, processes_below, wait_for

SERVING = health_pb2.HealthCheckResponse.SERVING
SLOW = VideoEncoding(preset="medium", crf=0)


@contextmanager
def locked(server: ServerProcess) -> Iterator[None]:
    """By another program, as by one that copies or mends the database."""
    other = sqlite3.connect(server.folder / "data" / "reelsplit.db", isolation_level=None)
    try:
        other.execute("PRAGMA busy_timeout=20000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@contextmanager
def full(server: ServerProcess) -> Iterator[None]:
    """For what the server itself writes, its logs too; its workers have room."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))


class Caller:
    """Calls without the SDK, which would try again by itself."""

    def __init__(self, channel: grpc.Channel, film: Path) -> None:
        self._jobs, self._health = JobServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        self._request = pb.SubmitJobRequest()
        self._request.spec.MergeFrom(to_message(JobSpec(input=Input(uri=str(film)), mode=every(1))))

    def submit(self) -> str:
        answer = self._jobs.SubmitJob(self._request, timeout=60)
        return str(answer.job.job_id)

    def is_refused(self) -> bool:
        try:
            self.submit()
        except grpc.RpcError:
            return True
        return False

    def check_refusal(self, reason: str = "STORE_UNAVAILABLE") -> None:
        """A submit is refused, with the reason, and when to come again."""
        with pytest.raises(grpc.RpcError) as caught:
            self.submit()
        assert isinstance(caught.value, grpc.Call)
        status = rpc_status.from_call(caught.value)
        assert status is not None
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        assert any(detail.Unpack(info) for detail in status.details)
        assert any(detail.Unpack(retry) for detail in status.details)
        assert info.reason == reason
        assert retry.retry_delay.seconds > 0

    def serves(self) -> bool:
        answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=60)
        return bool(answer.status == SERVING)


@pytest.mark.parametrize("outage", [locked, full])
def test_jobs_wait_and_go_on(tmp_path: Path, clip: Path, outage: object) -> None:
    with (
        ServerProcess(tmp_path, "--workers", "2") as server,
        Client(server.address, timeout=60) as client,
        grpc.insecure_channel(server.address) as channel,
    ):
        film = server.root / "film.mp4"
        film.write_bytes(clip.read_bytes())
        caller = Caller(channel, film)
        output = Output(uri_template=f"{server.root}/out/{{index}}.mp4", video=SLOW, width=960)
        job = client.submit(str(film), every(1), output)
        wait_for(lambda: list(job.segments(states={SegmentState.PUBLISHED})))
        with outage(server):  # type: ignore[operator]
            caller.check_refusal()
            wait_for(lambda: not caller.serves())
            # What is known can be read.
            assert job.get().state is JobState.RUNNING
        assert job.wait(timeout=120).state is JobState.SUCCEEDED
        assert {segment.attempt for segment in job.segments()} == {1}
        wait_for(caller.serves)
        assert client.get(caller.submit()).state is not JobState.FAILED
        assert server.terminate() == 0


def test_a_disk_that_is_full_is_told(tmp_path: Path, clip: Path) -> None:
    with (
        small_disk(tmp_path / "data", "size=16m") as data,
        ServerProcess(tmp_path, "--workers", "1") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        film = server.root / "film.mp4"
        film.write_bytes(clip.read_bytes())
        caller = Caller(channel, film)
        ballast = os.open(data / "ballast", os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):
            while True:
                os.write(ballast, bytes(2**12))
        os.close(ballast)
        # There may be some room in the files that are there.
        wait_for(caller.is_refused)
        caller.check_refusal()
        wait_for(lambda: not caller.serves())
        (data / "ballast").unlink()
        wait_for(caller.serves)
        with Client(server.address, timeout=60) as client:
            assert client.get(caller.submit()).state is not JobState.FAILED
        assert server.terminate() == 0


def test_a_server_that_drains_takes_no_work_and_a_second_signal_ends_it(
    tmp_path: Path, clip: Path
) -> None:
    with ServerProcess(tmp_path, "--workers", "1", "--grace", "300") as server:
        film = server.root / "film.mp4"
        film.write_bytes(clip.read_bytes())
        output = Output(
            uri_template=f"{server.root}/{{index}}.mp4",
            width=3840,
            video=VideoEncoding(preset="placebo"),
        )
        with (
            grpc.insecure_channel(server.address) as channel,
            Client(server.address, timeout=60) as client,
        ):
            caller = Caller(channel, film)
            job = client.submit(str(film), every(5), output)
            states = {SegmentState.RUNNING}
            wait_for(lambda: list(job.segments(states=states)))
            below = processes_below(server.pid)
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not caller.serves())
            caller.check_refusal("SHUTTING_DOWN")
            # What runs goes on for as long as it may.
            assert job.get().state is JobState.RUNNING
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == -signal.SIGTERM
        wait_for(lambda: not any(alive(pid) for pid in below))
        server.start()
        with Client(server.address, timeout=60) as client:
            assert client.cancel(job.job_id).state is JobState.CANCELLED
            (segment,) = [s for s in client.segments(job.job_id) if s.index == 0]
            assert segment.state is SegmentState.PLANNED
