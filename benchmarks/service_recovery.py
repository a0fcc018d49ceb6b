"""How long a server takes to start on a database with many queued jobs.

    python benchmarks/service_recovery.py [--jobs N] [--rounds N]

Jobs are put into the database as submits put them there. Told is the time from the start of the
process to the first answered call and to the first job that runs, against the same server on an
empty database, and against only reading all of those rows with sqlite3.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from service_tools import heading, print_table, resident, submission, waiting_server

from reelsplit import Client, JobState
from reelsplit.types.spec import JobSpec
from reelsplit.wire import from_message
from reelsplit_server.access.principals import LOCAL
from reelsplit_server.composition import DATABASE
from reelsplit_server.jobs.database import Database
from reelsplit_server.jobs.store import Store


async def fill(path: Path, count: int) -> None:
    """Put queued jobs into the database of a data folder."""
    path.mkdir(exist_ok=True)
    database = Database(path / DATABASE, lambda _: None, lambda: datetime.now(UTC))
    database.open()
    store = Store(database)
    spec = replace(from_message(JobSpec, submission().spec), time_to_live=Fraction(86400))
    for begin in range(0, count, 256):
        numbers = range(begin, min(begin + 256, count))
        adds = (store.add(LOCAL, str(n), spec, spec, most_waiting=count) for n in numbers)
        await asyncio.gather(*adds)
    await database.close()


def reads(path: Path) -> float:
    """The seconds of reading all rows of jobs, bare."""
    begin = time.perf_counter()
    connection = sqlite3.connect(path / DATABASE)
    for _ in connection.execute("SELECT * FROM jobs"):
        pass
    connection.close()
    return time.perf_counter() - begin


def start(folder: Path, *, runs: bool) -> tuple[float, float, int]:
    """Seconds to the first answered call and to the first job that runs, and resident bytes."""
    begin = time.perf_counter()
    with waiting_server(folder) as server, Client(server.address) as client:
        client.list_page(page_size=1)
        answered = time.perf_counter() - begin
        while runs and not client.list_page(page_size=1, states=[JobState.RUNNING]).total_size:
            time.sleep(0.01)
        return answered, time.perf_counter() - begin, resident(server.pid)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for count in (0, options.jobs):
            folder = Path(root) / str(count)
            folder.mkdir()
            asyncio.run(fill(folder / "data", count))
            found = [start(folder, runs=count > 0) for _ in range(options.rounds)]
            answered, running, memory = (
                statistics.median(column) for column in zip(*found, strict=True)
            )
            rows.append(
                [
                    f"{count:,} queued jobs",
                    f"{answered:.2f}",
                    f"{running:.2f}" if count else "",
                    f"{memory / 1e6:.0f}",
                ]
            )
        bare = reads(Path(root) / str(options.jobs) / "data")
        rows.append([f"only reading {options.jobs:,} rows", f"{bare:.2f}", "", ""])
    print(heading())
    print_table(["start with", "first answer, s", "first job runs, s", "server, MB"], rows)


if __name__ == "__main__":
    main()
