"""Whether the memory of a server grows with the jobs that it has done.

    python benchmarks/service_memory.py [--jobs N] [--step N]

Jobs of a source that is not there: each is submitted, kept, begun, and ends FAILED, with all its
events, as fast as the server takes them. Told is the resident memory of the server's own process
along the way, and what it grew by over the last half.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from service_tools import MANY, heading, print_table, resident, stubs, submission

from reelsplit.v1 import job_pb2
from reelsplit.v1 import job_service_pb2 as pb
from tests.server import ServerProcess

_FLIGHT = 32
_UNFINISHED = (job_pb2.JOB_STATE_PENDING, job_pb2.JOB_STATE_RUNNING)


async def run(server: ServerProcess, jobs: int, step: int) -> list[tuple[int, float, float]]:
    """Jobs that have ended, seconds since the start and megabytes, after each step."""
    channels, stub = stubs(server.address, 4)
    found = []
    begin = time.perf_counter()

    async def some(count: int) -> None:
        for _ in range(count):
            request = submission()
            request.spec.input.uri = str(server.root / "missing.mp4")
            request.spec.output.uri_template = str(server.root / "{job_id}/{index}.mp4")
            await stub().SubmitJob(request)

    for done in range(step, jobs + 1, step):
        await asyncio.gather(*(some(step // _FLIGHT) for _ in range(_FLIGHT)))
        while (
            await stub().ListJobs(pb.ListJobsRequest(states=_UNFINISHED, page_size=1))
        ).total_size:
            await asyncio.sleep(0.1)
        found.append((done, time.perf_counter() - begin, resident(server.pid) / 1e6))
    for channel in channels:
        await channel.close()
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--step", type=int, default=1_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--workers", "2", "--log-level", "error", *MANY)
        with ServerProcess(Path(folder), *flags) as server:
            found = asyncio.run(run(server, options.jobs, options.step))
    print(heading())
    rows = [[f"{jobs:,}", f"{seconds:.0f}", f"{size:.1f}"] for jobs, seconds, size in found]
    print_table(["jobs that have ended", "after, s", "server, MB"], rows)
    (before, _, small), (after, _, large) = found[len(found) // 2 - 1], found[-1]
    grown = (large - small) / (after - before) * 100_000
    print(f"\nThe last half added {large - small:.1f} MB, {grown:.0f} MB for 100,000 jobs.")


if __name__ == "__main__":
    main()
