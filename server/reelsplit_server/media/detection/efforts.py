"""The efforts that there are."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary, Finder
from reelsplit_server.media.detection.effort import Effort, Scanned, Seeker
from reelsplit_server.media.detection.fast import Fast
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.scanning import scan_all
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.shot_settings import EffortName, OwnSettings

OnScores = Callable[[int, NDArray[np.float32]], None]
"""Gets the number of a frame, and the scores of this one and those after it."""


class StripSeeker:
    """A finder of strips, for what was scanned frame by frame."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    def push(self, scanned: Scanned) -> list[Boundary]:
        """See `Seeker.push`."""
        return [each for strip in scanned.strips for each in self._finder.push(strip)]

    def finish(self) -> list[Boundary]:
        """See `Seeker.finish`."""
        return self._finder.finish()

    @property
    def certain(self) -> int:
        """See `Seeker.certain`."""
        return self._finder.certain


class Exact:
    """Every frame, by the rules."""

    dense = True

    def __init__(self, settings: OwnSettings, rate: Fraction, on_scores: OnScores | None) -> None:
        self._settings, self._rate, self._on_scores = settings, rate, on_scores

    def scan(self, reel: Reel, stretch: Stretch, pause: Callable[[], None]) -> Scanned:
        """See `Effort.scan`."""
        return scan_all(reel, stretch, pause)

    def seeker(self) -> Seeker:
        """See `Effort.seeker`."""
        return StripSeeker(
            RuleFinder(
                rate=self._rate,
                sensitivity=self._settings.sensitivity,
                footage=self._settings.footage,
                on_scores=self._on_scores,
            )
        )


class Neural(Exact):
    """Every frame, by the rules and a neural net together; needs the extra ``neural``."""

    def __init__(
        self, settings: OwnSettings, rate: Fraction, on_scores: OnScores | None, threads: int
    ) -> None:
        super().__init__(settings, rate, on_scores)
        self._threads = threads

    def seeker(self) -> Seeker:
        """See `Effort.seeker`. Raises `MediaError` with ``DETECTOR_REFUSED`` where the extra is
        not installed, or its weights are not the known ones."""
        try:
            # Not before it is needed: torch takes seconds and some 200 MB.
            from reelsplit_server.media.detection.neural import NeuralFinder
        except ModuleNotFoundError as error:
            raise MediaError(
                "DETECTOR_REFUSED",
                "The neural effort needs the extra reelsplit[neural], which is not installed.",
            ) from error
        return StripSeeker(
            NeuralFinder(
                rate=self._rate,
                sensitivity=self._settings.sensitivity,
                footage=self._settings.footage,
                threads=self._threads,
                on_scores=self._on_scores,
            )
        )


def effort_of(
    settings: OwnSettings,
    *,
    rate: Fraction,
    threads: int = 1,
    on_scores: OnScores | None = None,
) -> Effort:
    """The effort that settings ask for. `rate` is the source's frames a second; `threads` are
    those that a seeker may use."""
    match settings.effort:
        case EffortName.EXACT:
            return Exact(settings, rate, on_scores)
        case EffortName.FAST:
            return Fast(settings, rate, on_scores)
        case EffortName.NEURAL:
            return Neural(settings, rate, on_scores, threads)
