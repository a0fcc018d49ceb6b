"""Access keys: one principal's rights, and the ways to prove that a call comes with them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.access.reach import Reach
from reelsplit_server.access.vault import Vault

_ID = re.compile(r"[A-Za-z0-9._-]{4,64}")
_SECRET = re.compile(r"[!-~]{8,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key as it is kept. ``sealed`` is the signing secret, which opens in the vault; keys of a
    file may have none. ``token_digest`` is the SHA-256 of the bearer token; ``certificate`` is the
    name in the client certificates that stand for it."""

    key_id: str
    principal: str
    permissions: frozenset[Permission]
    reach: Reach
    active: bool
    create_time: datetime
    sealed: bytes | None = field(repr=False)
    token_digest: bytes | None = field(default=None, repr=False)
    certificate: str | None = None

    @property
    def caller(self) -> Caller:
        """Who calls with it."""
        return Caller(
            principal=self.principal,
            permissions=self.permissions,
            reach=self.reach,
            key_id=self.key_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made, with what is shown only now."""

    key: AccessKey
    secret: str = field(repr=False)
    token: str | None = field(repr=False)


class KeyStore(Protocol):
    """Where keys are kept."""

    async def all(self) -> Sequence[AccessKey]:
        """All keys, also those that are disabled."""


class KeyRing:
    """The keys as they were read last. All calls come from one event loop."""

    def __init__(self, store: KeyStore, vault: Vault, *, shut: bool = False) -> None:
        """``shut`` says that callers must show something even while there is no key."""
        self._store = store
        self._vault = vault
        self._shut = shut
        self.version = 0
        """How often the keys were read."""
        self._by_id: dict[str, AccessKey] = {}
        self._by_digest: dict[bytes, AccessKey] = {}
        self._by_certificate: dict[str, AccessKey] = {}

    async def load(self) -> None:
        """Read all keys again."""
        keys = await self._store.all()
        # A file of keys that is emptied does not open the door again.
        self._shut = self._shut or bool(keys)
        self._by_id = {key.key_id: key for key in keys}
        self._by_digest = {k.token_digest: k for k in keys if k.token_digest is not None}
        # Where a certificate has passed from a disabled key to another, the other counts.
        ordered = sorted(keys, key=lambda key: key.active)
        self._by_certificate = {k.certificate: k for k in ordered if k.certificate is not None}
        self.version += 1

    @property
    def empty(self) -> bool:
        """Whether there never was a key; one that is disabled counts."""
        return not self._shut

    @property
    def has_active(self) -> bool:
        """Whether anybody can prove anything."""
        return any(key.active for key in self._by_id.values())

    @property
    def can_sign(self) -> bool:
        """Whether anybody can sign a request."""
        return any(key.active and key.sealed is not None for key in self._by_id.values())

    def find(self, key_id: str) -> AccessKey | None:
        """The key of an id, also where it is disabled: look at ``active``."""
        return self._by_id.get(key_id)

    def secret(self, key: AccessKey) -> str | None:
        """The signing secret of a key that has one; raises `VaultError` where it cannot be
        recovered."""
        return None if key.sealed is None else self._vault.open(_purpose(key.key_id), key.sealed)

    def by_token(self, token: str) -> AccessKey | None:
        """The active key of a bearer token. Found by the token's digest, whose look-up tells
        nothing of the token by its time."""
        key = self._by_digest.get(digest(token))
        return key if key is not None and key.active else None

    def by_certificate(self, names: Iterable[str]) -> AccessKey | None:
        """The active key of a client certificate with these names; None where they stand for more
        than one, since nothing says which is meant."""
        found = {self._by_certificate[n].key_id for n in names if n in self._by_certificate}
        if len(found) != 1:
            return None
        key = self._by_id[found.pop()]
        return key if key.active else None


def make_key(
    vault: Vault,
    *,
    principal: str,
    permissions: frozenset[Permission],
    reach: Reach,
    create_time: datetime,
    key_id: str | None = None,
    secret: str | None = None,
    certificate: str | None = None,
) -> NewKey:
    """A new key, with a secret and a bearer token of its own; ``key_id`` and ``secret`` are given
    where they were made elsewhere. Raises ValueError."""
    key_id = "RS" + secrets.token_hex(11) if key_id is None else key_id
    secret = secrets.token_urlsafe(30) if secret is None else secret
    token = secrets.token_urlsafe(32)
    key = given_key(
        vault,
        key_id=key_id,
        principal=principal,
        permissions=permissions,
        reach=reach,
        create_time=create_time,
        secret=secret,
        token_digest=digest(token),
        certificate=certificate,
    )
    return NewKey(key=key, secret=secret, token=token)


def given_key(
    vault: Vault,
    *,
    key_id: str,
    principal: str,
    permissions: frozenset[Permission],
    reach: Reach,
    create_time: datetime,
    secret: str | None,
    token_digest: bytes | None,
    certificate: str | None,
    active: bool = True,
) -> AccessKey:
    """A key whose proofs exist already. Raises ValueError."""
    if not _ID.fullmatch(key_id):
        raise ValueError("a key's id has 4 to 64 letters, digits, dots, dashes and underscores")
    if not 1 <= len(principal) <= 128 or not principal.isprintable():
        raise ValueError("a principal's name has 1 to 128 printable characters")
    if secret is not None and not _SECRET.fullmatch(secret):
        raise ValueError("a key's secret has 8 to 128 printable ASCII characters without spaces")
    if certificate is not None and not 1 <= len(certificate) <= 255:
        raise ValueError("the name of a certificate has 1 to 255 characters")
    if not permissions:
        raise ValueError("a key without permissions is of no use")
    return AccessKey(
        key_id=key_id,
        principal=principal,
        permissions=permissions,
        reach=reach,
        active=active,
        create_time=create_time,
        sealed=None if secret is None else vault.seal(_purpose(key_id), secret),
        token_digest=token_digest,
        certificate=certificate,
    )


def digest(token: str) -> bytes:
    """What is kept of a bearer token. It is random and long, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def _purpose(key_id: str) -> str:
    # A secret that is moved to another row does not open there.
    return f"access-key:{key_id}"
