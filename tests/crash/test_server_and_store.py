"""A server that is killed again and again while jobs read from an object store and write to it."""

from __future__ import annotations

import re

import pytest

from tests.crash.chance import CRASHES, PATIENCE, dice
from tests.crash.conftest import Site
from tests.crash.invariants import check_all
from tests.crash.killing import kill_often
from tests.crash.load import MOMENTS, Load
from tests.crash.places import Bucket
from tests.proxy import proxied
from tests.services import Service

pytestmark = pytest.mark.timeout(PATIENCE)

REQUESTS = {
    "begins": re.compile(r"POST .*[?&]uploads"),
    "sends": re.compile(r"PUT .*partNumber="),
    "completes": re.compile(r"POST .*uploadId="),
    "gives up": re.compile(r"DELETE .*"),
}
"""What is asked of a store while something is published."""


def test_a_server_that_is_killed_leaves_its_store_clean(site: Site, seaweed: Service) -> None:
    chance = dice("store")
    pieces = Bucket(seaweed, "killed-servers")
    with proxied(seaweed.endpoint.partition("://")[2]) as between:
        stores = {"main": seaweed.settings("killed-servers", endpoint=between.endpoint)}
        server = site.server(stores)
        film = f"{pieces.folder}/film.mp4"
        pieces.put(film, (server.root / "film.mp4").read_bytes())
        with server, Load(server.address, film, [pieces], chance) as load:

            def happens(line: str) -> bool:
                for moment, pattern in REQUESTS.items():
                    if pattern.match(line):
                        load.reach(moment)
                return False

            between.holds = happens
            # So that what goes to the store takes its time, as it does over a network.
            between.delay = lambda: 0.003
            # What is being stopped is what nobody makes again.
            moments = [*MOMENTS, *REQUESTS, *3 * ["CANCELLING", "gives up"]]
            kill_often(server, load, chance, CRASHES // 2, moments)
            between.delay = lambda: 0.0
            load.finish()
            check_all(load, server)
