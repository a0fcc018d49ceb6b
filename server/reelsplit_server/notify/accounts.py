"""The addresses that are told of all jobs of a principal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select

from reelsplit_server.access.vault import Vault
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.rows import micros

_EVERYBODY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNames:
    """What the events are called in callbacks."""

    job: str
    segment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCallback:
    """An address, the secret that callbacks to it are signed with, and the events that it wants
    by name: those of `EventNames`, beside which unknown ones are kept and never sent. Without
    any it is told the ends of jobs."""

    url: str
    secret: str | None = field(default=None, repr=False)
    event_types: Sequence[str] = ()


class Accounts:
    """The account-wide addresses of all principals."""

    def __init__(self, database: Database, vault: Vault, names: EventNames) -> None:
        self._database = database
        self._vault = vault
        self._names = names

    async def set(self, principal: str, callback: EventCallback | None) -> None:
        """Keep an address in the place of the one before, or none."""
        await self._put(principal, callback)

    async def set_default(self, callback: EventCallback | None) -> None:
        """Keep the address of all principals that have set none."""
        await self._put(_EVERYBODY, callback)

    async def get(self, principal: str) -> EventCallback | None:
        """The address that a principal has set itself."""
        table = schema.callbacks
        query = select(table).where(table.c.principal == principal)

        def work(connection: Connection) -> EventCallback | None:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            return EventCallback(
                url=row.url,
                secret=None if row.secret is None else self._open(principal, row.secret),
                event_types=tuple(row.event_types.split(",")) if row.event_types else (),
            )

        return await self._database.read(work)

    async def secret(self, principal: str, url: str) -> str | None:
        """The secret that account-wide callbacks about a principal's jobs are signed with, as
        long as this is the address: another's secret is nothing for it."""
        for name in (principal, _EVERYBODY):
            found = await self.get(name)
            if found is not None and found.url == url:
                return found.secret
        return None

    async def _put(self, principal: str, callback: EventCallback | None) -> None:
        table = schema.callbacks
        values: dict[str, object] = {}
        if callback is not None:
            wanted = callback.event_types
            secret = callback.secret
            values = {
                "principal": principal,
                "url": callback.url,
                "secret": None if secret is None else self._vault.seal(_purpose(principal), secret),
                "event_types": ",".join(wanted),
                "tells_ends": not wanted or self._names.job in wanted,
                "tells_segments": self._names.segment in wanted,
            }

        def work(transaction: Transaction) -> None:
            connection = transaction.connection
            connection.execute(delete(table).where(table.c.principal == principal))
            if values:
                now = micros(transaction.now)
                connection.execute(insert(table).values(**values, update_time=now))

        await self._database.write(work)

    def _open(self, principal: str, sealed: bytes) -> str:
        return self._vault.open(_purpose(principal), sealed)


def _purpose(principal: str) -> str:
    return f"callback:{principal}"
