"""A server in a process of its own: drained, killed, and started again under load."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from reelsplit import (
    Client,
    JobEvent,
    JobHandle,
    JobProgress,
    JobState,
    JobStateChanged,
    Output,
    SegmentChanged,
    SegmentState,
    VideoEncoding,
    every,
)
from reelsplit_server.jobs.grouping import MOST
from tests.clips import read_numbers
from tests.patience import PATIENCE
from tests.server import ServerProcess, alive, processes_below, wait_for, workers_of

SLOW = VideoEncoding(preset="medium", crf=0)


@pytest.fixture
def process(tmp_path: Path, clip: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path, "--workers", "2", "--grace", "1")
    (made.root / "clip.mp4").write_bytes(clip.read_bytes())
    with made:
        yield made


class Watched:
    """A job of ten segments that takes some seconds, watched from its first event on."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.client = Client(process.address, timeout=60)
        output = Output(uri_template=f"{process.root}/out/{{index}}.mp4", video=SLOW, width=960)
        film = str(process.root / "clip.mp4")
        self.job: JobHandle = self.client.submit(film, every(1), output)
        self.events: list[JobEvent] = []
        self.failure: Exception | None = None
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        try:
            for event in self.job.watch(progress_interval=0.05):
                self.events.append(event)
        except Exception as error:
            self.failure = error

    def published(self) -> list[int]:
        return [
            event.event.segment.index
            for event in list(self.events)
            if isinstance(event.event, SegmentChanged)
            and event.event.segment is not None
            and event.event.segment.state is SegmentState.PUBLISHED
        ]

    def until_published(self, count: int) -> None:
        wait_for(lambda: len(self.published()) >= count or self.failure)

    def check(self) -> None:
        """It ended well, and everything was told once, in order and without a gap."""
        self.thread.join(120)
        assert not self.thread.is_alive()
        assert self.failure is None
        assert self.job.get().state is JobState.SUCCEEDED
        sequences = [event.sequence for event in self.events if event.sequence]
        assert sequences == list(range(1, len(sequences) + 1))
        assert Counter(self.published()) == Counter(range(10))
        told = [e.event for e in self.events]
        percents = [e.percent for e in told if isinstance(e, JobProgress | JobStateChanged)]
        assert percents == sorted(percents)
        assert percents[-1] == 100
        out = self.process.root / "out"
        assert sorted(path.name for path in out.iterdir()) == [f"{n}.mp4" for n in range(10)]
        for number in range(10):
            frames = read_numbers(out / f"{number}.mp4")
            assert frames == list(range(number * 24, number * 24 + 24))
        scratch = self.process.folder / "data" / "scratch"
        assert [path for path in scratch.rglob("*") if path.is_file()] == []
        self.client.close()


def test_a_server_that_is_told_to_stop_drains_and_the_next_goes_on(
    process: ServerProcess,
) -> None:
    watched = Watched(process)
    watched.until_published(2)
    workers = workers_of(process.pid)
    with grpc.insecure_channel(process.address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == health_pb2.HealthCheckResponse.SERVING
        process.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert process.process.wait(PATIENCE) == 0  # type: ignore[union-attr]
    wait_for(lambda: not any(alive(pid) for pid in workers))
    assert "Traceback" not in process.log
    process.start()
    watched.check()


def test_a_server_that_is_killed_leaves_no_worker_and_the_next_goes_on(
    process: ServerProcess,
) -> None:
    watched = Watched(process)
    watched.until_published(2)
    below = processes_below(process.pid)
    assert len(workers_of(process.pid)) == 2
    process.kill()
    wait_for(lambda: not any(alive(pid) for pid in below))
    process.start()
    watched.check()


def test_a_worker_that_is_killed_costs_one_retry(process: ServerProcess) -> None:
    watched = Watched(process)
    watched.until_published(1)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    watched.check()
    with Client(process.address) as client:
        tried = Counter(segment.attempt for segment in client.segments(watched.job.job_id))
    assert set(tried) <= {1, 2}
    # Neighbours that it made together are tried again one by one.
    assert tried[2] <= MOST


def test_a_second_server_on_the_same_folder_is_refused(process: ServerProcess) -> None:
    second = ServerProcess(process.folder)
    with pytest.raises(AssertionError, match="another server uses the data folder"):
        second.start()
    assert second.process is not None
    assert second.process.wait(PATIENCE) == 1
    with Client(process.address) as client:
        assert list(client.list()) == []


def test_a_port_that_is_taken_is_told(process: ServerProcess, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    second = ServerProcess(other, "--workers", "1")
    second.listen = process.address
    with pytest.raises(AssertionError, match="cannot listen on"):
        second.start()
    assert second.process is not None
    assert second.process.wait(PATIENCE) == 1
    assert "Traceback" not in second.log


def test_a_server_without_work_stops_at_once_and_keeps_its_jobs(process: ServerProcess) -> None:
    with Client(process.address) as client:
        job = client.submit(str(process.root / "clip.mp4"), every(5))
        whole = list(job.watch(progress=False))
        process.kill()
        process.start()
        assert job.get().state is JobState.SUCCEEDED
        assert list(job.watch(progress=False)) == whole
        rest = list(job.watch(resume_token=whole[3].resume_token, progress=False))
        assert rest == whole[4:]
    assert process.terminate() == 0


def test_what_a_killed_server_leaves_among_temporary_files_is_deleted_by_the_next(
    tmp_path: Path,
) -> None:
    # A short path, as sockets need one.
    with tempfile.TemporaryDirectory() as temporary:
        server = ServerProcess(tmp_path, "--workers", "1", environment={"TMPDIR": temporary})
        with server:
            server.kill()
            left = set(os.listdir(temporary))
            assert left
            with server:
                assert not left & set(os.listdir(temporary))
                assert server.terminate() == 0
        assert os.listdir(temporary) == []
