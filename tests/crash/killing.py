"""Kills servers, at moments that chance chooses."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from tests.crash.launching import QuickServer
from tests.crash.load import MOMENTS, Load

_PATIENCE = 1.0
"""Seconds for which a moment is waited for before a server is killed anyway."""


def kill_often(
    server: QuickServer,
    load: Load,
    dice: random.Random,
    times: int,
    moments: Sequence[str] = MOMENTS,
) -> None:
    """Kill a server so many times, and start it again each time: at moments in the lives of jobs,
    while it starts, and at any other time."""
    left = times
    server.kill()
    took = _start(server)
    while left > 0:
        # Else clients that are still to connect again see nothing of a server that lives shortly.
        load.until(None, 10 * _PATIENCE)
        moment = dice.choice([*moments, "any", "any", "starting", "starting", "starting"])
        if moment in moments:
            load.until(moment, _PATIENCE)
            # Most of what follows a moment happens within some milliseconds.
            time.sleep(dice.choice([0, 0.005, 0.05]) * dice.random())
        elif moment == "any":
            time.sleep(_PATIENCE * dice.random())
        server.kill()
        left -= 1
        if moment == "starting":
            server.begin()
            time.sleep(1.3 * took * dice.random())
            server.kill()
            left -= 1
        # What others do on this machine meanwhile is none of a start's own time.
        took = min(took, _start(server))
        load.check()


def _start(server: QuickServer) -> float:
    """Start it; answers how many seconds that took."""
    begun = time.monotonic()
    server.start()
    return time.monotonic() - begun
