"""Fetching ranges of one object, each answer checked before a byte of it is believed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from reelsplit_server.storage.errors import StorageError, changed
from reelsplit_server.storage.extents import Extent
from reelsplit_server.storage.grants import ObjectGrant
from reelsplit_server.storage.http import Http, Repeats, Response, WireError

# Large ones are not copied, small ones are put together.
_LEAST_PIECE, _MOST_PIECE = 2**17, 2**20
_MOVED = 2**14
"""The bytes that count as progress: a server that sends a few before each failure is failing."""
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_EXPIRED = (400, 401, 403)


class GaveUpError(Exception):
    """A fetch that was to be tried once has failed; what came before it has been delivered."""


class Fetcher:
    """Fetches ranges of what a grant names. For several threads, but ``renew``, which answers a
    new grant when the old one has run out, is only called by patient fetches."""

    def __init__(
        self, grant: ObjectGrant, http: Http, renew: Callable[[], ObjectGrant] | None
    ) -> None:
        self._grant = grant
        self._http = http
        self._renew = renew
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self.fetched = 0
        """The bytes that came."""

    def fetch(
        self, start: int, stop: int, deliver: Callable[[Extent], None], *, patient: bool
    ) -> None:
        """Deliver the bytes from ``start`` to ``stop`` as they come, in order, without gaps.

        A patient fetch repeats what may help, and raises `StorageError` in the end; another one
        raises `GaveUpError` at once.
        """
        repeats = Repeats(self._grant.wire, self._stop)
        renewed, moved = self._renew is None, 0

        def came(extent: Extent) -> None:
            nonlocal start, moved
            deliver(extent)
            start = extent.stop
            moved += extent.stop - extent.start

        while start < stop:
            grant = self._grant
            bytes_wanted = f"bytes={start}-{stop - 1}"
            headers = {**grant.request.headers, "Range": bytes_wanted}
            try:
                with self._http.request("GET", grant.request.url, headers) as answer:
                    answer.check()
                    if answer.status not in _EXPIRED or (renewed and patient):
                        check_answer(answer, grant, start, stop)
                        self._receive(answer, start, stop, came)
                        continue
            except WireError as error:
                if not patient:
                    raise GaveUpError from error
                if moved >= _MOVED:
                    repeats.progress()
                    moved = 0
                try:
                    repeats.wait(error)
                except WireError:
                    raise _unavailable(
                        grant, f"{error}. Retry the job later", transient=error.hopeful
                    ) from error
                continue
            if not patient:
                raise GaveUpError
            assert self._renew is not None
            renewed = True
            self._grant = self._renew()
            if self._grant.pin != grant.pin:
                raise changed(grant.label)

    def close(self) -> None:
        """End what is under way."""
        self._stop.set()
        self._http.close()

    def _receive(
        self, answer: Response, start: int, stop: int, came: Callable[[Extent], None]
    ) -> None:
        pieces: list[bytes] = []
        size = 0
        try:
            while start + size < stop:
                data = answer.read(min(_MOST_PIECE, stop - start - size))
                if not data:
                    raise WireError("the answer ended early", hopeful=True)
                with self._counting:
                    self.fetched += len(data)
                pieces.append(data)
                size += len(data)
                if size >= _LEAST_PIECE:
                    ready, pieces, size = _extent(start, pieces), [], 0
                    start = ready.stop
                    came(ready)
        finally:
            # What came before a failure need not come again.
            if pieces:
                came(_extent(start, pieces))


def _extent(start: int, pieces: list[bytes]) -> Extent:
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return Extent(start, start + len(data), memoryview(data))


def check_answer(answer: Response, grant: ObjectGrant, start: int, stop: int) -> None:
    """Check that an answer holds exactly the bytes from ``start`` to ``stop`` of the object in
    its pinned state; raises `StorageError`."""
    if answer.status in (404, 410, 412):
        raise changed(grant.label)
    if answer.status in (401, 403):
        raise StorageError(
            "SOURCE_FORBIDDEN",
            f"Reading {grant.label} was refused with the status {answer.status}. Give the server's "
            "credentials the permission to read it, then retry the job.",
            {"uri": grant.label},
        )
    if answer.status == 416:
        # Nothing is asked for behind the pinned end.
        if answer.headers.get("content-range") == f"bytes */{grant.pin.size}":
            raise _unavailable(grant, "the server refuses ranges that lie within it")
        raise changed(grant.label)
    if answer.status not in (200, 206):
        raise _unavailable(grant, f"the server answered with the status {answer.status}")
    if any(answer.headers.get(name) != value for name, value in grant.expected.items()):
        raise changed(grant.label)
    # Some dialects of S3 send ranges with the status 200.
    if answer.status == 200 and "content-range" not in answer.headers:
        if answer.headers.get("content-length", str(grant.pin.size)) != str(grant.pin.size):
            raise changed(grant.label)
        raise _unavailable(
            grant, "the server ignores ranges, and answers with the whole object instead"
        )
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise _unavailable(grant, "the server compresses it, though it was asked not to")
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if not found:
        raise _unavailable(grant, "the server does not say which range it sends")
    first, last, size = (int(number) for number in found.groups())
    if size != grant.pin.size:
        raise changed(grant.label)
    if (first, last) != (start, stop - 1):
        raise _unavailable(grant, "the server sends another range than the one asked for")
    if answer.headers.get("content-length", str(stop - start)) != str(stop - start):
        raise _unavailable(grant, "the server sends another length than that of its range")


def _unavailable(grant: ObjectGrant, why: str, *, transient: bool = False) -> StorageError:
    return StorageError(
        "SOURCE_UNAVAILABLE",
        f"Reading {grant.label} failed: {why}.",
        {"uri": grant.label},
        transient=transient,
    )
