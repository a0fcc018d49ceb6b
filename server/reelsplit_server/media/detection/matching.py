"""Whether one picture is another that moved, or was lit differently."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.frames import HALF, Frames, Sums

_ROWS, _COLUMNS = 2, 3
_HEIGHT, _WIDTH = HALF[0] // _ROWS, HALF[1] // _COLUMNS
_DOWN, _ACROSS = 3, 6
"""How far a block is looked for, in pixels of the half-size luma: a fifth of the picture."""
_FLAT = 8.0
"""The spread, on the scale of the half-size luma, below which a block shows nothing."""
_UNKNOWN = 0.5


def match(frames: Frames, first: int, second: int) -> float:
    """How well the parts of one frame are found again near their place in the other, in both
    directions: the median of the best correlations, 0 to 1. 0.5 where there is nothing to see.

    Different shots reach about 0.45, one frame and the next 0.9 and more whatever moves.
    """
    return match_pictures(frames.half(first), frames.half(second))


def match_pictures(first: Sums, second: Sums) -> float:
    """`match` of two pictures as `Frames.half` gives them."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    best = _best(a, b) + _best(b, a)
    return float(np.median(best)) if len(best) > _ROWS * _COLUMNS else _UNKNOWN


def drift(frames: Frames, first: int, second: int) -> float:
    """How far movement explains what changes from one frame to another, 0 to 1: 1 where no part
    of the first fits the second anywhere better than in its own place, as in a dissolve."""
    a = frames.half(first).astype(np.float32)
    b = frames.half(second).astype(np.float32)
    around = cv2.copyMakeBorder(b, _DOWN, _DOWN, _ACROSS, _ACROSS, cv2.BORDER_REPLICATE)
    moved = stayed = 0.0
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            top, left = row * _HEIGHT, column * _WIDTH
            block = a[top : top + _HEIGHT, left : left + _WIDTH]
            place = around[top : top + _HEIGHT + 2 * _DOWN, left : left + _WIDTH + 2 * _ACROSS]
            apart = cv2.matchTemplate(place, block, cv2.TM_SQDIFF)
            moved += max(0.0, float(apart.min()))
            stayed += max(0.0, float(apart[_DOWN, _ACROSS]))
    return float(np.sqrt((moved + 1.0) / (stayed + 1.0)))


def _best(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    around = cv2.copyMakeBorder(b, _DOWN, _DOWN, _ACROSS, _ACROSS, cv2.BORDER_REPLICATE)
    parts = a[: _ROWS * _HEIGHT, : _COLUMNS * _WIDTH].reshape(_ROWS, _HEIGHT, _COLUMNS, _WIDTH)
    spreads = parts.std(axis=(1, 3))
    best = []
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            if spreads[row, column] < _FLAT:
                continue
            top, left = row * _HEIGHT, column * _WIDTH
            block = a[top : top + _HEIGHT, left : left + _WIDTH]
            place = around[top : top + _HEIGHT + 2 * _DOWN, left : left + _WIDTH + 2 * _ACROSS]
            found = cv2.matchTemplate(place, block, cv2.TM_CCOEFF_NORMED)
            highest = float(found.max())
            # Over a flat place it is not a number, or any number.
            if not highest <= 1.001:
                highest = float(found[np.abs(found) <= 1.001].max(initial=0.0))
            best.append(min(1.0, max(0.0, highest)))
    return best
