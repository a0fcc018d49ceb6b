"""Ports for servers that must know theirs before they start, or keep it over a restart."""

from __future__ import annotations

import os
import random
import socket

_FIRST, _END = 11_000, 22_000


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and neither on those 10,000 above, which SeaweedFS opens
    too. All lie below those that the system gives to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_own())
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _own() -> range:
    """Those of this test process: another that runs beside it could take what was free a moment
    ago."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(_FIRST + place, _END, count)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
