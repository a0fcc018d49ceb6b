"""Where and when a border passes over the picture, whatever moves on both of its sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.frames import HALF, Floats, Frames
from reelsplit_server.media.detection.gradual import Window

_SIDE = 3
"""So many strides before and after a moment show what changes in it."""
_NEAR = 1.5
"""Strides around the moment at which the border reaches a place."""
_LEAST_VARIANCE = 0.05
"""Less than this, in squares of strides, is no order of times."""
_FLOOR = 48.0
"""A change on the scale of the quarter-size luma, sixteen times its value, that anything makes."""


def _shapes() -> NDArray[np.float32]:
    height, width = HALF[0] // 2, HALF[1] // 2
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (columns.ravel() / (width - 1) - 0.5) * 16 / 9
    y = rows.ravel() / (height - 1) - 0.5
    one, none = np.ones_like(x), np.zeros_like(x)
    turn = np.arctan2(x, y)
    fits = [
        (one, x, y),
        (one, np.hypot(x, y), none),
        (one, turn, none),
        (one, np.mod(turn, 2 * np.pi), none),
        (one, np.abs(x), none),
        (one, np.abs(y), none),
    ]
    return np.array(fits, np.float32).swapaxes(1, 2)


_SHAPES = _shapes()


def front_measures(frames: Frames, window: Window) -> dict[str, float]:
    """How far the places of the picture change one after the other, each when a border that
    passes over it would reach it."""
    stride = window.stride
    length = (window.after - window.before) // stride
    reach = 2 * _SIDE
    numbers = window.before + stride * np.arange(-reach, length + reach + 1)
    numbers = np.clip(numbers, frames.first, frames.stop - 1)
    rows = frames.quarters[numbers - frames.first].astype(np.float32)
    change = _changes(rows)
    inside = change[_SIDE + 1 : _SIDE + 1 + length]
    outside = np.concatenate([change[: _SIDE + 1], change[_SIDE + 1 + length :]])
    usual, peak = outside.mean(axis=0), inside.max(axis=0)
    when = (inside.argmax(axis=0) + 0.5).astype(np.float32)
    # What moves as much in the shots themselves says nothing of a border.
    weight = np.maximum(0.0, peak - usual - _FLOOR)
    fit, times, variance = _best_fit(when, weight)
    away = np.abs(np.arange(length)[:, None] + 0.5 - times[None])
    step = np.abs(np.diff(rows[reach : reach + length + 1], axis=0))
    near = away < _NEAR
    at = float((step * near).sum()) / (float(near.sum()) + 1.0)
    off = float((step * ~near).sum()) / (float((~near).sum()) + 1.0)
    low, high = np.quantile(times, [0.05, 0.95])
    return {
        "front_fit": fit,
        "front_gain": at / (off + 8.0),
        "front_span": float(high - low) / length,
        "front_share": float((weight > 0).mean()),
        "front_rise": float(peak.mean()) / (float(usual.mean()) + 16.0),
        "front_error": float(np.sqrt((1.0 - fit) * variance)) / length,
    }


def _changes(rows: Floats) -> Floats:
    """How much each place differs between some frames before and some after a moment: for each
    moment with enough of both."""
    total = np.concatenate([np.zeros((1, rows.shape[1]), np.float32), np.cumsum(rows, axis=0)])
    means = (total[_SIDE:] - total[:-_SIDE]) / _SIDE
    apart: Floats = np.abs(means[_SIDE:] - means[:-_SIDE])
    return apart


def _best_fit(when: Floats, weight: Floats) -> tuple[float, Floats, float]:
    """The share of the variance of times that the best of the shapes explains, its times, and
    the variance."""
    total = float(weight.sum()) + 1e-3
    middle = float(weight @ when) / total
    variance = float(weight @ (when - middle) ** 2) / total
    best, times = 0.0, np.full_like(when, middle)
    if variance <= _LEAST_VARIANCE:
        return best, times, variance
    for shape in _SHAPES:
        weighted = shape * weight[:, None]
        normal = shape.T @ weighted + (1e-3 * total / len(when)) * np.eye(3, dtype=np.float32)
        fitted = shape @ np.linalg.solve(normal, weighted.T @ when)
        fit = 1.0 - float(weight @ (when - fitted) ** 2) / (variance * total)
        if fit > best:
            best, times = fit, fitted
    return best, times, variance
