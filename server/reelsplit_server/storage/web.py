"""Sources behind URLs that callers name: guarded on every hop, read in ranges or spooled."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import punctuation
from typing import BinaryIO, NoReturn, TypeVar
from urllib.parse import quote, urldefrag, urljoin, urlsplit

from reelsplit_server.access.outbound import Outbound, OutboundError
from reelsplit_server.storage.errors import StorageError, changed
from reelsplit_server.storage.grants import ObjectGrant, Pin, Request, WebGrant
from reelsplit_server.storage.http import Http, Repeats, Response, WireError
from reelsplit_server.storage.location import Location, LocationError, parse
from reelsplit_server.storage.ranges import RangeReader
from reelsplit_server.storage.spool import Spool

T = TypeVar("T")

_BUFFER = 2**16
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_FIRST_BYTE = re.compile(r"bytes 0-0/(\d{1,18})", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_REMEDIES = {
    "hosts": "; its operator allows hosts with --http-hosts",
    "networks": "; its operator allows networks with --allow-networks",
    None: "",
}


def open_web(grant: WebGrant) -> tuple[BinaryIO, Pin]:
    """Open what a caller's URL leads to, for reading and seeking, and say in which state it is.

    Raises `StorageError` with ``SOURCE_…`` or ``DISK_FULL``: ``SOURCE_FORBIDDEN`` where the URL or
    a redirect leads to a host or address that is not allowed, ``SOURCE_TOO_LARGE`` where a server
    without ranges sends more than is spooled, ``SOURCE_CHANGED`` where ``grant.pin`` differs.
    """
    spool = Spool(Path(grant.folder), grant.request.url, grant.label)
    if grant.pin is not None and (file := spool.find(grant.pin)) is not None:
        return file, grant.pin
    return _Web(grant, spool).open()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a server says of a file. Without ``ranges`` it sends the whole file or nothing;
    ``size`` in bytes is then None where it did not tell."""

    request: Request
    size: int | None
    tag: str
    expected: Mapping[str, str]
    ranges: bool


class _Web:
    """One web source."""

    def __init__(self, grant: WebGrant, spool: Spool) -> None:
        self._grant = grant
        self._spool = spool
        self._guard = Outbound(hosts=grant.web.hosts, networks=grant.web.networks)
        self._http = Http(grant.wire, self._connect)
        self._moved = False
        """Whether it was a redirect that named the host that is asked."""

    def open(self) -> tuple[BinaryIO, Pin]:
        """See `open_web`."""
        reader: RangeReader | None = None
        try:
            found = self._repeated(self._find)
            if not found.ranges:
                return self._spooled(found)
            granted = self._granted(found)
            reader = RangeReader(granted, self._renew, self._http)
            return io.BufferedReader(reader, _BUFFER), granted.pin
        finally:
            if reader is None:
                self._http.close()

    def _find(self) -> _Found:
        """Ask for the first byte, which tells all that is to be known."""
        with self._answer({"Range": "bytes=0-0"}) as (request, response):
            found = self._judge(request, response)
            if found.ranges:
                # To its end, so that the connection serves the next request too.
                response.text()
            return found

    def _renew(self) -> ObjectGrant:
        """Go the way from the caller's URL again: signatures that it leads to run out."""
        found = self._repeated(self._find)
        if not found.ranges:
            self._fail("its server does not send parts of it any more")
        return self._granted(found)

    def _granted(self, found: _Found) -> ObjectGrant:
        assert found.size is not None
        return ObjectGrant(
            label=self._grant.label,
            request=found.request,
            wire=self._grant.wire,
            pin=self._pinned(Pin(size=found.size, tag=found.tag)),
            expected=found.expected,
            folder=self._grant.folder,
        )

    def _spooled(self, found: _Found) -> tuple[BinaryIO, Pin]:
        self._bound(found.size)
        pin = self._grant.pin
        if found.size is not None:
            pin = self._pinned(Pin(size=found.size, tag=found.tag))
        with self._spool.locked():
            # Another unit may have fetched it while this one waited.
            if pin is not None and (file := self._spool.find(pin)) is not None:
                return file, pin
            return self._repeated(self._fetch)

    def _fetch(self) -> tuple[BinaryIO, Pin]:
        most = self._grant.web.most_spool
        with self._answer({}) as (request, response):
            found = self._judge(request, response)
            if response.status != 200:
                self._fail(f"its server answered with the status {response.status}")
            self._bound(found.size)
            with self._spool.draft() as draft:
                for data in response.stream(most + 1):
                    draft.write(data)
                self._bound(draft.size)
                pin = self._pinned(Pin(size=draft.size, tag=found.tag))
                return draft.keep(pin), pin

    @contextmanager
    def _answer(self, extra: Mapping[str, str]) -> Iterator[tuple[Request, Response]]:
        """The answer at the end of all redirects, and the request that got it."""
        self._moved = False
        request = self._grant.request
        request = Request(url=self._checked(request.url, "leads"), headers=request.headers)
        for _ in range(_MOST_REDIRECTS + 1):
            headers = {**request.headers, **extra}
            with self._http.request("GET", request.url, headers) as response:
                response.check()
                if response.status not in _REDIRECTS:
                    yield request, response
                    return
                request = self._redirected(request, response)
        self._fail(f"its server redirects more than {_MOST_REDIRECTS} times")

    def _redirected(self, request: Request, response: Response) -> Request:
        """Where a redirect leads; what the caller has signed is not for another host."""
        self._moved = True
        to = response.headers.get("location", "")
        if not to:
            self._fail("its server redirects without saying where to")
        with suppress(UnicodeError):
            # As bytes these are mostly UTF-8, whatever they were read as.
            to = to.encode("latin-1").decode()
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in to):
            # The standard library would drop some of them on the way.
            self._forbid("it redirects to an address with characters that must be escaped")
        try:
            to = urldefrag(urljoin(request.url, to.replace(" ", "%20"))).url
        except ValueError:
            self._forbid("it redirects to an address that cannot be read")
        url = self._checked(to, "redirects")
        old, new = urlsplit(request.url), urlsplit(url)
        if old.scheme == "https" and new.scheme == "http":
            self._forbid("it redirects from https: to http:, where anybody could exchange it")
        return Request(url=url, headers=request.headers if old.netloc == new.netloc else {})

    def _checked(self, text: str, verb: str) -> str:
        """A URL in its one form, of which everything was checked but where its name leads."""
        try:
            place: Location = parse(text)
        except LocationError as error:
            self._forbid(f"it {verb} to an address that {error}")
        if not place.scheme.is_web:
            self._forbid(f"it {verb} to a {place.scheme}: address")
        # Servers are asked in ASCII; all that is ASCII stays as it was signed.
        url = quote(place.url, safe=punctuation)
        try:
            self._guard.check_url(url)
        except OutboundError as error:
            self._refuse(error)
        return url

    def _connect(self, host: str, port: int, timeout: float) -> socket.socket:
        try:
            return self._guard.connect(host, port, timeout)
        except OutboundError as error:
            self._refuse(error)

    def _judge(self, request: Request, response: Response) -> _Found:
        """What an answer says of the file, or the error that it is."""
        status, headers = response.status, response.headers
        label, uri = self._grant.label, {"uri": self._grant.label}
        if status in (401, 403):
            raise StorageError(
                "SOURCE_FORBIDDEN",
                f"The server of {label} refuses to send it, with the status {status}. Check the "
                "URL; if it is signed, its time may have run out.",
                uri,
            )
        if status in (404, 410):
            raise StorageError("SOURCE_NOT_FOUND", f"There is no file at {label}.", uri)
        if status not in (200, 206, 416):
            self._fail(
                f"its server answered with the status {status}",
                transient=status >= 500 or status in _LATER,
            )
        coding = headers.get("content-encoding", "identity").lower()
        if coding not in ("", "identity"):
            self._fail(f"its server sends it compressed ({coding[:40]}), though asked not to")
        tag, date = headers.get("etag", ""), headers.get("last-modified", "")
        expected = {"etag": tag} if tag else {}
        if date and not tag.startswith('"'):
            # A weak tag may stay while bytes change.
            tag, expected = date, {"last-modified": date}
        whole = _FIRST_BYTE.fullmatch(headers.get("content-range", ""))
        if status == 206 and whole:
            return _Found(
                request=request, size=int(whole[1]), tag=tag, expected=expected, ranges=True
            )
        length = _LENGTH.fullmatch(headers.get("content-length", ""))
        size = int(length[0]) if status == 200 and length else None
        return _Found(request=request, size=size, tag=tag, expected=expected, ranges=False)

    def _pinned(self, pin: Pin) -> Pin:
        """The pin, if it is the one that the job works on."""
        if self._grant.pin not in (None, pin):
            raise changed(self._grant.label)
        return pin

    def _bound(self, size: int | None) -> None:
        most = self._grant.web.most_spool
        if size is not None and size > most:
            raise StorageError(
                "SOURCE_TOO_LARGE",
                f"The server of {self._grant.label} cannot send parts of it, and the whole is "
                f"larger than the {most:,} bytes that this server keeps of such a file. Put it on "
                "a server that answers range requests.",
                {"limit": str(most), "value": str(size)},
            )

    def _repeated(self, attempt: Callable[[], T]) -> T:
        repeats = Repeats(self._grant.wire)
        while True:
            try:
                return attempt()
            except WireError as failure:
                try:
                    repeats.wait(failure)
                except WireError as error:
                    self._fail(str(error), transient=error.hopeful)

    def _refuse(self, error: OutboundError) -> NoReturn:
        host = error.host
        if self._moved:
            first = host.partition(":")[0]
            address = host.count(":") > 1 or first.rpartition(".")[2].isdigit()
            # Addresses that only a redirect told are not passed on.
            host = f"it redirects to {'an address' if address else host}, which"
        self._forbid(f"{host} {error.why}{_REMEDIES[error.remedy]}")

    def _forbid(self, why: str) -> NoReturn:
        label = self._grant.label
        raise StorageError(
            "SOURCE_FORBIDDEN", f"This server may not read {label}: {why}.", {"uri": label}
        )

    def _fail(self, why: str, *, transient: bool = False) -> NoReturn:
        label = self._grant.label
        raise StorageError(
            "SOURCE_UNAVAILABLE",
            f"The source {label} could not be read: {why}.",
            {"uri": label},
            transient=transient,
        )
