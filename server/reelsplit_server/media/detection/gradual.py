"""Where one shot may turn into another little by little, and dissolves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.distances import distance, stillness, structure
from reelsplit_server.media.detection.frames import Floats, Frames, Numbers

LENGTHS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 34, 42, 52, 64)
"""Strides from the last frame of the old shot to the first of the new one."""
LONGEST = LENGTHS[-1]
MARGIN = 12
"""Strides beyond a window that are looked at on both sides."""

_LEAST_CHANGE = 5.0
"""The mean difference of two frames' luma below which they are no two shots."""
_LEAST_APART = 0.4
"""The same for their distance."""
_LEAST_REST = 6
"""Strides of a shot that must be known beside a push."""
_LONGEST_MOVE = 34
"""Strides: what moves for longer is no push."""
_LEAST_BURST = 1.5
_LARGEST_PEAK = 4.0
"""How many times the mean of the steps inside a window the largest may be: more is a cut."""
_PLAIN_SHARE = 0.22
"""Of the luma spread of the other end: what has less is plain."""
_LEAST_TITLE = 2.5
"""The luma spread of a plain picture with a few words on it."""
_ALIKE = 0.5
_GOES_ON = 0.5
"""The share of its pace inside that a dissolve keeps up beyond a window that is too short."""
_COMES_BACK = 18
"""Strides within which a picture that something passed before is there again."""
_FURTHEST = LONGEST // 2 + MARGIN
_MOST_EACH = 7
"""So many windows of a kind, the most promising ones, are measured for each block."""


@dataclass(frozen=True, slots=True)
class Window:
    """Two frames, a number of strides apart, between which a change may lie."""

    before: int
    after: int
    stride: int

    @property
    def numbers(self) -> NDArray[np.int64]:
        return np.arange(self.before, self.after + 1, self.stride)


@dataclass(frozen=True, slots=True)
class Windows:
    """By what the frame in the middle looks like."""

    mixed: list[Window]
    """Both ends at once."""
    parted: list[Window]
    """Each place like one of the ends."""
    moved: list[Window]
    """Something else, with large steps only inside."""


def find_windows(frames: Frames, step: Floats, start: int, stop: int, stride: int) -> Windows:
    """The windows whose middle lies from `start` to `stop` (exclusive), as far as frames are
    known."""
    first = -(-start // (2 * stride)) * 2 * stride
    middles = np.arange(first, stop, 2 * stride)
    halves = np.array(LENGTHS) // 2 * stride
    before = (middles[:, None] - halves).ravel()
    after = (middles[:, None] + halves).ravel()
    known = (before >= frames.first) & (after < frames.stop)
    before, after = before[known], after[known]
    a, b = (frames.quarters[n - frames.first] for n in (before, after))
    whole = np.abs(a - b).mean(axis=1) / 16.0
    kept = whole > _LEAST_CHANGE
    if not kept.any():
        return Windows([], [], [])
    before, after, a, b, whole = before[kept], after[kept], a[kept], b[kept], whole[kept]
    middle = frames.quarters[(before + after) // 2 - frames.first]
    from_a, from_b = np.abs(middle - a), np.abs(middle - b)
    scale = 16.0 * whole
    mixture = np.abs(2 * middle - a - b).mean(axis=1) / (2.0 * scale)
    composite = np.minimum(from_a, from_b).mean(axis=1) / scale
    share = (from_b < from_a).mean(axis=1)
    away = np.minimum(from_a.mean(axis=1), from_b.mean(axis=1)) / scale
    mixed = (mixture < 0.38) & (away > 0.2)
    inside, around, peak = _mean_steps(frames, step, before, after, stride)
    even = peak < _LARGEST_PEAK * (inside + 0.01)
    mixed &= even
    parted = (composite < 0.42) & (share > 0.1) & (share < 0.9) & (away > 0.12) & even
    moved = (composite > 0.1) & (away > 0.25) & (whole > 10.0) & even
    moved &= (after - before <= _LONGEST_MOVE * stride) & (inside > _LEAST_BURST * (around + 0.03))
    # A pan that the video begins or ends with is known by nothing that rests beside it.
    rest = _LEAST_REST * stride
    moved &= (before >= frames.first + rest) & (after < frames.stop - rest)
    busy = inside / (inside + around + 0.02)

    def promising(which: NDArray[np.bool_], worth: NDArray[np.floating]) -> list[Window]:
        best = np.flatnonzero(which)
        best = best[np.lexsort((after[best], before[best], -worth[best]))][: 3 * _MOST_EACH]
        if not len(best):
            return []
        apart = distance(frames, before[best], after[best])
        return [
            Window(int(before[at]), int(after[at]), stride)
            for at in best[apart > _LEAST_APART].tolist()
        ]

    return Windows(
        promising(mixed, busy * whole * (0.5 - mixture))[:_MOST_EACH],
        promising(parted, busy * whole * (0.5 - composite))[:_MOST_EACH],
        promising(moved, whole * (inside - around))[:_MOST_EACH],
    )


def _mean_steps(
    frames: Frames, step: Floats, before: Numbers, after: Numbers, stride: int
) -> tuple[Floats, Floats, Floats]:
    """The means of the steps inside of windows, and of those close by on both sides; the largest
    of those inside."""
    total = np.concatenate([[0.0], np.cumsum(step, dtype=np.float64)])
    low, high = before + 1 - frames.first, after + 1 - frames.first
    start = np.maximum(low - 3 * stride, 0)
    stop = np.minimum(high + 3 * stride, len(step))
    inner = total[high] - total[low]
    outer = total[stop] - total[start] - inner
    count = (stop - start) - (high - low)
    inside = inner / (high - low)
    around = outer / np.maximum(count, 1)
    bounds = np.stack([low, high], axis=1).ravel()
    peak = np.maximum.reduceat(np.append(step, 0.0), bounds)[::2]
    return inside.astype(np.float32), around.astype(np.float32), peak.astype(np.float32)


def split_steps(frames: Frames, step: Floats, window: Window) -> tuple[Floats, Floats]:
    """The steps inside a window, and those shortly before and after it."""
    low, high = window.before + 1 - frames.first, window.after + 1 - frames.first
    reach = 6 * window.stride
    return step[low:high], np.concatenate(
        [step[max(1, low - reach) : low], step[high : high + reach]]
    )


def steps_measures(frames: Frames, step: Floats, window: Window) -> dict[str, float]:
    """How much changes inside a window, against what changes beside it."""
    before, after, stride = window.before, window.after, window.stride
    reach = int(np.clip((after - before) // (2 * stride), 3, MARGIN)) * stride
    pairs = [(before, after)]
    if before - reach >= frames.first:
        pairs.append((before - reach, before))
    if after + reach < frames.stop:
        pairs.append((after, after + reach))
    ends = np.array(pairs)
    apart, *sides = distance(frames, ends[:, 0], ends[:, 1]).tolist()
    inside, around = split_steps(frames, step, window)
    usual = float(np.median(around if len(around) else inside))
    a = frames.halves[before - frames.first]
    b = frames.halves[after - frames.first]
    change = float(np.abs(a - b).mean()) / 4.0
    spreads = frames.spread[[before - frames.first, after - frames.first]]
    light = abs(float(frames.mean[after - frames.first] - frames.mean[before - frames.first]))
    return {
        "apart": apart,
        "side_least": min(sides, default=0.0) / apart,
        "side_most": max(sides, default=0.0) / apart,
        "peak": float(inside.max()) / (float(inside.mean()) + 0.01),
        "burst": float(np.median(inside)) / (usual + 0.02),
        "change": change,
        "contrast": change / (float(spreads.sum()) + 4.0),
        "light": light / (change + 1.0),
        "length": (after - before) / stride,
    }


def surroundings(frames: Frames, window: Window) -> dict[str, float]:
    """What tells two shots at a window's ends from one that goes on, however it changes inside."""
    before, after = window.before, window.after
    return {
        "comes_back": _comes_back(frames, window),
        "structure": structure(frames, before, after),
        "stillness": stillness(frames, before, after),
        "sharpness": _sharpness(frames, before, after),
    }


def _comes_back(frames: Frames, window: Window) -> float:
    """How far what was before is not there again some time after, or the reverse: 1 and more
    where it is as far away as the ends are apart."""
    before, after, stride = window.before, window.after, window.stride
    lags = np.arange(2, _COMES_BACK + 1, 2) * stride
    later = (
        after + lags[after + lags < min(frames.stop, (before + after) // 2 + _FURTHEST * stride)]
    )
    sooner = (
        before
        - lags[before - lags >= max(frames.first, (before + after) // 2 - _FURTHEST * stride)]
    )
    apart, *others = distance(
        frames,
        np.concatenate([np.full(1 + len(later), before), sooner]),
        np.concatenate([[after], later, np.full(len(sooner), after)]),
    ).tolist()
    return float(min(others, default=apart)) / float(apart)


def _sharpness(frames: Frames, before: int, after: int) -> float:
    """How sharp the frame in the middle is, against the ends: less than 1 where it is smeared."""
    ends = [_edges(frames, before), _edges(frames, after)]
    inside = _edges(frames, (before + after) // 2)
    return min((inside[way] + 1.0) / ((ends[0][way] + ends[1][way]) / 2.0 + 1.0) for way in (0, 1))


def _edges(frames: Frames, number: int) -> tuple[float, float]:
    """The mean differences of neighbours across and down."""
    luma = frames.luma(number).astype(np.int16)
    across = float(np.abs(luma[:, 1:] - luma[:, :-1]).mean())
    return across, float(np.abs(luma[1:] - luma[:-1]).mean())


def dissolve_measures(frames: Frames, window: Window) -> dict[str, float] | None:
    """How far the frames inside a window are mixtures of its ends, in shares that grow with time;
    None where they are not."""
    ends = frames.spread[[window.before - frames.first, window.after - frames.first]]
    if ends.min() < _PLAIN_SHARE * ends.max() and not _is_title(frames, window, ends):
        # A fade, which is found as such.
        return None
    luma = frames.halves[window.numbers - frames.first].astype(np.float32)
    a, change = luma[0], luma[-1] - luma[0]
    inner = luma[1:-1] - a
    share = inner @ change / max(float(change @ change), 1.0)
    mixed = (share > 0.12) & (share < 0.88)
    if mixed.sum() < max(1.0, 0.3 * len(share)):
        return None
    rest = np.abs(inner[mixed] - share[mixed, None] * change)
    residual = float(rest.mean()) / (float(np.abs(change).mean()) + 1e-6)
    place = np.arange(1, len(share) + 1) / (len(share) + 1)
    line = float(np.abs(share - place).mean())
    if residual > 0.5 or line > 0.22:
        return None
    back = float(max(0.0, -np.diff(np.concatenate([[0.0], share, [1.0]])).min()))
    coarse = frames.quarters[window.numbers - frames.first].astype(np.float32)
    apart = coarse[-1] - coarse[0]
    apart -= apart.mean()
    rest = coarse[1:-1] - coarse[0] - share[:, None] * (coarse[-1] - coarse[0])
    rest -= rest.mean(axis=1, keepdims=True)
    return {
        "residual": residual,
        "line": line,
        "back": back,
        "coarse": float(np.abs(rest).mean()) / (float(np.abs(apart).mean()) + 16.0),
    }


def _is_title(frames: Frames, window: Window, ends: NDArray[np.floating]) -> bool:
    """Whether the plainer end shows something all the same, and not what the other one does: a
    few words that come up while the last of a scene goes down."""
    return bool(ends.min() > _LEAST_TITLE) and (
        structure(frames, window.before, window.after) < _ALIKE
    )


def dissolve_extent(frames: Frames, window: Window) -> tuple[int, int]:
    """Where the dissolve that a window holds begins and ends: as `Change.start` and `Change.end`,
    up to `MARGIN` strides beyond the window, since a part of a dissolve looks like one itself."""
    stride, reach = window.stride, MARGIN * window.stride
    first = frames.halves[window.before - frames.first].astype(np.float32)
    change = frames.halves[window.after - frames.first].astype(np.float32) - first
    scale = max(float(change @ change), 1.0)
    # What the share grows by in a stride, if it goes on as inside.
    least = _GOES_ON * stride / (window.after - window.before)

    def goes_on(numbers: range) -> int:
        """How many of the frames in a row go further the way that the first of them came."""
        share, count = 0.0, 0
        for number in numbers:
            if not frames.first <= number < frames.stop:
                break
            row = frames.halves[number - frames.first]
            now = float((row - first) @ change) / scale
            beyond = now - 1.0 if numbers.step > 0 else -now
            if beyond < share + least:
                break
            share, count = beyond, count + 1
        return count

    earlier = goes_on(range(window.before - stride, window.before - reach - 1, -stride))
    later = goes_on(range(window.after + stride, window.after + reach + 1, stride))
    return window.before - earlier * stride + 1, window.after + later * stride
