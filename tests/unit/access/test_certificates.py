"""Certificates for servers of Python's own: followed while they serve."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from reelsplit_server.access.certificates import Certificates
from tests.server import wait_for


def _write(folder: Path, authority: trustme.CA) -> tuple[Path, Path, Path]:
    made = authority.issue_cert("localhost")
    paths = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    made.private_key_pem.write_to_path(paths[1])
    paths[0].write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    authority.cert_pem.write_to_path(paths[2])
    return paths


@contextmanager
def _serving(context: ssl.SSLContext) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            raw.settimeout(10)
            try:
                with context.wrap_socket(raw, server_side=True) as secure:
                    secure.sendall(b"hello")
            except OSError:
                raw.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _answers(
    port: int, trusted: trustme.CA, own: trustme.LeafCert | None, name: str | None
) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    trusted.configure_trust(context)
    if own is not None:
        own.configure_cert(context)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, server_hostname=name) as secure,
        ):
            return secure.recv(5) == b"hello"
    except OSError:
        return False


# A client without a server's name, as one that is given an address, must see the new ones too.
@pytest.mark.parametrize("name", ["localhost", None])
def test_a_server_shows_and_asks_for_what_the_files_hold_now(
    name: str | None, tmp_path: Path
) -> None:
    old, new = trustme.CA(), trustme.CA()
    certificates = Certificates(*_write(tmp_path, old))
    assert certificates.asks_clients
    first, second = old.issue_cert("client"), new.issue_cert("client")
    with _serving(certificates.context()) as port:
        assert _answers(port, old, first, name)
        assert not _answers(port, old, None, name)
        assert not _answers(port, old, second, name)
        _write(tmp_path, new)
        wait_for(lambda: _answers(port, new, second, name), 30)
        assert not _answers(port, new, first, name)
        assert not _answers(port, new, None, name)
        (tmp_path / "key.pem").unlink()
        assert _answers(port, new, second, name)


@pytest.mark.parametrize("broken", ["missing", "rubbish", "other"])
def test_files_that_cannot_be_used_are_refused(broken: str, tmp_path: Path) -> None:
    paths = _write(tmp_path, trustme.CA())
    match broken:
        case "missing":
            paths[1].unlink()
        case "rubbish":
            paths[1].write_text("rubbish")
        case _:
            trustme.CA().issue_cert("x").private_key_pem.write_to_path(paths[1])
    with pytest.raises(OSError, match=r"No such file|PEM|mismatch|values"):
        Certificates(*paths)


def test_what_has_not_changed_is_the_same(tmp_path: Path) -> None:
    certificates = Certificates(*_write(tmp_path, trustme.CA()))
    assert certificates.current() is certificates.current()
    assert b"PRIVATE" not in repr(certificates.current()).encode()
