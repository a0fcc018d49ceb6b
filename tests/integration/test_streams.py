"""Many watchers at once, watchers that stop reading, and watchers that vanish."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import insert, update

from reelsplit import Client, Output, VideoEncoding, every
from reelsplit.v1 import event_pb2, job_pb2
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from tests.server import Served, ServerProcess, served, wait_for
from tests.unit.jobs.keeping import kept

EVENTS = 4_000
STOPPED = 40
# Bytes of one event, and of all that those would take that stopped: more than a server may.
SIZE = 5000
assert EVENTS * SIZE * STOPPED > 700 * 2**20


@pytest.fixture
def long_job(tmp_path: Path) -> str:
    """A job that ended after many events, in the data folder of a server that is to start."""
    (tmp_path / "data").mkdir()
    return asyncio.run(_long_job(tmp_path / "data"))


async def _long_job(data: Path) -> str:
    async with kept(data) as keep:
        job = await keep.add(principal="local")
        rows = []
        for sequence in range(2, EVENTS + 1):
            event = event_pb2.JobEvent(job_id=job.job_id, sequence=sequence)
            event.segment_changed.segment.error.message = "x" * SIZE
            row = {"job_id": job.job_id, "sequence": sequence, "data": event.SerializeToString()}
            rows.append(row)

        def work(transaction: Transaction) -> None:
            transaction.connection.execute(insert(schema.events), rows)
            ended = {"state": "FAILED", "last_sequence": EVENTS}
            change = update(schema.jobs).where(schema.jobs.c.job_id == job.job_id)
            transaction.connection.execute(change.values(**ended))

        await keep.database.write(work)
        return job.job_id


def _resident(process: ServerProcess) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _sequences(call: Any) -> list[int]:
    return [answer.event.sequence for answer in call]


def test_readers_that_stop_cost_little_memory_and_delay_nobody(
    tmp_path: Path, long_job: str
) -> None:
    request = pb.WatchJobRequest(job_id=long_job, skip_progress=True)
    with ServerProcess(tmp_path, "--workers", "1") as process:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.insecure_channel(process.address, options) for _ in range(4)]
        stubs = [JobServiceStub(channel) for channel in channels]
        assert _sequences(stubs[0].WatchJob(request)) == list(range(1, EVENTS + 1))
        before = _resident(process)
        stopped = [stubs[place % 4].WatchJob(request) for place in range(STOPPED)]
        for call in stopped:
            call.initial_metadata()
            assert next(call).event.sequence == 1
        # One who reads is served meanwhile, from the first event to the last.
        assert _sequences(stubs[0].WatchJob(request)) == list(range(1, EVENTS + 1))
        stubs[1].GetJob(pb.GetJobRequest(job_id=long_job), timeout=30)
        assert _resident(process) - before < 100 * 2**20
        # One who goes on has missed nothing.
        assert _sequences(stopped[0]) == list(range(2, EVENTS + 1))
        for channel in channels:
            channel.close()


def test_many_watchers_see_the_same_as_it_happens(
    server: Served, client: Client, film: str, out: Path
) -> None:
    output = Output(uri_template=f"{out}/{{index}}.mp4", video=VideoEncoding(preset="ultrafast"))
    job = client.submit(film, every(1), output)

    def watch(place: int) -> tuple[list[bytes], list[float]]:
        request = pb.WatchJobRequest(job_id=job.job_id, skip_progress=place % 2 == 0)
        request.progress_interval.FromTimedelta(timedelta(seconds=(0, 0.05, 0.25)[place % 3]))
        numbered, percents = [], []
        for answer in stubs[place % len(stubs)].WatchJob(request, timeout=120):
            if answer.event.sequence:
                numbered.append(answer.SerializeToString(deterministic=True))
            for told in ("progress", "job_state_changed"):
                if answer.event.HasField(told):
                    percents.append(getattr(answer.event, told).percent)
        return numbered, percents

    count = 200
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(server.address, options) for _ in range(5)]
    stubs = [JobServiceStub(channel) for channel in channels]
    with ThreadPoolExecutor(count) as pool:
        seen = list(pool.map(watch, range(count)))
    for channel in channels:
        channel.close()
    numbered = seen[0][0]
    events = [pb.WatchJobResponse.FromString(answer).event for answer in numbered]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].job_state_changed.state == job_pb2.JOB_STATE_SUCCEEDED
    for watched, percents in seen:
        assert watched == numbered
        assert percents == sorted(percents)
        assert percents[-1] == 100


def test_thousands_of_watches_begin_at_once(server: Served, client: Client, film: str) -> None:
    job = client.submit(film, every(5))
    job.wait(timeout=90)
    last = list(job.watch(progress=False))[-1]
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(server.address, options) for _ in range(5)]
    stubs = [JobServiceStub(channel) for channel in channels]
    # Of an ended job, so that each ends by itself.
    request = pb.WatchJobRequest(job_id=job.job_id, skip_progress=True)
    calls = [stubs[place % len(stubs)].WatchJob(request) for place in range(2000)]
    for call in calls:
        assert [answer.event.sequence for answer in call][-1] == last.sequence
    for channel in channels:
        channel.close()


WATCHER = """
import sys, grpc
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
with grpc.insecure_channel(sys.argv[1]) as channel:
    for answer in JobServiceStub(channel).WatchJobs(pb.WatchJobsRequest()):
        print("watching", flush=True)
"""


@pytest.fixture
def watcher() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_a_watcher_that_vanishes_is_noticed(
    tmp_path: Path, watcher: list[subprocess.Popen[bytes]]
) -> None:
    limits = {"max_watches": 1, "keepalive": 1, "keepalive_timeout": 5}
    with served(tmp_path, **limits) as server, grpc.insecure_channel(server.address) as channel:
        command = [sys.executable, "-c", WATCHER, server.address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        watcher.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"watching\n"
        stub = JobServiceStub(channel)

        def accepted() -> bool:
            call = stub.WatchJobs(pb.WatchJobsRequest())
            try:
                next(call)
            except grpc.RpcError:
                code, refused = call.code(), grpc.StatusCode.RESOURCE_EXHAUSTED
                # On a busy machine it may be this connection that was silent for too long.
                assert code in (refused, grpc.StatusCode.UNAVAILABLE)
                return False
            call.cancel()
            return True

        # It lives, and is left alone for longer than the times above.
        time.sleep(7)
        assert not accepted()
        # From now on nobody answers; the connection stays, as when a cable is pulled.
        process.send_signal(signal.SIGSTOP)
        wait_for(accepted)
