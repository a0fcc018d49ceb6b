"""From the small pictures of a strip to what a neural net looks at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.strip import CHROMA, LUMA, Strip

PICTURE = (27, 48)
"""Rows and columns of a picture: three quarters of a strip's."""

Pictures = NDArray[np.uint8]
"""Frames in RGB, shape (frames, 27, 48, 3)."""

Plane = NDArray[np.uint8]

_TOGETHER = 64
"""Frames that are scaled at once."""


def pictures(strip: Strip) -> Pictures:
    """The frames of a strip, each scaled by area from nothing but itself."""
    made = [
        _scaled(
            strip.y[at : at + _TOGETHER], strip.u[at : at + _TOGETHER], strip.v[at : at + _TOGETHER]
        )
        for at in range(0, len(strip), _TOGETHER)
    ]
    return np.concatenate([np.empty((0, *PICTURE, 3), np.uint8), *made])


def _scaled(first: Plane, second: Plane, third: Plane) -> Pictures:
    # One below the other: four rows become three, so that no row is made of two frames.
    luma = first.reshape(-1, LUMA[1])
    chroma = [
        plane.reshape(-1, CHROMA[1]).repeat(2, axis=0).repeat(2, axis=1)
        for plane in (second, third)
    ]
    rows = len(first) * PICTURE[0]
    y, u, v = (
        cv2.resize(plane.astype(np.float32), (PICTURE[1], rows), interpolation=cv2.INTER_AREA)
        for plane in (luma, *chroma)
    )
    # BT.601 at limited range, whatever the source says: other matrices and ranges shift the
    # colours of a whole video by a few values, and the net compares frames. Each value from
    # nothing but its pixel, in steps that round alike in blocks of all sizes.
    y = (y - 16.0) * 1.164
    u, v = u - 128.0, v - 128.0
    colours = np.stack([y + v * 1.596, y - u * 0.392 - v * 0.813, y + u * 2.017], axis=-1)
    made: Pictures = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    return made.reshape(-1, *PICTURE, 3)
