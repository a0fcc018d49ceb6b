"""How many jobs a second are accepted, and how long an accepted one takes: durable when answered.

    python benchmarks/service_submits.py [--seconds N] [--flight N] [--rate N]

The server is a process of its own, this one sends. Its store does not answer, so that the jobs
wait and no worker disturbs the measurement. Calls at a rate are counted from when they were due.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from service_tools import (
    as_fast,
    at_rate,
    bare_commits,
    bare_server,
    cpu_seconds,
    heading,
    percentile,
    print_table,
    stubs,
    submission,
    waiting_server,
)


def row(name: str, rate: float | None, times: list[float], cpu: str = "") -> list[str]:
    """One line of the table."""
    told = f"{rate:.0f}" if rate is not None else ""
    steps = [f"{percentile(times, share):.2f}" for share in (50, 99)]
    return [name, told, *steps, f"{max(times):.1f}", cpu]


async def measure(
    name: str, address: str, pid: int, options: argparse.Namespace
) -> list[list[str]]:
    """Both loads on one server."""
    channels, stub = stubs(address, options.connections)

    async def call() -> object:
        return await stub().SubmitJob(submission())

    await as_fast(call, 8, 2.0)
    used = cpu_seconds(pid)
    rate, times = await as_fast(call, options.flight, options.seconds)
    cpu = f"{(cpu_seconds(pid) - used) / len(times) * 1000:.2f}"
    lines = [row(f"{name}, {options.flight} under way", rate, times, cpu)]
    times = await at_rate(call, options.rate, options.seconds)
    lines.append(row(f"{name}, {options.rate} a second", None, times))
    for channel in channels:
        await channel.close()
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--flight", type=int, default=64, help="calls under way at any time")
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second")
    parser.add_argument("--connections", type=int, default=4)
    options = parser.parse_args(arguments)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        commits = bare_commits(Path(folder), 2000)
        lines.append(row("bare commit, one at a time", 1000 * len(commits) / sum(commits), commits))
        with bare_server() as (address, pid):
            lines += asyncio.run(measure("bare gRPC", address, pid, options))
        with waiting_server(Path(folder)) as server:
            lines += asyncio.run(measure("submit", server.address, server.pid, options))
    print(heading())
    columns = ["", "a second", "p50, ms", "p99, ms", "longest, ms", "CPU ms of the server"]
    print_table(columns, lines)


if __name__ == "__main__":
    main()
