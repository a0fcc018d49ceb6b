"""What a worker is given for one unit, and what it asks for meanwhile: plain data.

A grant names one object and how to get at it. No credentials are in it, only URLs that a server
has signed for a while, and the headers that belong to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that may be made: what is signed in the headers must be sent."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The state of a source that a whole job works on. ``tag`` is an entity tag with its quotes,
    a GCS generation, a web file's date, or a local file's inode and time; ``size`` is in bytes.
    """

    size: int
    tag: str
    version: str = ""

    @property
    def text(self) -> str:
        """The pin as the job keeps it."""
        return _PIN.dump_json(self).decode()

    @classmethod
    def of(cls, text: str | None) -> Pin | None:
        """Read `text`."""
        return None if text is None else _PIN.validate_json(text)


_PIN = TypeAdapter(Pin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How a worker speaks to one host. ``timeout`` is the longest silence, ``patience`` how long
    a request is repeated that fails where that can help; both seconds. ``ca`` is a PEM file."""

    timeout: float = 30.0
    patience: float = 60.0
    ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What bounds the sources that callers name by URL: see `access.outbound.Outbound`."""

    hosts: tuple[str, ...]
    networks: tuple[str, ...]
    most_spool: int
    """The largest file, in bytes, that is spooled from a server that cannot send ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGrant:
    """One local file, below the roots that it must not lead out of."""

    path: str
    roots: tuple[str, ...]
    pin: Pin | None = None
    kind: Literal["file"] = "file"

    @property
    def label(self) -> str:
        """How messages call it."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectGrant:
    """One object of a configured store, to be read in ranges; nothing else is reached with it, and
    no redirect is followed. Answers carry what ``expected`` says, lower-case header by header, or
    the source has changed."""

    label: str
    request: Request
    wire: Wire
    pin: Pin
    expected: Mapping[str, str]
    folder: str
    """The job's own folder for what its units share of the source."""
    kind: Literal["object"] = "object"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebGrant:
    """One web file. Its pin is found by the first unit that opens it."""

    label: str
    request: Request
    wire: Wire
    web: Web
    folder: str
    pin: Pin | None = None
    kind: Literal["web"] = "web"


SourceGrant = FileGrant | ObjectGrant | WebGrant


# --- Publishing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an upload, numbered from 1; ``md5`` in base64."""

    number: int
    size: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The segment lies at its place."""

    kind: Literal["placed"] = "placed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsUpload:
    """The file goes up in parts of ``part_size`` bytes, the last one shorter, each by a request
    that is asked for."""

    wire: Wire
    part_size: int
    kind: Literal["parts"] = "parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpload:
    """The file goes up in chunks of ``chunk_size`` bytes to one resumable session."""

    wire: Wire
    session: Request
    chunk_size: int
    kind: Literal["session"] = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The requests of the parts that were asked for, in their order."""

    requests: Sequence[Request]
    kind: Literal["signed"] = "signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was asked for cannot be had."""

    reason: str
    message: str
    metadata: Mapping[str, str]
    transient: bool
    kind: Literal["refused"] = "refused"


UploadGrant = PartsUpload | SessionUpload
