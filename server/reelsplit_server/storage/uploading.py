"""Uploading a finished file, in parts or to a session; the server then makes it appear."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

from reelsplit_server.storage.errors import StorageError, exists
from reelsplit_server.storage.grants import Part, PartsUpload, Request, SessionUpload
from reelsplit_server.storage.http import Http, Repeats, Response, WireError
from reelsplit_server.storage.pulse import beat
from reelsplit_server.storage.s3_codes import EXPIRED

Sign = Callable[[Sequence[Part]], Sequence[Request]]
"""Answers the requests of some parts, in their order."""

_PARALLEL = 3
_BATCH = 16
_BLOCK = 2**20
_CODE = re.compile(r"<Code>(\w{1,64})</Code>", re.ASCII)
_HAVE = re.compile(r"(?:bytes=)?0-(\d{1,19})", re.ASCII)
# Statuses of 400 that are about the way, and not about what was sent.
_ON_THE_WAY = {"RequestTimeout", "BadDigest", "IncompleteBody"}


class _ExpiredError(Exception):
    """A signed request was refused, perhaps since it has run out; if not, with ``refusal``."""

    def __init__(self, refusal: StorageError) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class _Slice:
    """A stretch of an open file, as a body that is read from its begin."""

    def __init__(self, file: int, start: int, size: int) -> None:
        self._file = file
        self._position, self._stop = start, start + size

    def read(self, size: int) -> bytes:
        """The next bytes."""
        beat()
        data = os.pread(self._file, min(size, self._stop - self._position), self._position)
        self._position += len(data)
        return data


def upload(file: Path, grant: PartsUpload | SessionUpload, sign: Sign, label: str) -> list[str]:
    """Upload a file; answers the entity tags of its parts in order, none of a session.

    Raises `StorageError` with ``OUTPUT_…``, and what ``sign`` raises, which is called by the
    calling thread only.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with closing(Http(grant.wire)) as http:
            if isinstance(grant, SessionUpload):
                _Session(descriptor, grant, http, label).run()
                return []
            return _Parts(descriptor, grant, http, label).run(sign)
    finally:
        os.close(descriptor)


class _Parts:
    """The upload of a file in parts, some at a time."""

    def __init__(self, file: int, grant: PartsUpload, http: Http, label: str) -> None:
        self._file = file
        self._grant = grant
        self._http = http
        self._label = label
        self._stop = threading.Event()

    def run(self, sign: Sign) -> list[str]:
        parts = self._measure()
        etags: dict[int, str] = {}
        expired: list[Part] = []
        again: set[int] = set()
        signed: deque[tuple[Part, Request]] = deque()
        under_way: dict[Future[str], Part] = {}
        with ThreadPoolExecutor(_PARALLEL, "upload") as pool:
            try:
                while True:
                    if not signed:
                        batch, expired = expired, []
                        while len(batch) < _BATCH and (part := next(parts, None)):
                            batch.append(part)
                        if batch:
                            signed.extend(zip(batch, sign(batch), strict=True))
                    # No more than what is sent: a request that waits runs out meanwhile.
                    while signed and len(under_way) < _PARALLEL:
                        part, request = signed.popleft()
                        under_way[pool.submit(self._put, part, request)] = part
                    if not under_way:
                        break
                    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                        part = under_way.pop(future)
                        try:
                            etags[part.number] = future.result()
                        except _ExpiredError as error:
                            if part.number in again:
                                raise error.refusal from None
                            again.add(part.number)
                            expired.append(part)
            except BaseException:
                # Ends what is under way, so that the pool can.
                self._stop.set()
                self._http.close()
                raise
        return [etags[number] for number in sorted(etags)]

    def _measure(self) -> Iterator[Part]:
        """The parts, each with its checksum; a file without bytes has one."""
        size, step = os.fstat(self._file).st_size, self._grant.part_size
        for number, start in enumerate(range(0, max(size, 1), step), 1):
            length = min(step, size - start)
            digest = hashlib.md5(usedforsecurity=False)
            body = _Slice(self._file, start, length)
            while data := body.read(_BLOCK):
                digest.update(data)
            md5 = base64.b64encode(digest.digest()).decode()
            yield Part(number=number, size=length, md5=md5)

    def _put(self, part: Part, request: Request) -> str:
        """Send one part; answers its entity tag."""
        repeats = Repeats(self._grant.wire, self._stop)
        headers = {**request.headers, "Content-Length": str(part.size)}
        while True:
            body = _Slice(self._file, (part.number - 1) * self._grant.part_size, part.size)
            try:
                with self._http.request("PUT", request.url, headers, body) as answer:
                    return self._etag(answer)
            except WireError as error:
                _pause(repeats, error, self._label)

    def _etag(self, answer: Response) -> str:
        answer.check()
        text = answer.text()
        if answer.status in (200, 201, 204):
            etag = answer.headers.get("etag")
            if not etag:
                raise _unavailable(self._label, "the store did not say what it received")
            return etag
        found = _CODE.search(text)
        code = found[1] if found else ""
        if answer.status == 400 and code in _ON_THE_WAY:
            raise WireError(f"a part arrived broken ({code})", hopeful=True)
        refusal = _refusal(self._label, answer.status, code)
        if answer.status in (400, 401, 403):
            raise _ExpiredError(refusal)
        raise refusal


class _Session:
    """The upload of a file to a resumable session: the store says how far it is."""

    def __init__(self, file: int, grant: SessionUpload, http: Http, label: str) -> None:
        self._file = file
        self._grant = grant
        self._http = http
        self._label = label
        self._size = os.fstat(file).st_size

    def run(self) -> None:
        repeats = Repeats(self._grant.wire)
        have: int | None = 0
        known = True
        while have is not None:
            try:
                before = have
                have = self._send(have) if known else self._ask()
                if known and have is not None and have <= before:
                    raise WireError("the store did not take what was sent", hopeful=True)
                known = True
                if have is None or have > before:
                    repeats.progress()
            except WireError as error:
                known = False
                _pause(repeats, error, self._label)

    def _send(self, start: int) -> int | None:
        """Send the chunk from ``start`` on; answers how much the store has, None when all is
        there."""
        size = min(self._grant.chunk_size, self._size - start)
        span = f"{start}-{start + size - 1}" if size else "*"
        return self._put(f"bytes {span}/{self._size}", _Slice(self._file, start, size), size)

    def _ask(self) -> int | None:
        """Ask how much the store has."""
        return self._put(f"bytes */{self._size}", _Slice(self._file, 0, 0), 0)

    def _put(self, content_range: str, body: _Slice, size: int) -> int | None:
        session = self._grant.session
        headers = {
            **session.headers,
            "Content-Range": content_range,
            "Content-Length": str(size),
        }
        with self._http.request("PUT", session.url, headers, body) as answer:
            answer.check()
            answer.text()
            if answer.status in (200, 201):
                return None
            if answer.status == 308:
                found = _HAVE.fullmatch(answer.headers.get("range", ""))
                have = int(found[1]) + 1 if found else 0
                if have > self._size:
                    raise _unavailable(self._label, "the store has more bytes than were sent")
                return have
            raise _refusal(self._label, answer.status, "")


def _pause(repeats: Repeats, error: WireError, label: str) -> None:
    """Pause before another try; raises `StorageError` where that is of no use."""
    try:
        repeats.wait(error)
    except WireError:
        raise _unavailable(
            label, f"{error}. Retry the job later", transient=error.hopeful
        ) from error


def _refusal(label: str, status: int, code: str) -> StorageError:
    """What a store's refusal means."""
    told = f"{status} {code}".strip()
    if status == 412:
        return exists(label)
    if code in EXPIRED:
        return StorageError(
            "OUTPUT_FORBIDDEN",
            f"Writing {label} was refused ({told}): the server's credentials have expired. Its "
            "operator renews them; then retry the job.",
            {"uri": label},
        )
    if status in (401, 403):
        return StorageError(
            "OUTPUT_FORBIDDEN",
            f"Writing {label} was refused with the status {told}. Give the server's credentials "
            "the permission to write there, then retry the job.",
            {"uri": label},
        )
    # An upload that is gone can be begun anew.
    gone = status in (404, 409, 410)
    return _unavailable(label, f"the store answered with the status {told}", transient=gone)


def _unavailable(label: str, why: str, *, transient: bool = False) -> StorageError:
    return StorageError(
        "OUTPUT_UNAVAILABLE",
        f"Writing {label} failed: {why}.",
        {"uri": label},
        transient=transient,
    )
