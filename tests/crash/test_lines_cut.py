"""Lines that are cut and slow, between clients and server and between server and store."""

from __future__ import annotations

import threading

import pytest

from tests.crash.chance import PATIENCE, TURNS, dice
from tests.crash.conftest import Site
from tests.crash.invariants import check_all
from tests.crash.load import Load
from tests.crash.places import Bucket
from tests.proxy import proxied
from tests.services import Service

pytestmark = pytest.mark.timeout(PATIENCE)


def test_lines_that_are_cut_and_slow_lose_nothing(site: Site, seaweed: Service) -> None:
    chance = dice("lines")
    pieces = Bucket(seaweed, "cut-lines")
    host = seaweed.endpoint.partition("://")[2]
    with proxied(host) as behind:
        stores = {"main": seaweed.settings("cut-lines", endpoint=behind.endpoint)}
        server = site.server(stores)
        film = f"{pieces.folder}/film.mp4"
        pieces.put(film, (server.root / "film.mp4").read_bytes())
        with server, proxied(server.address) as before:
            before.delay = behind.delay = lambda: chance.choice([0.0, 0.0, 0.0, 0.01])
            with Load(before.address, film, [pieces], chance, most=5) as load:
                pause = threading.Event()
                for _ in range(8 * TURNS):
                    pause.wait(0.5 * chance.random())
                    chance.choice([before, behind]).cut()
                    load.check()
                before.delay = behind.delay = lambda: 0.0
                load.finish()
                check_all(load, server)
            assert server.starts == 1
