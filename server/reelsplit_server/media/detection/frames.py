"""The frames that are still looked at, and what is measured of each of them by itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.strip import CHROMA, LUMA, Strip

LUMA_SIZE = LUMA[0] * LUMA[1]
CHROMA_SIZE = CHROMA[0] * CHROMA[1]
PIXELS = LUMA_SIZE + 2 * CHROMA_SIZE

HALF = (LUMA[0] // 2, LUMA[1] // 2)
HALF_SIZE = HALF[0] * HALF[1]
QUARTER_SIZE = HALF_SIZE // 4

CELLS = 12
"""Three rows of four."""
_LUMA_BINS, _CHROMA_BINS = 16, 32
BINS = _LUMA_BINS + 2 * _CHROMA_BINS

Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Sums = NDArray[np.int16]


class Frames:
    """A window of frames, addressed by their numbers, that slides over the video."""

    def __init__(self, first: int) -> None:
        self.first = first
        """The number of the oldest frame that is kept."""
        self.planes: Bytes = np.empty((0, PIXELS), np.uint8)
        """Shape (frames, 3456): luma, then both chroma."""
        self.histograms: Bytes = np.empty((0, CELLS * BINS), np.uint8)
        """Shape (frames, 960): for each cell the pixels of each luma bin, then twice those of
        each chroma bin, which counts a chroma plane half."""
        self.halves: Sums = np.empty((0, HALF_SIZE), np.int16)
        """Shape (frames, 576): the luma at half its size, four times its value."""
        self.quarters: Sums = np.empty((0, QUARTER_SIZE), np.int16)
        """Shape (frames, 144): at a quarter of its size, sixteen times its value."""
        self.mean: Floats = np.empty(0, np.float32)
        """Shape (frames,), as is `spread`: mean and standard deviation of the luma."""
        self.spread: Floats = np.empty(0, np.float32)

    @property
    def stop(self) -> int:
        """The number of the frame after the newest."""
        return self.first + len(self.planes)

    def append(self, planes: Bytes) -> None:
        """Measure and keep the next frames, of the shape of `planes`."""
        luma = planes[:, :LUMA_SIZE]
        # Exact whatever the number of frames: whole numbers until the last step.
        total = luma.sum(axis=1, dtype=np.int64)
        squares = np.einsum("ij,ij->i", luma, luma, dtype=np.int64, casting="unsafe")
        mean = total / LUMA_SIZE
        spread = np.sqrt(np.maximum(squares / LUMA_SIZE - mean * mean, 0.0))
        self.planes = np.concatenate([self.planes, planes])
        self.histograms = np.concatenate([self.histograms, _histograms(planes)])
        halves = _shrunk(luma, LUMA)
        self.halves = np.concatenate([self.halves, halves])
        self.quarters = np.concatenate([self.quarters, _shrunk(halves, HALF)])
        self.mean = np.concatenate([self.mean, mean.astype(np.float32)])
        self.spread = np.concatenate([self.spread, spread.astype(np.float32)])

    def forget(self, before: int) -> None:
        """Let go of the frames before this number."""
        count = before - self.first
        if count > 0:
            self.first = before
            self.planes = self.planes[count:]
            self.histograms = self.histograms[count:]
            self.halves, self.quarters = self.halves[count:], self.quarters[count:]
            self.mean, self.spread = self.mean[count:], self.spread[count:]

    def without(self, number: int, reach: int) -> Frames:
        """Those up to `reach` before and after a frame, as if it had never been there: the ones
        after it have a number that is smaller by one."""
        at = number - self.first
        low, high = max(0, at - reach), at + 1 + reach
        return self._of(np.r_[low:at, at + 1 : min(high, len(self.planes))], self.first + low)

    def only(self, places: Numbers, number: int) -> Frames:
        """Those at some places of the window, in order, as if there were no others; the frame of
        this number is one of them and keeps it."""
        return self._of(places, number - int(np.searchsorted(places, number - self.first)))

    def _of(self, kept: Numbers, first: int) -> Frames:
        rest = Frames(first)
        rest.planes, rest.histograms = self.planes[kept], self.histograms[kept]
        rest.halves, rest.quarters = self.halves[kept], self.quarters[kept]
        rest.mean, rest.spread = self.mean[kept], self.spread[kept]
        return rest

    def luma(self, number: int) -> Bytes:
        """The luma of a frame, shape (36, 64)."""
        return self.planes[number - self.first, :LUMA_SIZE].reshape(LUMA)

    def half(self, number: int) -> Sums:
        """The luma of a frame at half its size, four times its value: shape (18, 32)."""
        row: Sums = self.halves[number - self.first]
        return row.reshape(HALF)


def flat(strip: Strip) -> Bytes:
    """The planes of a strip's frames, one row of 3456 values for each."""
    count = len(strip)
    return np.concatenate(
        [plane.reshape(count, -1) for plane in (strip.y, strip.u, strip.v)], axis=1
    )


def _shrunk(rows: NDArray[np.integer], size: tuple[int, int]) -> Sums:
    """Pictures of a size at half of it, as sums of four."""
    four: Sums = rows.reshape(len(rows), size[0] // 2, 2, size[1] // 2, 2).astype(np.int16)
    pairs: Sums = four[:, :, 0] + four[:, :, 1]
    sums: Sums = pairs[..., 0] + pairs[..., 1]
    return sums.reshape(len(rows), size[0] * size[1] // 4)


def _cell_map(shape: tuple[int, int]) -> NDArray[np.int32]:
    rows = np.arange(shape[0]) * 3 // shape[0]
    columns = np.arange(shape[1]) * 4 // shape[1]
    return (rows[:, None] * 4 + columns[None, :]).astype(np.int32)


# For each value of a frame: where the bins of its cell and plane begin, and its share.
_OFFSETS = np.concatenate(
    [
        (_cell_map(LUMA) * BINS).ravel(),
        (_cell_map(CHROMA) * BINS + _LUMA_BINS).ravel(),
        (_cell_map(CHROMA) * BINS + _LUMA_BINS + _CHROMA_BINS).ravel(),
    ]
)
_LUMA_SHIFT, _CHROMA_SHIFT = 4, 3
_WEIGHT = np.tile(
    np.concatenate([np.ones(_LUMA_BINS), np.full(2 * _CHROMA_BINS, 2)]).astype(np.uint8), CELLS
)


def _histograms(planes: Bytes) -> Bytes:
    count = len(planes)
    bins = np.empty(planes.shape, np.int32)
    np.right_shift(planes[:, :LUMA_SIZE], _LUMA_SHIFT, out=bins[:, :LUMA_SIZE], casting="unsafe")
    np.right_shift(planes[:, LUMA_SIZE:], _CHROMA_SHIFT, out=bins[:, LUMA_SIZE:], casting="unsafe")
    bins += _OFFSETS
    bins += (np.arange(count, dtype=np.int32) * (CELLS * BINS))[:, None]
    counted = np.bincount(bins.ravel(), minlength=count * CELLS * BINS)
    # At most 192 luma and 2 * 48 chroma pixels: they fit a byte.
    return counted.reshape(count, -1).astype(np.uint8) * _WEIGHT
