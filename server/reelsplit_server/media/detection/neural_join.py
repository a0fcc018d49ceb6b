"""What the rules and the net make of a change together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.evidence import confidence
from reelsplit_server.media.detection.neural_pictures import PICTURE, Pictures

SPAN = 24
"""Frames on each side of a change that may be part of it."""
NEAR = 2
"""Frames by which the net may be off."""

# Logarithms of odds. Net and rules look at the same frames, so that what one says counts less
# once the other has spoken.
_WEIGHT = 0.4
_WEIGHT_WIPE = 0.1
"""The net was not taught wipes, pushes and irises."""
_MOST = 4.0
_SILENCE = -3.0
"""What it counts that the rules see nothing."""

_CLEAR = 0.8
"""Probability from which the net tells where in a fade one shot gives way to the other."""

_APART = 6
"""Frames on each side among which a peak is the highest."""
_PART = 0.3
"""Probability from which a frame beside a peak is part of the same change."""
_LONG = 6
"""Frames that the net must see change for it to be gradual."""
_RETURN = 9
"""A picture that comes back within so many frames was never left: a flash, a strobe."""
_SAME = 0.5
"""How much less than the change a picture may differ from one that it is taken for."""


class Evidence:
    """What is known of the frames that are still looked at."""

    def __init__(self, first: int) -> None:
        self.first = first
        """The frame that all begin with."""
        self.step = np.empty(0, np.float32)
        """For each frame how much it differs from the one before, as the rules measure it."""
        self.single = np.empty(0, np.float32)
        """This and `many`: the net's probabilities, as `TransNet.look` answers them."""
        self.many = np.empty(0, np.float32)
        self.pictures: Pictures = np.empty((0, *PICTURE, 3), np.uint8)
        """What the net looks at."""

    @property
    def known(self) -> int:
        """The frame after the last one that the net has told of."""
        return self.first + len(self.single)

    def stepped(self, step: NDArray[np.float32]) -> None:
        """Add what the rules measured of the next frames."""
        self.step = np.concatenate([self.step, step])

    def seen(self, pictures: Pictures) -> None:
        """Add the pictures of the next frames."""
        self.pictures = np.concatenate([self.pictures, pictures])

    def told(self, single: NDArray[np.float32], many: NDArray[np.float32]) -> None:
        """Add what the net tells of the next frames."""
        self.single = np.concatenate([self.single, single])
        self.many = np.concatenate([self.many, many])

    def forget(self, before: int) -> None:
        """Let go of the frames before this number."""
        count = before - self.first
        if count > 0:
            self.first = before
            self.step, self.single, self.many = (
                values[count:] for values in (self.step, self.single, self.many)
            )
            self.pictures = self.pictures[count:]


def joined_odds(boundary: Boundary, evidence: Evidence) -> float:
    """The logarithm of the odds of what the rules found. The net is known up to `NEAR` frames
    after its end, or the end of the video."""
    seen = float(evidence.single[_within(boundary, evidence)].max(initial=0.0))
    weight = _WEIGHT_WIPE if boundary.kind is Kind.WIPE else _WEIGHT
    return _odds(boundary.confidence) + weight * max(-_MOST, min(_MOST, _odds(seen)))


def sharpened(boundary: Boundary, evidence: Evidence) -> Boundary:
    """A fade with the frame at which the net sees the new shot begin, where it does; what the net
    is known of as for `joined_odds`."""
    if boundary.kind not in (Kind.FADE_BLACK, Kind.FADE_WHITE):
        return boundary
    part = _within(boundary, evidence)
    seen = evidence.single[part]
    if seen.max(initial=0.0) < _CLEAR:
        return boundary
    after = evidence.first + part.start + int(np.argmax(seen)) + 1
    return replace(boundary, sharp=min(max(after, boundary.start), boundary.end))


def _within(boundary: Boundary, evidence: Evidence) -> slice:
    """The frames that tell of a boundary."""
    low = max(0, boundary.start - 1 - NEAR - evidence.first)
    return slice(low, boundary.end + NEAR - evidence.first)


def sure_peaks(
    evidence: Evidence, start: int, stop: int, least: float
) -> Iterator[tuple[int, float]]:
    """The changes from frame `start` to `stop` (exclusive) that the net is so sure of that the
    odds are above `least` though the rules are silent: the first frame after each, and the
    odds. The net is known `SPAN` frames further, or to the end of the video."""
    single, first = evidence.single, evidence.first
    # After the last frame there is nothing.
    low, high = max(0, start - 1 - first), min(len(single) - 1, stop - 1 - first)
    for at in (np.flatnonzero(single[low : max(low, high)] > 0.5) + low).tolist():
        odds = _odds(float(single[at])) + _SILENCE
        before, after = single[max(0, at - _APART) : at], single[at + 1 : at + 1 + _APART]
        peak = single[at] > before.max(initial=0.0) and single[at] >= after.max(initial=0.0)
        if peak and odds > least:
            yield first + at + 1, odds


def shaped(number: int, odds: float, evidence: Evidence) -> Boundary:
    """The boundary that belongs to a peak of the net: a cut where the picture changes most, or
    a dissolve."""
    at = number - 1 - evidence.first
    left = right = at
    many, step = evidence.many, evidence.step
    while left > max(0, at - SPAN) and many[left - 1] > _PART:
        left -= 1
    while right + 1 < min(len(many), at + SPAN) and many[right + 1] > _PART:
        right += 1
    sure = confidence(odds)
    through = step[left : right + 2]
    if right - left + 1 >= _LONG and float(through.max()) < 0.5 * float(through.sum()):
        start = evidence.first + max(1, left)
        end = evidence.first + min(right + 1, len(many) - 1)
        return Boundary(kind=Kind.DISSOLVE, start=start, end=end, confidence=sure)
    low = max(1, at + 1 - NEAR)
    cut = evidence.first + low + int(np.argmax(step[low : min(at + 2 + NEAR, len(many))]))
    return Boundary(kind=Kind.CUT, start=cut, end=cut, confidence=sure)


def returns(boundary: Boundary, evidence: Evidence) -> bool:
    """Whether the picture before a change comes back soon after it, or the one after it was there
    shortly before: then it is none."""
    start, end = boundary.start - evidence.first, boundary.end - evidence.first
    pictures = evidence.pictures
    old, new = pictures[start - 1], pictures[end]
    change = float(_apart(pictures[start : end + 1], old).max())
    after = _apart(pictures[end + 1 : end + 1 + _RETURN], old)
    before = _apart(pictures[max(0, start - 1 - _RETURN) : start - 1], new)
    return float(min(after.min(initial=255.0), before.min(initial=255.0))) < _SAME * change


def _apart(pictures: Pictures, picture: Pictures) -> NDArray[np.float32]:
    """The mean difference of each of these pictures to another one."""
    difference = pictures.astype(np.int16) - picture.astype(np.int16)
    means: NDArray[np.float32] = np.abs(difference).mean(axis=(1, 2, 3), dtype=np.float32)
    return means


def _odds(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1.0 - 1e-6)
    return log(inside / (1.0 - inside))
