"""The server's certificates: read again when their files change."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)
_PAUSE = 1.0
"""Seconds between two looks at the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the server shows, and whom it lets in: PEM bytes."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


class Certificates:
    """The certificate, its key and the authority of clients, as their files hold them.

    Looks at the files when a connection is made. Files that cannot be read or do not fit each
    other change nothing: they may be in the middle of being exchanged. Raises OSError or
    `ssl.SSLError` when it is made from such files. May be used from any thread.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._states = self._look()
        self._identity, self._context = self._read()

    @property
    def asks_clients(self) -> bool:
        """Whether clients must show a certificate."""
        return self._client_ca is not None

    def current(self) -> Identity:
        """What the files hold; the same object as before where they have not changed."""
        self._renew()
        return self._identity

    def context(self) -> ssl.SSLContext:
        """The same for a server of Python's own; follows the files by itself."""
        outer = self._new_context()

        def exchange(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            self._renew()
            connection.context = self._context

        # Called at the beginning of each handshake, before a certificate is shown.
        outer.sni_callback = exchange
        return outer

    def _renew(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._looked < _PAUSE:
                return
            self._looked = now
            try:
                states = self._look()
                if states == self._states:
                    return
                self._identity, self._context = self._read()
            except (OSError, ValueError) as error:
                # Told at each look, as long as it lasts; `ssl.SSLError` is an OSError.
                log.warning("certificates_not_read", error=str(error))
                return
            self._states = states
            log.info("certificates_read", certificate=str(self._certificate))

    def _look(self) -> list[tuple[int, int, int]]:
        """What tells that a file was exchanged or written over."""
        states = [path.stat() for path in self._paths()]
        return [(state.st_mtime_ns, state.st_size, state.st_ino) for state in states]

    def _paths(self) -> list[Path]:
        return [path for path in (self._certificate, self._key, self._client_ca) if path]

    def _read(self) -> tuple[Identity, ssl.SSLContext]:
        # Raises where key and certificate do not fit.
        context = self._new_context()
        identity = Identity(
            certificate=self._certificate.read_bytes(),
            key=self._key.read_bytes(),
            client_ca=self._client_ca.read_bytes() if self._client_ca else None,
        )
        return identity, context

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A password, so that an encrypted key is refused and not asked about at a terminal.
        context.load_cert_chain(self._certificate, self._key, password="")
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        return context
