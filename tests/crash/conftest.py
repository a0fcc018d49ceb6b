from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.kinds import make_film
from tests.crash.launching import Launcher, QuickServer, launcher
from tests.crash.load import TOKENS


@pytest.fixture(scope="module")
def launching() -> Iterator[Launcher]:
    with launcher() as made:
        yield made


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """Makes the server of a test."""

    folder: Path
    launcher: Launcher

    def server(self, stores: dict[str, Any] | None = None, **environment: str) -> QuickServer:
        """A server that is still to be started; ``film.mp4`` lies in its root."""
        given = {
            "REELSPLIT_TOKENS": json.dumps(TOKENS),
            "REELSPLIT_STORES": json.dumps(stores or {}),
        }
        flags = ("--workers", "2", "--grace", "1")
        made = QuickServer(self.launcher, self.folder, *flags, **given, **environment)
        make_film(made.root / "film.mp4")
        return made


@pytest.fixture
def site(tmp_path: Path, launching: Launcher) -> Site:
    return Site(tmp_path, launching)
