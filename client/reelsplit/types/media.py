"""Generated from reelsplit/v1/media.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime

from reelsplit.types.record import Record
from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo


class MediaState(enum.StrEnum):
    """MediaState tells whether the facts of a media asset are known."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    PENDING = "PENDING"
    """It waits to be opened."""

    PROBING = "PROBING"
    """It is being opened."""

    READY = "READY"
    """Its facts are known."""

    FAILED = "FAILED"
    """It could not be opened."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Media(Record):
    """Media is a registered media asset: a location with an id and the facts of what lies
    there.
    """

    media_id: str = ""
    """Output only. 32 lower-case hexadecimal digits, unguessable."""

    uri: str = ""
    """Output only. The location, without userinfo and query string."""

    state: MediaState = MediaState.UNSPECIFIED
    """Output only. Whether its facts are known."""

    source: SourceInfo | None = None
    """Output only. What lies there, once it was opened."""

    error: Error | None = None
    """Output only. Why it could not be opened."""

    title: str = ""
    """Output only. Its title."""

    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Output only. Labels to find it by."""

    user_data: str = ""
    """Output only. JSON of the caller's own."""

    job_id: str = ""
    """Output only. The job that published it; empty where a caller registered it."""

    owner: str = ""
    """Output only. The principal that it belongs to."""

    create_time: datetime | None = None
    """Output only. When it was registered."""

    update_time: datetime | None = None
    """Output only. When it changed last."""
