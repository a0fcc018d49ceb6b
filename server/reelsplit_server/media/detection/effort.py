"""How much of a source is looked at: what each effort makes of a stretch, and of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.detection.strip import Strip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scanned:
    """What was seen of a stretch. Frames are numbered from its first one, until `at` moves them."""

    pts: NDArray[np.int64]
    """Shape (frames,): ticks of all its frames, looked at or not, strictly increasing."""
    strips: tuple[Strip, ...]
    """In order, without overlap. With efforts that look at every frame, one without a gap."""
    boundaries: tuple[Boundary, ...] = ()
    """What is certain without the strips, in order."""
    end: int | None = None
    """Ticks: when the first frame after it is shown; None where the source ends."""
    last_duration: int = 0
    """Ticks that its last frame is shown for, where the source ends."""
    flaw: str | None = None
    """Why this may differ from what a decoder makes of it that comes from the beginning of the
    source, in words: something is damaged, or the index does not tell the truth."""

    def at(self, first: int) -> Scanned:
        """The same, with its first frame numbered `first`."""
        return dataclasses.replace(
            self,
            strips=tuple(
                dataclasses.replace(strip, first=strip.first + first) for strip in self.strips
            ),
            boundaries=tuple(each.at(first) for each in self.boundaries),
        )


class Seeker(Protocol):
    """Makes boundaries of what was scanned, stretch after stretch, as `Finder` of strips. What it
    answers does not depend on how the source is shared out over stretches, nor on how the frames
    of a stretch are shared out over calls."""

    def push(self, scanned: Scanned) -> list[Boundary]:
        """Look at the next part, which begins where the last one ended. Answers the boundaries
        that are certain by now, in order and without overlap."""

    def finish(self) -> list[Boundary]:
        """The boundaries that only the end makes certain."""

    @property
    def certain(self) -> int:
        """No boundary that starts before this frame will be told any more."""


class Effort(Protocol):
    """One way to look. Made anew in each process from the settings alone."""

    @property
    def dense(self) -> bool:
        """Whether it reads all bytes of a stretch."""

    def scan(self, reel: Reel, stretch: Stretch, pause: Callable[[], None]) -> Scanned:
        """Look at a stretch. `pause` is called every few frames; what it raises comes through.

        What is damaged is told as the flaw; the engine has such a stretch done again by a decoder
        that enters before it. Raises `MediaError`.
        """

    def seeker(self) -> Seeker:
        """A new seeker. It also takes parts of which every frame is in a strip, of sources that
        have no index, or one that is not to be trusted."""
