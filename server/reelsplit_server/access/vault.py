"""Secrets that must be recovered: encrypted under a key that does not lie in the database."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY, _NONCE = 32, 12
_VERSION = b"\x01"
KEY_FILE = "secret.key"
"""The name of the key's file in the data folder."""


class VaultError(Exception):
    """The key cannot be read, or is not the one that a secret was sealed with."""


class Vault:
    """Seals and opens secrets with AES-256-GCM."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, purpose: str, secret: str) -> bytes:
        """A secret as it may be kept; it opens for the same purpose only."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> str:
        """What was sealed for a purpose; raises `VaultError`."""
        if sealed[:1] != _VERSION:
            raise VaultError("a secret was kept by a newer version")
        nonce, data = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, data, purpose.encode()).decode()
        except (InvalidTag, ValueError):
            raise VaultError(
                "a secret of the database was sealed with another key; put back the key's file "
                f"that belongs to this data folder ({KEY_FILE}, or --secret-key-file)"
            ) from None


def open_vault(folder: Path, file: Path | None, *, new: bool) -> Vault:
    """The vault of a data folder, whose key is made where it is ``new``; raises `VaultError`.

    ``file`` is where the operator keeps the key instead: 64 hexadecimal digits.
    """
    path = file or folder / KEY_FILE
    try:
        if file is None and new:
            _make(path)
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise VaultError(
            f"the key of secrets {path} cannot be read: {error.strerror}; put back the file that "
            "belongs to this data folder"
        ) from error
    except ValueError:
        key = b""
    if len(key) != _KEY:
        raise VaultError(
            f"{path} holds no key: write 64 hexadecimal digits, as openssl rand -hex 32 makes them"
        )
    return Vault(key)


def _make(path: Path) -> None:
    """Put a new key there unless there is one; no reader sees half of it."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "w") as made:
            made.write(secrets.token_hex(_KEY) + "\n")
            made.flush()
            os.fsync(made.fileno())
        # Unlike a rename, a link leaves a key alone that another process made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
