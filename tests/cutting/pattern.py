"""Pictures that carry a number and move, so that a frame decoded from a wrong reference shows."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.clips import BITS, write_number

SIZE = (192, 112)
"""Width and height: blocks of a number are 12 by 14 pixels."""

_PERIOD = 768


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Frame `number`, RGB, of shape (height, width, 3): its number above, clouds that drift
    below, three pixels a frame."""
    width, height = size
    columns = (np.arange(width) + 3 * number) % _PERIOD
    drawn = np.ascontiguousarray(_clouds(height)[:, columns])
    write_number(drawn, number)
    return drawn


@cache
def _clouds(height: int) -> NDArray[np.uint8]:
    """Smooth noise without a seam at the ends, RGB, of shape (height, 768, 3)."""
    dice = np.random.default_rng(20)
    spectrum = np.fft.rfft2(dice.standard_normal((3, height, _PERIOD)))
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(_PERIOD)[None, :]
    smooth = np.fft.irfft2(spectrum * np.exp(-((rows**2 + columns**2) * 900)), (height, _PERIOD))
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    return np.moveaxis(np.clip(128 + 40 * smooth, 16, 240), 0, 2).astype(np.uint8)


def number_of(luma: NDArray[np.uint8]) -> int | None:
    """The number in the luma of a decoded frame, shape (height, width); None where it cannot be
    read for sure."""
    height, width = luma.shape
    rows = height // 8
    margin, rim = width // BITS // 4, rows // 4
    wide = width // BITS
    blocks = luma[: 2 * rows, : wide * BITS].reshape(2, rows, BITS, wide)
    means = blocks[:, rim : rows - rim, :, margin : wide - margin].mean(axis=(1, 3))
    apart = means[0] - means[1]
    if np.abs(apart).min() < 24:
        return None
    return int((apart > 0).dot(1 << np.arange(BITS)[::-1]))
