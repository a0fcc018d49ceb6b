"""Workers that are killed, or crash, at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from reelsplit import SegmentChanged, SegmentState
from reelsplit_server.jobs.grouping import MOST
from tests.crash.chance import PATIENCE, TURNS, dice
from tests.crash.conftest import Site
from tests.crash.invariants import check_all
from tests.crash.load import Load
from tests.crash.places import Folder
from tests.server import workers_of

DEADLY = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)

pytestmark = pytest.mark.timeout(PATIENCE)


def test_a_worker_that_dies_costs_a_retry(site: Site) -> None:
    chance = dice("workers")
    deaths = 3 * TURNS
    # None may be given up: chance could kill the same unit each time.
    with site.server(REELSPLIT_TRIES="20") as server:
        film = str(server.root / "film.mp4")
        with Load(server.address, film, [Folder(server.root / "out")], chance) as load:
            for _ in range(deaths):
                load.until(chance.choice(["segment RUNNING", "opened", "planned"]), 2)
                time.sleep(chance.choice([0.01, 0.2]) * chance.random())
                if workers := workers_of(server.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(workers), chance.choice(DEADLY))
                load.check()
            load.finish()
            check_all(load, server)
            assert server.starts == 1
            again = sum(
                isinstance(event.event, SegmentChanged)
                and event.event.previous_state is SegmentState.RUNNING
                and event.event.segment is not None
                and event.event.segment.state is SegmentState.PLANNED
                for job in load.jobs
                if not job.wanted.stopped
                for event in job.events
            )
            # A worker makes a few segments together at most, and each death costs those only.
            assert again <= deaths * MOST
