"""An object store that is killed and started again while jobs write to it."""

from __future__ import annotations

import time

import pytest

from tests.crash.chance import PATIENCE, TURNS, dice
from tests.crash.conftest import Site
from tests.crash.invariants import check_all
from tests.crash.load import Load
from tests.crash.places import Bucket
from tests.services import Service

pytestmark = pytest.mark.timeout(PATIENCE)


def test_a_store_that_is_killed_costs_nothing_but_time(site: Site, own_seaweed: Service) -> None:
    chance = dice("store killed")
    pieces = Bucket(own_seaweed, "killed-stores")
    stores = {"main": own_seaweed.settings("killed-stores")}
    server = site.server(stores, REELSPLIT_STORAGE_PATIENCE="90")
    film = f"{pieces.folder}/film.mp4"
    pieces.put(film, (server.root / "film.mp4").read_bytes())
    with server, Load(server.address, film, [pieces], chance, most=5) as load:
        for _ in range(max(1, TURNS // 2)):
            load.until("segment PUBLISHED", 5)
            time.sleep(chance.random())
            own_seaweed.kill()
            time.sleep(chance.random())
            own_seaweed.restart()
            load.check()
        load.finish()
        check_all(load, server)
        assert server.starts == 1
