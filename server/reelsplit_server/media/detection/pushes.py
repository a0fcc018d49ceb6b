"""Pushes, covers and slides: the new picture moves in, and the old one out or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.frames import Frames
from reelsplit_server.media.detection.gradual import Window

_MOST_REST = 0.45
"""The share of the change that a composed middle frame may leave unexplained."""


def push_measures(frames: Frames, window: Window) -> dict[str, float] | None:
    """How far a window's frames are its two ends side by side, moved; None where they are not."""
    numbers = window.numbers
    a, b = (frames.luma(n).astype(np.int16) for n in (window.before, window.after))
    size = float(np.abs(a - b).mean()) + 1e-6
    count = len(numbers)
    middle, *others = (
        frames.luma(int(numbers[round(part * (count - 1))])).astype(np.int16)
        for part in (0.5, 0.25, 0.75)
    )
    best = (np.inf, 0, False, False, False, 0.0)
    for across in (True, False):
        for new_first in (True, False):
            costs = _costs(a, b, middle, across, new_first)
            for mode, cost in enumerate(costs):
                least = int(cost.argmin())
                if cost[least] < best[0]:
                    best = (float(cost[least]), mode, across, new_first, True, least / len(cost))
    rest, mode, across, new_first, _, offset = best
    if rest / size > _MOST_REST or not 0.15 < offset < 0.85:
        return None
    rests, offsets = [rest / size], [offset]
    for picture in others:
        cost = _costs(a, b, picture, across, new_first)[mode]
        least = int(cost.argmin())
        rests.append(float(cost[least]) / size)
        offsets.append(least / len(cost))
    line = float(np.abs(np.array(offsets) - np.array([0.5, 0.25, 0.75])).max())
    if line > 0.3 or not offsets[1] < offset < offsets[2]:
        return None
    return {
        "rest": rests[0],
        "rest_most": max(rests),
        "line": line,
        "seam": _seam(a, b, across, new_first),
        "slides": float(mode > 0),
    }


def _costs(
    a: NDArray[np.int16],
    b: NDArray[np.int16],
    picture: NDArray[np.int16],
    across: bool,
    new_first: bool,
) -> list[NDArray[np.float64]]:
    """The mean difference of a picture from both ends side by side, for each number of columns
    (or rows) that the new one covers: both move; only the new one does; only the old one does.

    `new_first` says that the new one comes in from the left or the top.
    """
    if not across:
        a, b, picture = a.T, b.T, picture.T
    if new_first:
        a, b, picture = a[:, ::-1], b[:, ::-1], picture[:, ::-1]
    # The new one comes in from the right: [column of an end, column of the picture].
    from_a = np.abs(a[:, :, None] - picture[:, None, :]).sum(axis=0, dtype=np.int64)
    from_b = np.abs(b[:, :, None] - picture[:, None, :]).sum(axis=0, dtype=np.int64)
    width = a.shape[1]
    still_a = np.concatenate([[0], np.cumsum(np.diagonal(from_a))])
    still_b = np.concatenate([[0], np.cumsum(np.diagonal(from_b))])
    covered = np.arange(width + 1)
    moved_a = np.array([np.trace(from_a, offset=-n) for n in covered])
    moved_b = np.array([np.trace(from_b, offset=width - n) for n in covered])
    area = float(a.size)
    return [
        (moved_a + moved_b) / area,
        (still_a[width - covered] + moved_b) / area,
        (moved_a + still_b[width] - still_b[width - covered]) / area,
    ]


def _seam(a: NDArray[np.int16], b: NDArray[np.int16], across: bool, new_first: bool) -> float:
    """How much the pictures differ where they meet, against neighbouring columns of each: about 1
    where one goes on in the other, as in a pan."""
    if not across:
        a, b = a.T, b.T
    if new_first:
        a, b = a[:, ::-1], b[:, ::-1]
    usual = float(np.abs(np.diff(a)).mean() + np.abs(np.diff(b)).mean()) / 2.0
    return float(np.abs(a[:, -1] - b[:, 0]).mean()) / (usual + 2.0)
