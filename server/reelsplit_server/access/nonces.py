"""Nonces: each is taken once, also across restarts."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select

from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.rows import from_micros, micros


class NonceUsedError(Exception):
    """This key has used the nonce already."""


class NoncesFullError(Exception):
    """The key has used as many nonces lately as are remembered for one."""


_PUT = insert(schema.nonces).values(
    digest=bindparam("of_digest"), key_id=bindparam("of_key"), expire_time=bindparam("until")
)


class Nonces:
    """The nonces of all keys that have not expired, in memory and in the database.

    ``most`` are remembered for one key at a time. All calls come from one event loop.
    """

    def __init__(self, database: Database, most: int = 500_000) -> None:
        self._database = database
        self._most = most
        self._known: dict[bytes, tuple[str, datetime]] = {}
        self._counts: Counter[str] = Counter()
        self._waiting: list[dict[str, object]] = []
        self._writing: asyncio.Task[None] | None = None

    async def load(self, now: datetime) -> None:
        """Read what an earlier server left."""
        table = schema.nonces
        query = select(table).where(table.c.expire_time > micros(now))
        for row in await self._database.read(lambda c: c.execute(query).all()):
            expires = from_micros(row.expire_time)
            assert expires is not None
            self._known[bytes(row.digest)] = row.key_id, expires
            self._counts[row.key_id] += 1

    def claim(
        self, key_id: str, nonce: str, *, now: datetime, expires: datetime
    ) -> asyncio.Future[None]:
        """Take a nonce that counts as new behind ``expires``; raises `NonceUsedError` or
        `NoncesFullError`, both at once.

        What is answered is done when the nonce is kept for good. Wait for it before answering,
        beside the work itself: what was answered cannot be replayed, whatever happens to this
        server. Raises `StoreUnavailableError` then.
        """
        found = hashlib.sha256(f"{key_id}\0{nonce}".encode()).digest()[:16]
        before = self._known.get(found)
        if before is not None and before[1] > now:
            raise NonceUsedError
        if self._counts[key_id] >= self._most:
            self.forget(now)
            if self._counts[key_id] >= self._most:
                raise NoncesFullError
        if before is None:
            self._counts[key_id] += 1
        self._known[found] = key_id, expires
        self._waiting.append({"of_digest": found, "of_key": key_id, "until": micros(expires)})
        # Those that come while others are being written share the next write.
        previous = self._writing
        if previous is None or previous.done() or len(self._waiting) == 1:
            self._writing = asyncio.create_task(self._write(previous))
        assert self._writing is not None
        # Others wait for the same task, so one that goes away must not cancel it.
        return asyncio.shield(self._writing)

    async def _write(self, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        rows, self._waiting = self._waiting, []
        if not rows:
            return

        def work(transaction: Transaction) -> None:
            table = schema.nonces
            connection = transaction.connection
            connection.execute(
                delete(table).where(table.c.digest.in_([row["of_digest"] for row in rows]))
            )
            connection.execute(_PUT, rows)

        await self._database.write(work)

    def forget(self, now: datetime) -> None:
        """Drop what has expired from memory."""
        for found, (key_id, expires) in list(self._known.items()):
            if expires <= now:
                del self._known[found]
                self._counts[key_id] -= 1

    async def sweep(self, now: datetime) -> None:
        """Drop what has expired, also from the database."""
        self.forget(now)
        table = schema.nonces
        until = micros(now)
        await self._database.write(
            lambda t: (
                t.connection.execute(delete(table).where(table.c.expire_time <= until)) and None
            )
        )
