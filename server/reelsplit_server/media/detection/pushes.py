"""Pushes, covers and slides: the new picture moves in, and the old one out or not."""

from __future__ import annotations

import numpy as np

from reelsplit_server.media.detection.frames import Floats, Frames
from reelsplit_server.media.detection.gradual import Window

_MOST_PAIRS = 6
_PARTS = 8
"""A frame is compared with one that lies such a share of the window later: far enough for a
movement by whole pixels, near enough for what moves within a shot."""
_MOST_CHAIN = 0.9
"""The share of what changes that the movement may leave unexplained."""
_PARTLY = (0.25, 0.5, 0.75)
_SLACK = 2
"""Columns by which a border may lie beside its place."""


def push_measures(frames: Frames, window: Window) -> dict[str, float] | None:
    """How far the picture moves through a window by as much as its own size, with the new one
    behind it; None where it does not."""
    count = (window.after - window.before) // window.stride
    numbers = window.numbers
    lag = max(1, round(count / _PARTS))
    starts = np.unique(np.linspace(0, count - lag, _MOST_PAIRS).astype(int)).tolist()
    rows = {n: frames.luma(int(numbers[n])).astype(np.float32) for n in range(count + 1)}
    best: tuple[float, int, bool, bool] = (np.inf, 0, False, False)
    others = []
    for across in (True, False):
        for new_first in (True, False):
            turned = {n: _turned(rows[n], across, new_first) for s in starts for n in (s, s + lag)}
            for mode, rest in enumerate(_chain(turned, starts, lag, count)):
                others.append(rest)
                if rest < best[0]:
                    best = (rest, mode, across, new_first)
    chain, mode, across, new_first = best
    if chain > _MOST_CHAIN:
        return None
    a, b = (_turned(rows[n], across, new_first) for n in (0, count))
    size = float(np.abs(a - b).mean()) + 1.0
    rests, seams = [], []
    for part in _PARTLY:
        at = round(part * count)
        picture = _turned(rows[at], across, new_first)
        rests.append(_composed(a, b, picture, mode, at / count) / size)
        seams.append(_seam(picture, at / count))
    return {
        "chain": chain,
        "lone": chain / (sorted(others)[3] + 0.01),
        "rest": float(np.median(rests)),
        "rest_most": max(rests),
        "seam": float(np.median(seams)),
    }


def _turned(picture: Floats, across: bool, new_first: bool) -> Floats:
    """A picture as if the new one came in from the right."""
    if not across:
        picture = picture.T
    return picture[:, ::-1] if new_first else picture


def _chain(
    pictures: dict[int, Floats], starts: list[int], lag: int, count: int
) -> tuple[float, float, float]:
    """The share of what changes from picture to picture that is left unexplained if both shots
    move; only the new one; only the old one."""
    width = next(iter(pictures.values())).shape[1]
    shift = lag * width / count
    whole, part = int(shift), shift - int(shift)
    rests = np.zeros(3)
    total = 1.0
    valid = width - whole - 1
    for start in starts:
        first, second = pictures[start], pictures[start + lag]
        moved = first[:, whole : whole + valid] * (1 - part) + (
            first[:, whole + 1 : whole + 1 + valid] * part
        )
        goes = np.abs(second[:, :valid] - moved).mean(axis=0)
        stays = np.abs(second - first).mean(axis=0)
        border = round(width * (1 - (start + lag) / count))
        border = min(valid, max(0, border))
        behind = min(width, border + whole + 1)
        total += float(stays[:valid].sum())
        rests += (
            float(goes.sum()),
            float(stays[:border].sum() + goes[border:].sum()),
            float(goes[:border].sum() + stays[behind:].sum()),
        )
    low, middle, high = (rests / total).tolist()
    return low, middle, high


def _composed(a: Floats, b: Floats, picture: Floats, mode: int, part: float) -> float:
    """The mean difference of a picture from both ends side by side."""
    width = a.shape[1]
    best = np.inf
    for slack in range(-_SLACK, _SLACK + 1):
        covered = min(width - 1, max(1, round(part * width) + slack))
        border = width - covered
        old = a[:, :border] if mode == 1 else a[:, covered:]
        new = b[:, border:] if mode == 2 else b[:, :covered]
        rest = np.abs(picture[:, :border] - old).sum() + np.abs(picture[:, border:] - new).sum()
        best = min(best, float(rest) / a.size)
    return best


def _seam(picture: Floats, part: float) -> float:
    """How sharp the border between both shots is, against other neighbouring columns."""
    width = picture.shape[1]
    edges = np.abs(np.diff(picture, axis=1)).mean(axis=0)
    at = round(width * (1 - part)) - 1
    near = edges[max(0, at - _SLACK) : at + _SLACK + 1]
    return float(near.max()) / (float(np.median(edges)) + 2.0)
