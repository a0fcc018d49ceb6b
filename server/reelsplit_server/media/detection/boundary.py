"""Where one shot becomes the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from reelsplit_server.media.detection.strip import Strip


class Kind(StrEnum):
    CUT = "cut"
    DISSOLVE = "dissolve"
    FADE_BLACK = "fade_black"
    FADE_WHITE = "fade_white"
    WIPE = "wipe"
    """Also an iris or a push."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """A change of shot. Frames are numbered as in `Strip`."""

    kind: Kind
    start: int
    """The first frame that is not purely the shot before."""
    end: int
    """The first frame that is purely the new shot; `start` for a cut."""
    confidence: float
    """0 to 1."""
    sharp: int | None = None
    """The frame with which the new shot begins, where that is known and not the middle: where the
    change is gradual on one side only, as after a cut to black that the new shot comes up from,
    or where a plain picture stands for long in between."""

    def at(self, first: int) -> Boundary:
        """The same, with frames numbered from `first` on."""
        return replace(
            self,
            start=self.start + first,
            end=self.end + first,
            sharp=None if self.sharp is None else self.sharp + first,
        )

    @property
    def middle(self) -> int:
        """The frame at which a segment begins where the border lies in the middle."""
        return (self.start + self.end) // 2 if self.sharp is None else self.sharp


class Finder(Protocol):
    """Looks at a video from its beginning to its end. What it finds does not depend on how the
    frames are shared out over strips."""

    def push(self, strip: Strip) -> list[Boundary]:
        """Look at the next frames. Answers the boundaries that are certain by now, in order and
        without overlap; what lies before the last certain frame never changes any more."""

    def finish(self) -> list[Boundary]:
        """The boundaries that only the end of the video makes certain."""

    @property
    def certain(self) -> int:
        """No boundary that starts before this frame will be told any more."""
