"""Cuts through one frame that shows both shots at once, as a changed frame rate, the blending of
fields and some encoders make them. They share the step out over two frames, so that neither looks
like a cut; without the mixed frame it is one like any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection import cuts
from reelsplit_server.media.detection.cuts import Cut
from reelsplit_server.media.detection.distances import distance, structure
from reelsplit_server.media.detection.frames import HALF, Floats, Frames, Numbers

REACH = cuts.REACH + 1
"""Strides before and after a mixed frame that are looked at."""

_LEAST_STEP = 0.12
"""Of both steps, into the mixed frame and out of it."""
_LEAST_APART = 0.45
"""The distance of the frames beside the mixed one: two shots."""
_MOST_BESIDE = 0.5
"""Of that distance, the steps before and after: both shots must be there already."""
_MOST_ALIKE = 0.7
"""The correlation of both: a light that is switched on within a frame mixes one shot with itself,
lit differently."""
_LEAST_SHARE = 0.1
"""Of each shot in the mixed frame."""
_MOST_REST = 0.16
"""What the mixture leaves unexplained, against what changes; movement leaves twice as much."""
_MOST_CELL_REST = 0.3
"""The same in each cell."""
_STILL = 8.0
"""Added to what changes in a cell, on the scale of the half-size luma: where hardly anything
does, noise is not held against it."""
_DOWN, _ACROSS = 3, 4


def find_blended_cuts(
    frames: Frames, step: Floats, start: int, stop: int, stride: int, least: float
) -> list[Cut]:
    """The cuts whose mixed frame lies from frame `start` to `stop` (exclusive) and whose odds are
    above `least`. `step` holds the steps of all frames of the window, which reaches `REACH`
    strides back and ahead where there are as many."""
    found = []
    for number, share in _mixed(frames, step, start, stop):
        if structure(frames, number - 1, number + 1) > _MOST_ALIKE:
            continue
        rest, steps = _without(frames, step, number, REACH * stride)
        # The frame after the mixed one has its number now.
        if not cuts.candidates(rest, steps, number, number + 1, stride):
            continue
        value = cuts.odds(rest, steps, number, stride, least)
        if value is not None:
            found.append(Cut(number if share >= 0.5 else number + 1, value))
    return found


def _mixed(frames: Frames, step: Floats, start: int, stop: int) -> list[tuple[int, float]]:
    """The frames from `start` to `stop` (exclusive) that are a mixture of those beside them,
    which have nothing in common, and how much they show of the one after."""
    base = frames.first
    # Two frames on each side tell that it is a shot.
    numbers = np.arange(max(start, base + 2), min(stop, frames.stop - 2))
    at = numbers - base
    beside = np.maximum(step[at - 1], step[at + 2])
    # What costs least comes first: the two steps are hardly less than the one that they share.
    kept = np.minimum(step[at], step[at + 1]) > _LEAST_STEP
    kept &= beside < _MOST_BESIDE * (step[at] + step[at + 1])
    numbers, beside = numbers[kept], beside[kept]
    if not len(numbers):
        return []
    share, kept = _shares(frames, numbers)
    numbers, share, beside = numbers[kept], share[kept], beside[kept]
    if not len(numbers):
        return []
    apart = distance(frames, numbers - 1, numbers + 1)
    kept = (apart > _LEAST_APART) & (beside < _MOST_BESIDE * apart)
    return list(zip(numbers[kept].tolist(), share[kept].tolist(), strict=True))


def _shares(frames: Frames, numbers: Numbers) -> tuple[Floats, NDArray[np.bool_]]:
    """How much each frame shows of the one after it, the rest being the one before; and whether
    it is such a mixture, everywhere by the same share."""
    at = numbers - frames.first
    old = frames.halves[at - 1].astype(np.float32)
    change = frames.halves[at + 1] - old
    inner = frames.halves[at] - old
    share = (inner * change).sum(axis=1) / np.maximum((change * change).sum(axis=1), 1.0)
    rest = _cell_means(np.abs(inner - share[:, None] * change))
    whole = _cell_means(np.abs(change))
    kept = (share > _LEAST_SHARE) & (share < 1.0 - _LEAST_SHARE)
    kept &= rest.mean(axis=1) < _MOST_REST * whole.mean(axis=1)
    kept &= (rest < _MOST_CELL_REST * (whole + _STILL)).all(axis=1)
    return share, kept


def _cell_means(rows: Floats) -> Floats:
    size = (len(rows), _DOWN, HALF[0] // _DOWN, _ACROSS, HALF[1] // _ACROSS)
    means: Floats = rows.reshape(size).mean(axis=(2, 4)).reshape(len(rows), _DOWN * _ACROSS)
    return means


def _without(frames: Frames, step: Floats, number: int, reach: int) -> tuple[Frames, Floats]:
    """The frames up to `reach` before and after one, as if it had never been there, and their
    steps."""
    rest = frames.without(number, reach)
    low = rest.first - frames.first
    at, high = number - frames.first, low + len(rest.planes) + 1
    steps = np.concatenate([step[low:at], step[at + 1 : high]])
    steps[number - rest.first] = cuts.steps(rest, number, number + 1)[0]
    return rest, steps
