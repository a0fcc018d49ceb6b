"""A server that is killed again and again while jobs write to a folder."""

from __future__ import annotations

import pytest

from tests.crash.chance import CRASHES, PATIENCE, dice
from tests.crash.conftest import Site
from tests.crash.invariants import check_all
from tests.crash.killing import kill_often
from tests.crash.load import Load
from tests.crash.places import Folder

pytestmark = pytest.mark.timeout(PATIENCE)


def test_a_server_that_is_killed_loses_nothing(site: Site) -> None:
    chance = dice("folder")
    with site.server() as server:
        out = server.root / "out"
        film = str(server.root / "film.mp4")
        with Load(server.address, film, [Folder(out)], chance) as load:
            kill_often(server, load, chance, (CRASHES + 1) // 2)
            load.finish()
            check_all(load, server)
