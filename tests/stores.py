"""Stores as the server has them, for tests of what stands on them."""

from __future__ import annotations

from pathlib import Path

from reelsplit_server.storage.grants import Web, Wire
from reelsplit_server.storage.routes import Routes
from reelsplit_server.storage.stores import Stores


def local_stores(*roots: Path) -> Stores:
    """Local files only."""
    web = Web(hosts=(), networks=(), most_spool=0)
    return Stores(Routes(roots=roots), {}, web, Wire())
