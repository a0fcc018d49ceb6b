"""All that proves who is calling, as a running server holds it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from reelsplit_server.access.key_file import AllKeys, KeyFile
from reelsplit_server.access.key_store import KeyTable
from reelsplit_server.access.keys import KeyRing
from reelsplit_server.access.nonces import Nonces
from reelsplit_server.access.vault import Vault, open_vault
from reelsplit_server.jobs.database import Database, StoreUnavailableError

log = structlog.get_logger(__name__)
_LOOK = 1.0
_SWEEP = 60.0


async def vault_of(database: Database, folder: Path, key_file: Path | None) -> Vault:
    """The vault of a database; raises `VaultError` where its key is lost, or another's."""
    table = KeyTable(database)
    new = await table.proof() is None
    vault = await asyncio.to_thread(open_vault, folder, key_file, new=new)
    await table.prove(vault)
    return vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The keys, the nonces, and the vault that secrets lie in."""

    vault: Vault
    keys: KeyRing
    nonces: Nonces
    table: KeyTable
    file: KeyFile | None

    @classmethod
    async def open(
        cls,
        database: Database,
        folder: Path,
        *,
        key_file: Path | None,
        keys_file: Path | None,
        most_nonces: int,
    ) -> Credentials:
        """Read all of it; raises `VaultError` where the key of secrets is not there, and
        `KeyFileError`. ``key_file`` holds the key of secrets, ``keys_file`` access keys."""
        table, vault = KeyTable(database), await vault_of(database, folder, key_file)
        file = None if keys_file is None else await asyncio.to_thread(KeyFile, keys_file, vault)
        keys = KeyRing(AllKeys(table, file), vault, shut=file is not None)
        nonces = Nonces(database, most_nonces)
        await keys.load()
        await nonces.load(datetime.now(UTC))
        return cls(vault=vault, keys=keys, nonces=nonces, table=table, file=file)

    async def follow(self) -> None:
        """Read the keys again when another process or the operator has changed them, and forget
        old nonces. Never ends by itself."""
        version, renewed, swept = b"", False, 0.0
        while True:
            try:
                found = await self.table.version()
                if self.file is not None and await asyncio.to_thread(self.file.renew):
                    renewed = True
                if renewed or found != version:
                    await self.keys.load()
                    renewed = False
                    log.info("access_keys_read", active=self.keys.has_active)
                    version = found
                swept -= _LOOK
                if swept <= 0:
                    await self.nonces.sweep(datetime.now(UTC))
                    swept = _SWEEP
            except StoreUnavailableError:
                pass
            except Exception:
                # Nothing may end this loop: keys that are disabled would go on.
                log.exception("access_keys_not_read")
            await asyncio.sleep(_LOOK)
