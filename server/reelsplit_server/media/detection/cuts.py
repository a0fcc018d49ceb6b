"""Cuts: the picture is another one from one frame to the next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from reelsplit_server.media.detection.distances import (
    breadth,
    cells,
    difference,
    distance,
    stillness,
    structure,
)
from reelsplit_server.media.detection.evidence import CUT, weigh
from reelsplit_server.media.detection.frames import Floats, Frames
from reelsplit_server.media.detection.holds import released
from reelsplit_server.media.detection.matching import match

_AROUND = 12
"""Strides before and after a cut whose steps it must stand out from."""

_RETURN = 7
"""A picture that comes back within so many frames was never left: a flash, a strobe."""
_LATE_RETURN = 22
"""The same, where one picture is the other one dimmed."""
_LEAST_DIMMED = 0.3
_AWAY = 0.5
"""The distance beyond which a picture has not come back, however large the step was."""
REACH = _LATE_RETURN + 1
"""Strides before and after a cut that the rule looks at."""

_NEAR, _FAR = 3, 8

_LEAST_STEP = 0.12
_PLAIN = 2.5
"""The luma spread up to which a frame shows nothing: from one such to another there is no cut."""
_LEAST_RATIO = 1.3
"""How much larger than the median around it a step must be to be looked at at all."""
_SURE_MATCH = 0.75
"""Beyond this, a match hardly happens between two shots."""
_LEAST_LEAD = 0.5
"""The same, against the largest of the four steps next to it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A change from frame `at` - 1 to frame `at`."""

    at: int
    odds: float
    """The logarithm of the odds that it is one."""


def steps(frames: Frames, start: int, stop: int) -> Floats:
    """The distance of each frame from `start` to `stop` (exclusive) to the one before it; 0 for
    the first frame of all."""
    after = np.arange(max(start, frames.first + 1), stop)
    measured = distance(frames, after - 1, after)
    return np.concatenate([np.zeros(stop - start - len(after), np.float32), measured])


def find_cuts(
    frames: Frames, step: Floats, start: int, stop: int, stride: int, least: float
) -> list[Cut]:
    """The cuts from frame `start` to `stop` (exclusive) whose odds are above `least`. `step` holds
    the steps of all frames of the window, which reaches `REACH` strides back and ahead where
    there are as many."""
    found = []
    for number in candidates(frames, step, start, stop, stride):
        value = odds(frames, step, number, stride, least)
        if value is not None and (moving := released(frames, step, number)) is not None:
            again = odds(moving, steps(moving, moving.first, moving.stop), number, stride, least)
            value = None if again is None else min(value, again)
        if value is not None:
            found.append(Cut(number, value))
    return found


def odds(frames: Frames, step: Floats, number: int, stride: int, least: float) -> float | None:
    """The logarithm of the odds that there is a cut to this frame; None where it is not above
    `least`. Frames and steps as in `find_cuts`."""
    # What costs least comes first.
    return weigh(
        CUT,
        least,
        partial(measures, frames, step, number, stride),
        partial(lasting_measures, frames, step, number, stride),
        partial(match_measures, frames, number, stride),
    )


def candidates(frames: Frames, step: Floats, start: int, stop: int, stride: int) -> list[int]:
    """The frames from `start` to `stop` (exclusive) that stand out from those around them. A
    single frame at either end of the video is no shot."""
    base = frames.first
    start, stop = max(start, base + 2), min(stop, frames.stop - 1)
    shows = np.maximum(
        frames.spread[start - 1 - base : stop - 1 - base], frames.spread[start - base : stop - base]
    )
    here = step[start - base : stop - base]
    large = np.flatnonzero((here > _LEAST_STEP) & (shows > _PLAIN)) + start
    return [number for number in large.tolist() if _stands_out(step, number - base, stride)]


def _stands_out(step: Floats, at: int, stride: int) -> bool:
    here = float(step[at])
    near = _beside(step, at, 2)
    if here < _LEAST_LEAD * float(near.max(initial=0.0)):
        return False
    around = _beside(step, at, _AROUND * stride)
    return not len(around) or here > _LEAST_RATIO * float(np.median(around))


def _beside(step: Floats, at: int, reach: int) -> Floats:
    """The steps up to `reach` frames away from a step, without it."""
    return np.concatenate([step[max(0, at - reach) : at], step[at + 1 : at + 1 + reach]])


def measures(frames: Frames, step: Floats, number: int, stride: int) -> dict[str, float]:
    """What tells a cut at this frame from everything else, by the names in `evidence.CUT`, as far
    as the frames next to it show it."""
    base = frames.first
    here = float(step[number - base])
    around = _beside(step, number - base, _AROUND * stride)
    middle, upper = np.quantile(around, [0.5, 0.8]) if len(around) else (0.0, 0.0)
    near = float(_beside(step, number - base, 2).max(initial=0.0))
    a, b = number - 1 - base, number - base
    pixels = float(difference(frames.planes[a : a + 1], frames.planes[b : b + 1])[0])
    changed = cells(frames.histograms[a : a + 1], frames.histograms[b : b + 1])[0]
    return {
        "lead": here / (near + 0.03),
        "stand": here / (float(middle) + 0.03),
        "stand_upper": here / (float(upper) + 0.03),
        "contrast": pixels / (float(frames.spread[a] + frames.spread[b]) + 4.0),
        "jump": abs(float(frames.mean[b] - frames.mean[a])) / (pixels + 1.0),
        "cells": float((changed > 0.35).mean()),
        "colours": float(changed.mean()),
        "pixels": pixels,
        "structure": structure(frames, number - 1, number),
        "stillness": stillness(frames, number - 1, number),
        "breadth": breadth(frames, number),
    }


def lasting_measures(frames: Frames, step: Floats, number: int, stride: int) -> dict[str, float]:
    """More of the same, out of frames further away: whether the new picture stays."""
    base, last = frames.first, frames.stop - 1
    here = float(step[number - base])

    def held(numbers: list[int]) -> list[int]:
        return [n for n in numbers if base <= n <= last]

    lags = range(stride, (_RETURN + 1) * stride, stride)
    back = [(n, number) for n in held([number - 1 - lag for lag in lags])]
    ahead = [(number - 1, n) for n in held([number + lag for lag in lags])]
    left, right = (
        held(list(range(number - _NEAR, number))),
        held(list(range(number, number + _NEAR))),
    )
    cross = [(a, b) for a in left for b in right]
    inside = [
        (side[i], side[i + lag])
        for side in (left, right)
        for lag in (1, 2)
        for i in range(len(side) - lag)
    ]
    reach = (0, _FAR // 2 * stride, _FAR * stride)
    old, new = held([number - 1 - k for k in reach]), held([number + k for k in reach])
    wide = [(a, b) for a in old for b in new]
    settled = [(side[i], side[i + 1]) for side in (old, new) for i in range(len(side) - 1)]
    groups = (back + ahead, cross, inside, wide, settled)
    pairs = np.array([pair for group in groups for pair in group], np.int64)
    apart = distance(frames, pairs[:, 0], pairs[:, 1])
    returned, crossed, within, far, spread = np.split(
        apart, np.cumsum([len(group) for group in groups])[:-1]
    )
    return {
        "return": min(1.0, float(returned.min(initial=here)) / min(here, _AWAY)),
        "cross": (float(crossed.min()) + 0.02) / (float(within.max(initial=0.0)) + 0.05),
        "persist": (float(far.min()) + 0.02)
        / ((float(np.median(spread)) if len(spread) else 0.0) + 0.05),
        "flicker": _flicker(frames, number, here, stride),
    }


def _flicker(frames: Frames, number: int, here: float, stride: int) -> float:
    """How far this is one of the steps of a light that goes on and off slowly, 0 to 1: one side
    is the other one dimmed, and some time later or before it is the other way round again."""
    base = frames.first
    spreads = frames.spread[number - 1 - base : number + 1 - base]
    dimmed = 1.0 - float(spreads.min()) / (float(spreads.max()) + 1.0)
    dimmed = max(dimmed, structure(frames, number - 1, number))
    if dimmed < _LEAST_DIMMED:
        return 0.0
    lags = np.arange(_RETURN + 1, _LATE_RETURN + 1) * stride
    later, sooner = number + lags, number - 1 - lags
    later, sooner = later[later < frames.stop], sooner[sooner >= base]
    apart = distance(
        frames,
        np.concatenate([np.full(len(later), number - 1), sooner]),
        np.concatenate([later, np.full(len(sooner), number)]),
    )
    returned = min(1.0, float(apart.min(initial=here)) / min(here, _AWAY))
    return dimmed * (1.0 - returned)


def match_measures(frames: Frames, number: int, stride: int) -> dict[str, float]:
    """The rest: how well parts of the old picture are found again in the new one
    and those after it, and in their own neighbours."""
    base, last = frames.first, frames.stop - 1
    matched = match(frames, number - 1, number)
    two, five = 2 * stride, 5 * stride
    later = [match(frames, number - 1, n) for n in (number + two, number + five) if n <= last]
    earlier = [match(frames, n, number) for n in (number - 1 - two, number - 1 - five) if n >= base]
    beside = [match(frames, n, n + 1) for n in (number - 2, number) if base <= n < last]
    best = max([matched, *later, *earlier])
    return {
        "match": matched,
        "match_later": best,
        "match_sure": max(0.0, best - _SURE_MATCH),
        "match_beside": min([1.0, *beside]),
    }
