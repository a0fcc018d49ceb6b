"""What is kept of a media asset, and which of them a list holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from reelsplit.types.media import Media, MediaState


class Again(Enum):
    """What happens when a location is registered that its owner has registered before."""

    ANOTHER = auto()
    """It gets another id."""
    KEEP = auto()
    """The asset that is there is answered."""
    REPLACE = auto()
    """The assets that are there are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecord:
    """One asset. ``media.uri`` is the location as workers need it, with a query if it has one."""

    media: Media
    endpoint: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """What the dialect of a face keeps beside the contract's fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFilter:
    """Which assets of a principal a list holds, and in which order. ``details`` must be equal; a
    tuple holds a value and the one that stands for assets without."""

    states: Sequence[MediaState] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    media_id: str | None = None
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    oldest_first: bool = False


class NoSuchMediaError(Exception):
    """No asset of this principal has this id or location."""


class MediaTokenReusedError(Exception):
    """The client token belongs to another request."""

    def __init__(self, media_id: str) -> None:
        super().__init__(media_id)
        self.media_id = media_id
