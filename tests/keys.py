"""Access keys for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from reelsplit_server.access.key_store import KeyTable
from reelsplit_server.access.keys import NewKey, make_key
from reelsplit_server.access.permissions import ORDINARY, Permission
from reelsplit_server.access.reach import Reach
from reelsplit_server.operating import opened
from reelsplit_server.settings import Settings


def new_key(
    data: Path,
    principal: str = "team",
    *,
    permissions: Iterable[Permission] = ORDINARY,
    read: Iterable[str] | None = None,
    write: Iterable[str] | None = None,
    key_id: str | None = None,
    secret: str | None = None,
    certificate: str | None = None,
) -> NewKey:
    """A key in a data folder, on which a server may run already: it knows the key within some
    seconds."""

    async def work() -> NewKey:
        async with opened(Settings(data_dir=data)) as (database, vault):
            made = make_key(
                vault,
                principal=principal,
                permissions=frozenset(permissions),
                reach=Reach(
                    read=None if read is None else tuple(read),
                    write=None if write is None else tuple(write),
                ),
                create_time=datetime.now(UTC),
                key_id=key_id,
                secret=secret,
                certificate=certificate,
            )
            await KeyTable(database).add(made.key)
            return made

    return asyncio.run(work())


def disable_key(data: Path, key_id: str) -> None:
    """As ``reelsplit keys disable`` does."""

    async def work() -> None:
        async with opened(Settings(data_dir=data)) as (database, _):
            assert await KeyTable(database).disable(key_id)

    asyncio.run(work())
