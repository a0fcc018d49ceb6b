"""Boundaries of frames that were looked at here and there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary, Finder
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.fast_look import apart
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.thumbs import Thumb

OnScores = Callable[[int, NDArray[np.float32]], None]

#: So many frames that were not looked at are shown to a finder, before and after those that were:
#: the one before them, over and over.
PAD = 12
#: The confidence that is asked of a boundary with which an island begins: the frames before it were
#: not looked at, and a picture that is held in their place makes any step look like a cut.
_LEAST_BLIND = 0.62


class FastSeeker:
    """A `Seeker` for strips with gaps, in which every frame is taken to be as the last one before
    it that was looked at.

    Strips with little between them are an island, which has a finder of its own. A boundary that
    was told without strips counts where its frame stands alone; where an island begins with it,
    the finder judges it. All depends on where frames were looked at, never on the stretches.
    """

    def __init__(
        self, new_finder: Callable[[OnScores], Finder], on_scores: OnScores | None = None
    ) -> None:
        """`new_finder` makes the finder of an island, given what is to be called with scores."""
        self._new_finder, self._on_scores = new_finder, on_scores
        self._finder: Finder | None = None
        self._lone: Strip | None = None
        """A single frame behind a gap, before which it is not known whether it stands alone."""
        self._last: Strip | None = None
        """The last frame that was looked at, as its strip's only one."""
        self._far: Strip | None = None
        """The one before the gap that the island, or the lone frame, lies behind."""
        self._blind: int | None = None
        """Where an island begins that other frames are held before."""
        self._told: list[Boundary] = []
        """Boundaries that were told and have not been decided on."""
        self._stop = self._scored = 0
        """The numbers of the frames after the last one that is known to be there, and after the
        last that has a score."""

    def push(self, scanned: Scanned) -> list[Boundary]:
        """See `Seeker.push`."""
        strips = [strip for strip in scanned.strips if len(strip)]
        if self._last is None and strips:
            self._stop = self._scored = strips[0].first
        self._stop += len(scanned.pts)
        self._told += scanned.boundaries
        found: list[Boundary] = []
        for strip in strips:
            found += self._look(strip)
        return found + self._leave(self._stop)

    def finish(self) -> list[Boundary]:
        """See `Seeker.finish`."""
        found = self._close()
        self._silent(self._stop)
        return found

    @property
    def certain(self) -> int:
        """See `Seeker.certain`."""
        if self._finder is not None:
            return self._finder.certain
        return max(0, (self._stop if self._lone is None else self._lone.first) - PAD)

    def _look(self, strip: Strip) -> list[Boundary]:
        found = self._leave(strip.first)
        if self._lone is not None:
            found += self._open(self._lone)
        if self._finder is not None and self._last is not None:
            gap = strip.first - self._last.stop
            found += self._judged(self._finder, _held(self._last, self._last.stop, gap))
            found += self._judged(self._finder, strip)
        elif len(strip) == 1:
            self._lone = strip
        else:
            found += self._open(strip)
        self._last = _end(strip)
        return found

    def _leave(self, number: int) -> list[Boundary]:
        """No frame before this one and behind the last was looked at."""
        if self._last is None or number - self._last.stop <= 2 * PAD:
            return []
        return self._close()

    def _open(self, strip: Strip) -> list[Boundary]:
        """Begin an island."""
        finder = self._finder = self._new_finder(self._score)
        self._lone = self._blind = None
        first, far = strip.first, self._far
        found: list[Boundary] = []
        self._silent(first - PAD)
        if far is not None and any(told.start == first for told in self._told):
            self._blind = first
            found += self._judged(finder, _held(far, first - PAD, PAD))
        return found + self._judged(finder, strip)

    def _close(self) -> list[Boundary]:
        """End the island, or decide about the lone frame; a gap follows."""
        last, found = self._last, []
        if self._finder is not None and last is not None:
            held = min(PAD, self._stop - last.stop)
            found += self._judged(self._finder, _held(last, last.stop, held))
            found += self._judged(self._finder, None)
        elif self._lone is not None:
            number = self._lone.first
            found += [told for told in self._told if told.start == number]
            if found and self._far is not None:
                self._silent(number)
                score = apart(_thumb(self._far), _thumb(self._lone))
                self._score(number, np.array([score], np.float32))
        if last is not None:
            self._told = [told for told in self._told if told.start >= last.stop]
        self._finder = self._lone = None
        self._far = last
        return found

    def _judged(self, finder: Finder, strip: Strip | None) -> list[Boundary]:
        """What an island's finder says to a strip, None for the end."""
        found = finder.finish() if strip is None else finder.push(strip)
        return [
            each for each in found if each.start != self._blind or each.confidence >= _LEAST_BLIND
        ]

    def _silent(self, number: int) -> None:
        """Nothing is known of how the frames up to this one change."""
        self._score(self._scored, np.zeros(max(0, number - self._scored), np.float32))

    def _score(self, first: int, scores: NDArray[np.float32]) -> None:
        scores = scores[max(0, self._scored - first) :]
        if len(scores):
            self._silent(first)
            if self._on_scores is not None:
                self._on_scores(self._scored, scores)
            self._scored += len(scores)


def _thumb(strip: Strip) -> Thumb:
    return strip.y[-1], strip.u[-1], strip.v[-1]


def _end(strip: Strip) -> Strip:
    """Its last frame."""
    return Strip(
        first=strip.stop - 1, pts=strip.pts[-1:], y=strip.y[-1:], u=strip.u[-1:], v=strip.v[-1:]
    )


def _held(strip: Strip, first: int, count: int) -> Strip:
    """The last frame of a strip, so many times, numbered from `first`. The times are made up:
    no finder looks at them."""
    return Strip(
        first=first,
        pts=strip.pts[-1] + 1 + np.arange(count),
        y=np.repeat(strip.y[-1:], count, axis=0),
        u=np.repeat(strip.u[-1:], count, axis=0),
        v=np.repeat(strip.v[-1:], count, axis=0),
    )
