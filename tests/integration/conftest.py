from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reelsplit import Client
from tests.server import Served


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(server.address, timeout=60) as made:
        yield made


@pytest.fixture
def film(server: Served) -> str:
    return str(server.root / "clip.mp4")


@pytest.fixture
def out(server: Served, request: pytest.FixtureRequest) -> Path:
    """A folder of the test's own below the server's root; it does not exist yet."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)
    return server.root / "out" / name
