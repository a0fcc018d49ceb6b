"""Access keys that the operator writes into a file, beside those of the database."""

from __future__ import annotations

import os
import re
import stat
import threading
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from reelsplit_server.access.keys import AccessKey, KeyStore, given_key
from reelsplit_server.access.permissions import ORDINARY, read_permissions
from reelsplit_server.access.reach import Reach, read_entry
from reelsplit_server.access.vault import Vault

log = structlog.get_logger(__name__)
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_TEXTS = ("id", "principal", "secret", "token_sha256", "certificate")
_LISTS = ("permissions", "read", "write")
_MEMBERS = (*_TEXTS, *_LISTS, "disabled")

State = tuple[int, ...]


class KeyFileError(Exception):
    """The file cannot be used; the text says why, and holds nothing of its secrets."""


class KeyFile:
    """The keys of a TOML file, each a table ``[[keys]]``.

    Secrets are sealed as they are read, so that the process holds them as it holds those of the
    database. May be used from any thread.
    """

    def __init__(self, path: Path, vault: Vault) -> None:
        """Read the file; raises `KeyFileError`."""
        self._path = path
        self._vault = vault
        self._lock = threading.Lock()
        self._told: str | None = None
        self._state, self._keys = self._read()
        self._seen = self._state

    @property
    def keys(self) -> Sequence[AccessKey]:
        """What the file held when it could be read last."""
        return self._keys

    def renew(self) -> bool:
        """Read the file again where it has changed; answers whether the keys did.

        A change is taken when two looks in a row have found it the same: the begin of a file that
        is being written may be a whole file, too, in which a key has lost what narrows it. One
        that cannot be used changes nothing, for the same reason.
        """
        with self._lock:
            try:
                seen, self._seen = self._seen, _state(self._path.stat())
                if self._seen == self._state:
                    self._told = None
                    return False
                if self._seen != seen:
                    return False
                state, keys = self._read()
                if state != seen:
                    return False
                self._state, self._keys = state, keys
            except (KeyFileError, OSError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                if why != self._told:
                    log.warning("keys_file_not_read", path=str(self._path), error=why)
                    self._told = why
                return False
            self._told = None
            return True

    def _read(self) -> tuple[State, list[AccessKey]]:
        try:
            with self._path.open("rb") as file:
                # Of what was opened, whatever the name leads to by now.
                found = os.fstat(file.fileno())
                _check_owner(found)
                data = tomllib.load(file)
                if _state(os.fstat(file.fileno())) != _state(found):
                    raise KeyFileError("it is being written")
        except OSError as error:
            raise KeyFileError(f"it cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise KeyFileError("it is not UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise KeyFileError(f"it is not TOML: {error}") from None
        if unknown := set(data) - {"keys"}:
            raise KeyFileError(f"it holds {min(unknown)!r}, and takes only tables [[keys]]")
        entries = data.get("keys", [])
        if not isinstance(entries, list) or not all(isinstance(item, dict) for item in entries):
            raise KeyFileError("its keys are no tables; write [[keys]] above each")
        made = datetime.fromtimestamp(found.st_mtime, UTC).replace(microsecond=0)
        keys = [self._key(place, item, made) for place, item in enumerate(entries, 1)]
        for name in ("key_id", "token_digest", "certificate"):
            values = [value for key in keys if (value := getattr(key, name)) is not None]
            if len(set(values)) != len(values):
                raise KeyFileError(f"two keys have the same {_MEMBER_OF[name]}")
        return _state(found), keys

    def _key(self, place: int, item: dict[str, Any], made: datetime) -> AccessKey:
        # By its number, since its id may be what is wrong with it.
        at = f"key {place}"
        # A misspelt "permissions" would otherwise give all of them.
        if unknown := set(item) - set(_MEMBERS):
            known = ", ".join(_MEMBERS)
            raise KeyFileError(f"{at} has {min(unknown)!r}, which is none of {known}")
        for name in _TEXTS:
            if not isinstance(item.get(name, ""), str):
                raise KeyFileError(f"{at}: {name} is no text")
        for name in _LISTS:
            texts = item.get(name, [])
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise KeyFileError(f"{at}: {name} is no list of texts")
        if not isinstance(item.get("disabled", False), bool):
            raise KeyFileError(f"{at}: disabled is neither true nor false")
        for name in ("id", "principal"):
            if name not in item:
                raise KeyFileError(f"{at} lacks {name}")
        if not {"secret", "token_sha256", "certificate"} & set(item):
            raise KeyFileError(f"{at} proves nothing: give secret, token_sha256 or certificate")
        shown = item.get("token_sha256")
        if shown is not None and not _DIGEST.fullmatch(shown):
            raise KeyFileError(f"{at}: token_sha256 is not 64 hexadecimal digits")
        try:
            return given_key(
                self._vault,
                key_id=item["id"],
                principal=item["principal"],
                permissions=read_permissions(item.get("permissions", ORDINARY)),
                reach=Reach(read=_entries(item, "read"), write=_entries(item, "write")),
                create_time=made,
                secret=item.get("secret"),
                token_digest=None if shown is None else bytes.fromhex(shown),
                certificate=item.get("certificate"),
                active=not item.get("disabled", False),
            )
        except ValueError as error:
            raise KeyFileError(f"{at}: {error}") from None


_MEMBER_OF = {"key_id": "id", "token_digest": "token_sha256", "certificate": "certificate"}


class AllKeys:
    """The keys of the database, and those of a file beside them.

    A key of the file with the id or a proof of one in the database counts for nothing: one that
    was disabled there would come back, or stand for somebody else. Only a certificate passes on
    from a key that is disabled.
    """

    def __init__(self, table: KeyStore, file: KeyFile | None) -> None:
        self._table = table
        self._file = file
        self._clashing: frozenset[str] = frozenset()

    async def all(self) -> Sequence[AccessKey]:
        """All keys, the database's first."""
        kept = await self._table.all()
        if self._file is None:
            return kept
        taken = {proof for key in kept for proof in _proofs(key, certificate=key.active)}
        given = [k for k in self._file.keys if taken.isdisjoint(_proofs(k, certificate=True))]
        clashing = frozenset(key.key_id for key in self._file.keys) - {key.key_id for key in given}
        if clashing - self._clashing:
            log.warning("keys_of_file_left_out", key_ids=sorted(clashing))
        self._clashing = clashing
        return [*kept, *given]


def _proofs(key: AccessKey, *, certificate: bool) -> list[tuple[str, str | bytes]]:
    found: list[tuple[str, str | bytes]] = [("id", key.key_id)]
    if key.token_digest is not None:
        found.append(("token", key.token_digest))
    if certificate and key.certificate is not None:
        found.append(("certificate", key.certificate))
    return found


def _entries(item: dict[str, Any], name: str) -> tuple[str, ...] | None:
    return tuple(read_entry(text) for text in item[name]) if name in item else None


def _check_owner(found: os.stat_result) -> None:
    """Refuse what others may read or change; a group may read."""
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError("it is no file")
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise KeyFileError(
            f"it may be read or changed by others (mode {stat.S_IMODE(found.st_mode):03o}); "
            "chmod 600 it, and make new keys if it ever lay open"
        )
    if found.st_uid not in (0, os.geteuid()):
        raise KeyFileError("it belongs to another user, neither the server's nor root")


def _state(found: os.stat_result) -> State:
    """What tells that a file was exchanged, written over, or given other rights."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
