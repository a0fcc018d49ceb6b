"""Pictures that are held for some frames, as in drawings on threes, in films of a lower rate and in
what a slow machine recorded. A step from one to the next is as large as all that moved meanwhile,
and nothing moves beside it: what moves looks like a row of cuts."""

from __future__ import annotations

import numpy as np

from reelsplit_server.media.detection.frames import Floats, Frames
from reelsplit_server.media.detection.matching import match

_HELD = 0.02
"""The step below which a frame shows the one before it."""
_LONGEST = 5
"""Frames that a picture is held for, at most: what rests for longer does not move."""
_NEAR, _LEAST_MOVES = 13, 3
"""Frames on each side in which so many others must step, and at least half must be held."""

_ALIKE = 0.7
"""The match below which two pictures have nothing in common: stills that follow each other quickly
are held, too."""


def released(frames: Frames, step: Floats, number: int) -> Frames | None:
    """The window as if each picture were shown once, the frame of this number keeping it; None
    where pictures on both sides of it are not held, or it shows nothing of the one before. `step`
    holds the steps of all frames."""
    at = number - frames.first
    moved = step >= _HELD
    before, after = moved[max(0, at - _NEAR) : at], moved[at + 1 : at + 1 + _NEAR]
    for side in (before, after):
        if not _LEAST_MOVES * len(side) // _NEAR <= int(side.sum()) <= len(side) // 2:
            return None
    if match(frames, number - 1, number) < _ALIKE:
        return None
    kept, last = [], -_LONGEST
    for place in range(len(step)):
        if place == at or moved[place] or place - last >= _LONGEST:
            kept.append(place)
            last = place
    return frames.only(np.array(kept), number)
