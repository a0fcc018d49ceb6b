"""Wipes, irises and clocks: a border passes over the picture, with the new shot behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.frames import HALF, Frames
from reelsplit_server.media.detection.gradual import Window

_MOST_REST = 0.45
"""The share of the change that composed frames may leave unexplained."""
_LARGEST_LEAP = 12.0
"""How many times its even pace a border may pass at once: more is a cut."""


def _shapes() -> list[NDArray[np.float32]]:
    """The ways in which a border may pass, as columns for a linear fit of the time at which it
    reaches each place: shape (576, 2 or 3) each."""
    rows, columns = np.mgrid[0 : HALF[0], 0 : HALF[1]].astype(np.float32)
    x = (columns.ravel() / (HALF[1] - 1) - 0.5) * 16 / 9
    y = rows.ravel() / (HALF[0] - 1) - 0.5
    one = np.ones_like(x)
    turn = np.arctan2(x, y)
    fits = [
        (one, x, y),
        (one, np.hypot(x, y)),
        (one, turn),
        (one, np.mod(turn, 2 * np.pi)),
        (one, np.abs(x)),
        (one, np.abs(y)),
    ]
    return [np.stack(columns, axis=1).astype(np.float32) for columns in fits]


_SHAPES = _shapes()


def wipe_measures(frames: Frames, window: Window) -> dict[str, float] | None:
    """How far a window's frames are composed of its two ends, with a border that passes evenly;
    None where they are not."""
    luma = frames.halves[window.numbers - frames.first].astype(np.int16)
    a, b = luma[0], luma[-1]
    inner = luma[1:-1]
    from_a, from_b = np.abs(inner - a), np.abs(inner - b)
    weight = np.abs(a - b).astype(np.float32)
    total = float(weight.sum()) + 1.0
    composite = float(np.minimum(from_a, from_b).sum()) / (total * len(inner))
    if composite > _MOST_REST:
        return None
    new = from_b < from_a
    share = new @ weight / total
    place = np.arange(1, len(share) + 1) / (len(share) + 1)
    line = float(np.abs(share - place).mean())
    rises = np.diff(np.concatenate([[0.0], share, [1.0]]))
    leap = float(rises.max()) * (len(share) + 1)
    if line > 0.3 or leap > _LARGEST_LEAP:
        return None
    when = (~new).sum(axis=0).astype(np.float32)
    turns = float(np.abs(np.diff(new, axis=0)).sum(axis=0) @ weight) / total
    return {
        "composite": composite,
        "line": line,
        "back": float(max(0.0, -rises.min())),
        "leap": leap,
        "turns": turns,
        "fit": _best_fit(when, weight),
    }


def _best_fit(when: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """The share of the variance of times that the best of the shapes explains."""
    total = float(weight.sum()) + 1e-6
    middle = float(weight @ when) / total
    variance = float(weight @ (when - middle) ** 2)
    if variance <= 0.05 * total:
        return 0.0
    best = 0.0
    for shape in _SHAPES:
        weighted = shape * weight[:, None]
        normal = shape.T @ weighted + 1e-3 * np.eye(shape.shape[1], dtype=np.float32)
        rest = when - shape @ np.linalg.solve(normal, weighted.T @ when)
        best = max(best, 1.0 - float(weight @ rest**2) / variance)
    return best
