"""What the benchmarks of the service share: a real server with jobs that wait, its bare peers, and
tables.

The peers are measured in the same run: one SQLite commit of one row with the pragmas of the job
store, and one unary call to a ``grpc.aio`` server that answers the same bytes and does nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "client"), str(ROOT / "server")]

import grpc  # noqa: E402

from reelsplit.v1 import job_service_pb2 as pb  # noqa: E402
from reelsplit.v1.job_service_pb2_grpc import (  # noqa: E402
    JobServiceServicer,
    JobServiceStub,
    add_JobServiceServicer_to_server,
)
from tests.server import ServerProcess  # noqa: E402

# A store where nobody answers: jobs wait, and no worker disturbs the measurement.
_STORE = {"kind": "s3", "endpoint": "http://127.0.0.1:9", "region": "x", "buckets": ["films"]}
WAITING = {
    "REELSPLIT_STORES": json.dumps({"films": _STORE}),
    "REELSPLIT_STORAGE_PATIENCE": "3600",
    # Without these it would give up at once.
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}
MANY = ("--max-queued", "1000000", "--max-calls", "100000")
"""Settings under which nothing is refused."""


def waiting_server(folder: Path, *flags: str) -> ServerProcess:
    """A server whose jobs of `submission` never get further than their source."""
    given = ("--workers", "1", "--log-level", "warning", *MANY, *flags)
    return ServerProcess(folder, *given, environment=WAITING)


def submission() -> pb.SubmitJobRequest:
    """A request with a token of its own, as the SDK makes it for one range."""
    request = pb.SubmitJobRequest(client_token=secrets.token_hex(16))
    spec = request.spec
    spec.input.uri = "s3://films/a.mp4"
    piece = spec.user_defined.ranges.add()
    piece.start_offset.seconds, piece.end_offset.seconds = 1, 2
    spec.output.uri_template = "s3://films/out/{job_id}/{index}.mp4"
    return request


class _Bare(JobServiceServicer):
    def __init__(self) -> None:
        self._answer = pb.SubmitJobResponse()
        self._answer.job.job_id = secrets.token_hex(16)
        self._answer.job.spec.CopyFrom(submission().spec)

    async def SubmitJob(
        self, request: pb.SubmitJobRequest, context: object
    ) -> pb.SubmitJobResponse:
        return self._answer


async def _serve_bare() -> None:
    server = grpc.aio.server()
    add_JobServiceServicer_to_server(_Bare(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


@contextmanager
def bare_server() -> Iterator[tuple[str, int]]:
    """Address and process of a gRPC server that does nothing."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}", process.pid
    finally:
        process.communicate()


def bare_commits(folder: Path, count: int) -> list[float]:
    """The milliseconds of single commits of one row, one after the other."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)")
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (data) VALUES (?)", (os.urandom(256),))
        connection.execute("COMMIT")
        times.append((time.perf_counter() - begin) * 1000)
    connection.close()
    return times


async def as_fast(
    call: Callable[[], Awaitable[object]], flight: int, seconds: float
) -> tuple[float, list[float]]:
    """Calls a second with so many under way at any time, and the milliseconds of each."""
    times: list[float] = []
    begin = time.perf_counter()

    async def one() -> None:
        while (sent := time.perf_counter()) < begin + seconds:
            await call()
            times.append((time.perf_counter() - sent) * 1000)

    await asyncio.gather(*(one() for _ in range(flight)))
    return len(times) / (time.perf_counter() - begin), times


async def at_rate(
    call: Callable[[], Awaitable[object]], rate: float, seconds: float
) -> list[float]:
    """The milliseconds of calls that are sent at a rate, however long they take: each is counted
    from when it was due."""
    times: list[float] = []
    begin = time.perf_counter()

    async def one(due: float) -> None:
        await call()
        times.append((time.perf_counter() - due) * 1000)

    under_way = set()
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return times


def stubs(address: str, count: int) -> tuple[list[grpc.aio.Channel], Callable[[], JobServiceStub]]:
    """Open connections, and what answers one of them, in turns."""
    channels = [
        grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(count)
    ]
    all_stubs = [JobServiceStub(channel) for channel in channels]
    turn = iter(range(sys.maxsize))
    return channels, lambda: all_stubs[next(turn) % count]


def percentile(times: Sequence[float], share: float) -> float:
    """The value that ``share`` percent of them do not exceed."""
    return statistics.quantiles(times, n=1000, method="inclusive")[round(share * 10) - 1]


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """What a process has used, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for cells in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(cells)} |")


def heading() -> str:
    """Where and when."""
    count = len(os.sched_getaffinity(0))
    return (
        f"{count} cores; Python {platform.python_version()}, grpcio {grpc.__version__}, SQLite "
        f"{sqlite3.sqlite_version}; {datetime.now(UTC):%F}\n"
    )


if __name__ == "__main__":
    asyncio.run(_serve_bare())
