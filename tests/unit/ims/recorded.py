"""Requests of the real SDKs, as they were recorded. The key is a test's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

KEY_ID, SECRET = "testAccessKeyId", "testAccessKeySecret"
FOLDER = Path(__file__).parent / "wire"
NAMES = sorted(path.stem for path in FOLDER.glob("*.http"))
SHA1 = [name for name in NAMES if name[:2] in ("15", "20", "21", "30", "32")]
NOW = datetime(2026, 11, 21, 19, 20, 0, tzinfo=UTC)
"""Within some minutes of all of them."""


def raw(name: str) -> bytes:
    """The bytes of a request."""
    return (FOLDER / f"{name}.http").read_bytes()


def split(request: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes]:
    """Method, query, headers and body of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *rest = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    headers = [tuple(header.split(b": ", 1)) for header in rest]
    return method.decode(), target.partition(b"?")[2], headers, body  # type: ignore[return-value]
