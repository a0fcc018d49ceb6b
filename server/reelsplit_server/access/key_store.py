"""The table of access keys."""

from __future__ import annotations

import json

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from reelsplit_server.access.keys import AccessKey
from reelsplit_server.access.permissions import Permission, read_permissions
from reelsplit_server.access.reach import Reach
from reelsplit_server.access.vault import Vault
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.rows import from_micros, micros

_VERSION, _PROOF = "keys_version", "vault_proof"
_PURPOSE = "proof"


class KeyExistsError(Exception):
    """There is a key with this id, or one for this certificate, already."""


class KeyTable:
    """Reads and changes the keys of a database, which more than one process may use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[AccessKey]:
        """All keys, the oldest first."""
        table = schema.access_keys
        query = select(table).order_by(table.c.create_time, table.c.key_id)

        def work(connection: Connection) -> list[AccessKey]:
            return [
                AccessKey(
                    key_id=row.key_id,
                    principal=row.principal,
                    permissions=read_permissions(row.permissions.split(",")),
                    reach=Reach(read=_entries(row.reads), write=_entries(row.writes)),
                    active=row.active,
                    create_time=from_micros(row.create_time),  # type: ignore[arg-type]
                    sealed=row.secret,
                    token_digest=row.token_digest,
                    certificate=row.certificate,
                )
                for row in connection.execute(query)
            ]

        return await self._database.read(work)

    async def version(self) -> bytes:
        """What changes with every change of a key."""
        table = schema.properties
        query = select(table.c.value).where(table.c.name == _VERSION)
        return await self._database.read(lambda c: c.execute(query).scalar_one_or_none() or b"0")

    async def add(self, key: AccessKey) -> None:
        """Keep a new key; raises `KeyExistsError`. A certificate that stood for a disabled key
        stands for this one from now on."""
        names = [p.value for p in Permission if p in key.permissions]

        def work(transaction: Transaction) -> None:
            table = schema.access_keys
            if key.certificate is not None:
                # Otherwise nobody could be given another key for the certificate that he has.
                transaction.connection.execute(
                    update(table)
                    .where(table.c.certificate == key.certificate, ~table.c.active)
                    .values(certificate=None)
                )
            transaction.connection.execute(
                insert(table).values(
                    key_id=key.key_id,
                    principal=key.principal,
                    secret=key.sealed,
                    token_digest=key.token_digest,
                    certificate=key.certificate,
                    permissions=",".join(names),
                    reads=_text(key.reach.read),
                    writes=_text(key.reach.write),
                    active=key.active,
                    create_time=micros(key.create_time),
                )
            )
            _count(transaction)

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise KeyExistsError from error

    async def disable(self, key_id: str) -> bool:
        """Let a key prove nothing any more; answers whether there is one."""

        def work(transaction: Transaction) -> bool:
            table = schema.access_keys
            changed = transaction.connection.execute(
                update(table).where(table.c.key_id == key_id).values(active=False)
            )
            _count(transaction)
            return changed.rowcount == 1

        return await self._database.write(work)

    async def proof(self) -> bytes | None:
        """What was sealed when this database saw a vault first; None where it saw none."""
        table = schema.properties
        query = select(table.c.value).where(table.c.name == _PROOF)
        return await self._database.read(lambda c: c.execute(query).scalar_one_or_none())

    async def prove(self, vault: Vault) -> None:
        """Hold the vault to the key that this database's secrets were sealed with, which is the
        first one that it saw; raises `VaultError`."""
        kept = await self.proof()
        if kept is None:
            made = vault.seal(_PURPOSE, _PURPOSE)
            put = insert(schema.properties).values(name=_PROOF, value=made)
            await self._database.write(lambda t: t.connection.execute(put) and None)
        else:
            vault.open(_PURPOSE, kept)


def _count(transaction: Transaction) -> None:
    connection, table = transaction.connection, schema.properties
    query = select(table.c.value).where(table.c.name == _VERSION)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        connection.execute(insert(table).values(name=_VERSION, value=b"1"))
        return
    value = str(int(found) + 1).encode()
    connection.execute(update(table).where(table.c.name == _VERSION).values(value=value))


def _entries(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))


def _text(entries: tuple[str, ...] | None) -> str | None:
    return None if entries is None else json.dumps(entries)
