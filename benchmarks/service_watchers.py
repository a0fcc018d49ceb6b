"""What watching costs: memory for each watcher, and how long an event takes to the last of them.

    python benchmarks/service_watchers.py [--events N] [--case WATCHERS JOBS CONNECTIONS]...

Beside the real server runs a bare ``grpc.aio`` server in a process of its own, whose streams do
nothing but hand over the same bytes, which were made once. Both are watched by this process at
the same time, and their events come in turns: one here, one there, each when the one before has
reached everybody. A delay is counted from the commit, or from the tick, until the client has read
the event. The real events are committed by the server's process through its own store; with many
jobs, that is most of what its last two columns count, and of each event that others wait for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Clients tell at length that a server has ended.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import structlog
from service_tools import (
    WAITING,
    cpu_seconds,
    heading,
    pb,
    percentile,
    resident,
    submission,
)

from reelsplit import JobEvent, Segment, SegmentChanged, TimeRange
from reelsplit.wire import to_message
from reelsplit_server import composition
from reelsplit_server.jobs.records import StoredEvent
from reelsplit_server.jobs.scheduler import Scheduler
from reelsplit_server.jobs.store import Store
from reelsplit_server.settings import Settings

_SERVICE = "reelsplit.v1.JobService"
_CASES = [(1000, 1, 10), (1000, 1, 1000), (2000, 1, 10), (2000, 2000, 10)]


def _piece(index: int) -> Segment:
    start = Fraction(index)
    bounds = TimeRange(start_offset=start, end_offset=start + 1)
    return Segment(index=index, requested=bounds)


# --- The two servers, each in a process of its own --------------------------------------------


async def _orders(answer: Callable[[list[str]], Awaitable[list[int]]]) -> None:
    """Each line names jobs that get an event each; the answer is when that was."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await answer(json.loads(line))), flush=True)


async def serve_bare() -> None:
    """Streams that hand over the bytes of an event whenever one is ordered."""
    made = JobEvent(job_id="0" * 32, sequence=1, event=SegmentChanged(segment=_piece(1)))
    response = pb.WatchJobResponse()
    response.event.MergeFrom(to_message(made))
    response.event.event_time.GetCurrentTime()
    response.event.resume_token = "t" * 22
    event = response.SerializeToString()
    told: dict[str, tuple[int, asyncio.Event]] = {}

    async def watch(request: pb.WatchJobRequest, context: Any) -> AsyncIterator[bytes]:
        seen = told.setdefault(request.job_id, (0, asyncio.Event()))[0] - 1
        while True:
            number, changed = told[request.job_id]
            if seen < number:
                seen += 1
                yield event
            else:
                await changed.wait()

    async def tick(jobs: list[str]) -> list[int]:
        times = []
        for job_id in jobs:
            number, changed = told[job_id]
            told[job_id] = number + 1, asyncio.Event()
            times.append(time.monotonic_ns())
            changed.set()
        return times

    # More calls may begin at once than gRPC lets wait by itself.
    many = [(f"grpc.server.max_pending_requests{what}", 100_000) for what in ("", "_hard_limit")]
    server = grpc.aio.server(options=many)
    handler = grpc.unary_stream_rpc_method_handler(
        watch, request_deserializer=pb.WatchJobRequest.FromString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(_SERVICE, {"WatchJob": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await _orders(tick)
    await server.stop(None)


async def serve_real(folder: Path) -> None:
    """The server as it is, with a task that plans one more segment whenever that is ordered."""
    stores: list[Store] = []

    class Known(Store):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            stores.append(self)

    class Waiting(Scheduler):
        def add(self, *_: Any) -> None:
            """Nothing happens to a job but what is ordered."""

    composition.Store = Known  # type: ignore[misc]
    composition.Scheduler = Waiting  # type: ignore[misc]
    commits: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    called = loop.call_soon_threadsafe

    def noted(*arguments: Any, **options: Any) -> Any:
        # The writer's word after a commit, with what was committed.
        if threading.current_thread().name == "store-writer":
            now = time.monotonic_ns()
            for events in (argument for argument in arguments if isinstance(argument, list)):
                told = (stored for stored in events if isinstance(stored, StoredEvent))
                commits.update((stored.event.job_id, now) for stored in told)
        return called(*arguments, **options)

    loop.call_soon_threadsafe = noted  # type: ignore[method-assign]
    planned: dict[str, int] = {}

    async def plan(jobs: list[str]) -> list[int]:
        pieces = []
        for job_id in jobs:
            planned[job_id] = planned.get(job_id, -1) + 1
            pieces.append(stores[0].plan(job_id, [_piece(planned[job_id])]))
        await asyncio.gather(*pieces)
        return [commits[job_id] for job_id in jobs]

    # Standard output is for the answers.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = Settings(listen="127.0.0.1:0", data_dir=folder, workers=1)
    async with composition.running(settings) as address:
        print(address, flush=True)
        await _orders(plan)


class Child:
    """One of the servers, with a pipe for orders."""

    def __init__(self, *role: str) -> None:
        self.name = role[0]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | WAITING,
        )
        self.pid = self._process.pid
        self.address = self._read().strip()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the server {self.name} ended"
        return line

    async def order(self, jobs: Sequence[str]) -> list[int]:
        """Events of these jobs; answers the monotonic nanoseconds of each."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        times: list[int] = json.loads(await asyncio.to_thread(self._read))
        return times

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextmanager
def _children() -> Iterator[list[Child]]:
    made = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            made += [Child("bare"), Child("real", folder)]
            yield made
        finally:
            for child in made:
                child.close()


# --- Those who watch ---------------------------------------------------------------------------


@dataclass
class Audience:
    """Open watches of one server, and when they heard something."""

    child: Child
    jobs: list[str] = field(default_factory=list)
    base: int = 0
    """The server's resident bytes before anybody watched."""
    heard: dict[str, list[int]] = field(default_factory=dict)
    """Monotonic nanoseconds, by job."""
    count: int = 0
    _awaited: int = sys.maxsize
    _all: asyncio.Event = field(default_factory=asyncio.Event)
    _channels: list[grpc.aio.Channel] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def make_jobs(self, count: int) -> None:
        """Submit jobs."""
        if self.child.name == "bare":
            self.jobs = [f"{number:032x}" for number in range(count)]
            return
        async with grpc.aio.insecure_channel(self.child.address) as channel:
            submit = channel.unary_unary(
                f"/{_SERVICE}/SubmitJob",
                request_serializer=pb.SubmitJobRequest.SerializeToString,
                response_deserializer=pb.SubmitJobResponse.FromString,
            )
            made = []
            for left in range(count, 0, -50):
                calls = (submit(submission()) for _ in range(min(left, 50)))
                made += await asyncio.gather(*calls)
        self.jobs = [answer.job.job_id for answer in made]

    async def connect(self, watchers: int, connections: int) -> None:
        """Open the watches; returns when all have heard what was there already."""
        self.base = resident(self.child.pid)
        # Without a pool of its own, all channels to one address share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(self.child.address, options) for _ in range(connections)
        ]
        self.heard = {job_id: [] for job_id in self.jobs}
        for number in range(watchers):
            job_id = self.jobs[number % len(self.jobs)]
            channel = self._channels[number % connections]
            self._tasks.append(asyncio.create_task(self._watch(channel, job_id)))
        while self.count < watchers:
            await asyncio.sleep(0.1)
            assert not any(task.done() for task in self._tasks), "a watch ended"
        await asyncio.sleep(1.0)

    async def _watch(self, channel: grpc.aio.Channel, job_id: str) -> None:
        method = channel.unary_stream(
            f"/{_SERVICE}/WatchJob", request_serializer=pb.WatchJobRequest.SerializeToString
        )
        heard = self.heard[job_id]
        async for _ in method(pb.WatchJobRequest(job_id=job_id, skip_progress=True)):
            heard.append(time.monotonic_ns())
            self.count += 1
            if self.count >= self._awaited:
                self._all.set()

    async def event(self, jobs: Sequence[str], times: int = 1) -> list[float]:
        """Events of some jobs, heard by all their watchers: the delays in milliseconds."""
        for heard in self.heard.values():
            heard.clear()
        self.count = 0
        self._awaited = times * len(self._tasks) * len(jobs) // len(self.jobs)
        self._all.clear()
        told = await self.child.order(jobs)
        for _ in range(times - 1):
            await self.child.order(jobs)
        everybody = asyncio.create_task(self._all.wait())
        await asyncio.wait([everybody, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        assert everybody.done(), "a watch ended"
        return [
            (heard - since) / 1e6
            for job_id, since in zip(jobs, told, strict=True)
            for heard in self.heard[job_id]
        ]

    def memory(self) -> float:
        """KiB of the server for each watcher."""
        return (resident(self.child.pid) - self.base) / 1024 / len(self._tasks)

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()


async def _measure(
    children: Sequence[Child], watchers: int, jobs: int, connections: int, events: int
) -> list[str]:
    audiences = [Audience(child) for child in children]
    delays: list[list[float]] = [[] for _ in audiences]
    memory, rates, costs = [], [], []
    for audience in audiences:
        await audience.make_jobs(jobs)
        await audience.connect(watchers, connections)
    rounds = events if jobs == 1 else max(1, events // 10)
    for number in range(rounds + 1):
        for audience, seen in zip(audiences, delays, strict=True):
            found = await audience.event(audience.jobs)
            # The first one grows buffers.
            seen += found if number else []
    for audience in audiences:
        memory.append(audience.memory())
        used, begin = cpu_seconds(audience.child.pid), time.monotonic()
        many = 20 if jobs == 1 else 2
        await audience.event(audience.jobs, many)
        rates.append(watchers * many / (time.monotonic() - begin))
        costs.append((cpu_seconds(audience.child.pid) - used) / (watchers * many) * 1e6)
        await audience.close()
    where = f"{watchers:,} on {jobs:,} job{'s' * (jobs > 1)}, {connections:,} connections"
    lines = []
    for place, name in enumerate(("bare stream", "WatchJob")):
        steps = [percentile(delays[place], share) for share in (50, 99)]
        against = percentile(delays[1], 99) / percentile(delays[0], 99) if place else 1.0
        lines.append(
            f"| {where} | {name} | {steps[0]:.1f} | {steps[1]:.1f} | {against:.2f} | "
            f"{memory[place]:.1f} | {memory[place] - memory[0]:+.1f} | {rates[place]:,.0f} | "
            f"{costs[place]:.0f} |"
        )
    return lines


async def watchers(cases: Sequence[Sequence[int]], events: int) -> list[str]:
    """The lines of the table for cases: watchers, jobs that they watch, connections."""
    lines = []
    for case in cases:
        # New servers for each, since memory that was used once is seldom given back.
        with _children() as children:
            lines += await _measure(children, *case, events)
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=40, help="measured ones on each server")
    parser.add_argument(
        "--case",
        type=int,
        nargs=3,
        action="append",
        metavar=("WATCHERS", "JOBS", "CONNECTIONS"),
        help="measure this instead of the usual cases; may be repeated",
    )
    options = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    lines = asyncio.run(watchers(options.case or _CASES, options.events))
    print(heading())
    print(
        "| watchers | | p50, ms | p99, ms | p99 against bare | KiB a watcher | above bare | "
        "events a second | CPU of the server, µs an event |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        asyncio.run(serve_bare())
    elif sys.argv[1:2] == ["real"]:
        asyncio.run(serve_real(Path(sys.argv[2])))
    else:
        main()
