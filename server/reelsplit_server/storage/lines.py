"""Answers of HTTP servers whose heads end: the standard library reads for as long as lines come."""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LONGEST = 2**16


class BoundedResponse(HTTPResponse):
    """An answer of which all that is no body is bounded in time: interim answers, headers, sizes
    of chunks and trailers.

    The time is twice the socket's timeout, which by itself begins anew with every byte.
    """

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        whole: io.BufferedReader = self.fp
        self.fp = _Lines(whole.detach(), sock.gettimeout())


class _Lines(io.BufferedReader):
    """Times what comes between two reads of the body."""

    def __init__(self, raw: io.RawIOBase, timeout: float | None) -> None:
        super().__init__(raw)
        self._most = None if timeout is None else 2 * timeout
        self._since: float | None = None

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line; raises TimeoutError where there is no end of it, or of lines."""
        if self._since is None:
            self._since = time.monotonic()
        most = _LONGEST + 1 if size is None or size < 0 else size
        line = b""
        while len(line) < most and not line.endswith(b"\n"):
            if self._most is not None and time.monotonic() - self._since > self._most:
                raise TimeoutError("the lines of an answer took too long")
            ahead = self.peek(1)[: most - len(line)]
            if not ahead:
                break
            line += super().read(ahead.find(b"\n") + 1 or len(ahead))
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        """Some of the body."""
        self._begin()
        return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        """Some of the body, as it comes."""
        self._begin()
        return super().read1(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Some of the body."""
        self._begin()
        return super().readinto(buffer)

    def _begin(self) -> None:
        self._since = None
