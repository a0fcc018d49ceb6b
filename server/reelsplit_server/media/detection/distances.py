"""How different two frames look."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from reelsplit_server.media.detection.frames import (
    BINS,
    CELLS,
    CHROMA_SIZE,
    HALF,
    LUMA_SIZE,
    Bytes,
    Floats,
    Frames,
    Numbers,
)

_MATCHING_CELLS = 2
"""So many cells that agree best do not count: a black bar, a standing logo."""

_BLANK = 10.0
"""The spread, on the scale of the half-size luma, below which a cell shows nothing."""


def distance(frames: Frames, before: Numbers, after: Numbers) -> Floats:
    """For each pair of frame numbers: about 1 where the pictures have nothing in common, below
    0.1 within a calm shot; 0 for the same picture."""
    a, b = before - frames.first, after - frames.first
    pixels = difference(frames.planes[a], frames.planes[b])
    return _combined(pixels, cells(frames.histograms[a], frames.histograms[b]))


def difference(a: Bytes, b: Bytes) -> Floats:
    """The mean absolute differences of luma and both chroma, added up, for rows of planes."""
    if not len(a):
        return np.empty(0, np.float32)
    apart = cv2.absdiff(np.ascontiguousarray(a), np.ascontiguousarray(b)).reshape(len(a), -1)
    luma = apart[:, :LUMA_SIZE].sum(axis=1, dtype=np.int32)
    chroma = apart[:, LUMA_SIZE:].sum(axis=1, dtype=np.int32)
    return cast(Floats, (luma / LUMA_SIZE + chroma / CHROMA_SIZE).astype(np.float32))


def cells(a: Bytes, b: Bytes) -> Floats:
    """How differently the colours are spread in each cell, 0 to 1: shape (pairs, 12)."""
    if not len(a):
        return np.empty((0, CELLS), np.float32)
    apart = cv2.absdiff(np.ascontiguousarray(a), np.ascontiguousarray(b))
    totals = apart.reshape(len(a), CELLS, BINS).sum(axis=2, dtype=np.int32)
    return cast(Floats, (totals / 768.0).astype(np.float32))


def structure(frames: Frames, before: int, after: int) -> float:
    """The correlation of two frames' luma, -1 to 1; about 0 where one of them is flat."""
    a = frames.halves[before - frames.first].astype(np.float32)
    b = frames.halves[after - frames.first].astype(np.float32)
    a -= a.mean()
    b -= b.mean()
    return float(a @ b) / (float(np.sqrt(float(a @ a) * float(b @ b))) + 1.0)


def stillness(frames: Frames, before: int, after: int) -> float:
    """How little the calmest third of the picture changes, against the whole: 0.05 where it
    stands still, as beside a caption, about 0.5 where all of it changes. What shows nothing, as
    black bars do, is left out."""
    a, b = _in_cells(frames, before), _in_cells(frames, after)
    shown = np.maximum(a.std(axis=1), b.std(axis=1)) > _BLANK
    if shown.sum() < 3:
        return 0.5
    apart = np.sort(np.abs(a - b).mean(axis=1)[shown])
    return float(apart[: len(apart) // 3].mean()) / (float(apart.mean()) + 4.0) + 0.05


def breadth(frames: Frames, number: int) -> float:
    """The share of the picture, among what shows something, that changes much more into this
    frame than from frame to frame beside it: small where only a caption comes up."""
    low, high = max(frames.first, number - 3), min(frames.stop, number + 3)
    rows = frames.halves[low - frames.first : high - frames.first].astype(np.float32)
    apart = np.abs(np.diff(rows, axis=0))
    size = (len(apart), 6, HALF[0] // 6, 8, HALF[1] // 8)
    each = apart.reshape(size).mean(axis=(2, 4)).reshape(len(apart), 48)
    at = number - 1 - low
    usual = np.delete(each, at, axis=0)
    shown = np.maximum(
        _in_cells(frames, number - 1, 6, 8).std(axis=1), _in_cells(frames, number, 6, 8).std(axis=1)
    )
    shown = shown > _BLANK
    if shown.sum() < 6 or not len(usual):
        return 0.5
    much = each[at] > 2.0 * usual.max(axis=0) + _BLANK
    return float(much[shown].mean())


def changed_share(frames: Frames, before: int, after: int) -> float:
    """The share of the picture, among what shows something, that is not the same any more."""
    a, b = _in_cells(frames, before, 6, 8), _in_cells(frames, after, 6, 8)
    shown = np.maximum(a.std(axis=1), b.std(axis=1)) > _BLANK
    if not shown.any():
        return 1.0
    return float((np.abs(a - b).mean(axis=1)[shown] > _BLANK).mean())


def _in_cells(frames: Frames, number: int, down: int = 3, across: int = 4) -> Floats:
    """A frame's luma, four times its value, cell by cell: shape (cells, pixels of each)."""
    rows, columns = HALF[0] // down, HALF[1] // across
    cut = frames.half(number).reshape(down, rows, across, columns).swapaxes(1, 2)
    return cut.reshape(down * across, rows * columns).astype(np.float32)


def distance_of(a: tuple[Bytes, Bytes], b: tuple[Bytes, Bytes]) -> float:
    """`distance` of two frames that are given as planes and histogram."""
    pixels = difference(a[0][None], b[0][None])
    return float(_combined(pixels, cells(a[1][None], b[1][None]))[0])


def _combined(pixels: Floats, apart: Floats) -> Floats:
    colours = np.sort(apart, axis=1)[:, _MATCHING_CELLS:].mean(axis=1)
    return cast(Floats, np.sqrt(np.minimum(pixels / 60.0, 2.0) * colours * 1.6))
