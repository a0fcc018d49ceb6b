"""What travels between a worker and the server while a unit runs: plain data, as JSON.

A worker that hostile media has taken over can send no code by it, and asks only for what belongs
to its own unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, TypeAdapter

from reelsplit.types.segment import Segment
from reelsplit.types.spec import ReportKind
from reelsplit_server.storage.grants import (
    FileGrant,
    ObjectGrant,
    Part,
    PartsUpload,
    Placed,
    Refused,
    SessionUpload,
    Signed,
    WebGrant,
)
from reelsplit_server.work.units import (
    Account,
    Failed,
    Opened,
    PlanDone,
    Planned,
    Progress,
    ScanDone,
    Sharing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """The source's grant has run out. Answered with a `SourceGrant`."""

    kind: Literal["renew"] = "renew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The segment lies whole in the unit's scratch file. Answered with `Placed`, or with how it
    is to be uploaded."""

    segment: Segment
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFinished:
    """A report lies whole in its scratch file. Answered as `Finished`."""

    report: ReportKind
    size_bytes: int
    checksum: str
    kind: Literal["report_finished"] = "report_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Parts are about to be uploaded. Answered with `Signed`."""

    parts: Sequence[Part]
    kind: Literal["sign"] = "sign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """All parts are up, and have these entity tags. Answered with `Placed`."""

    etags: Sequence[str]
    kind: Literal["uploaded"] = "uploaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Bytes are moving. Not answered."""

    kind: Literal["beat"] = "beat"


Ask = Renew | Finished | ReportFinished | Sign | Uploaded
Answer = (
    FileGrant | ObjectGrant | WebGrant | Placed | PartsUpload | SessionUpload | Signed | Refused
)

Said = Opened | Planned | PlanDone | Sharing | ScanDone | Progress | Failed | Account | Beat | Ask

# By their kinds, since trying all of them on every report costs much.
SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Discriminator("kind")])
ANSWERS: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Discriminator("kind")])
