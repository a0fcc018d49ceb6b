"""From decoded frames to the pictures that PySceneDetect's detectors look at.

The result is to the bit what its own `pyav` backend and `SceneManager` make of a frame: a
full-size BGR conversion, cropped, then scaled down bilinearly. What is saved is what does not
show in it: a converter with threads of its own for each frame, and copies of full-size pictures.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from reelsplit_server.media.errors import MediaError

Picture = NDArray[np.uint8]
Crop = tuple[int, int, int, int]
_WIDTH = 256
"""The library's own: the longer side of a picture that is scaled down."""


class PictureMaker:
    """Makes pictures of one size out of frames, whatever size and format each of them has."""

    def __init__(self, first: VideoFrame, *, crop: Crop | None, downscale: int | None) -> None:
        """Size and scale follow from the first frame.

        Raises `MediaError` with ``CROP_OUTSIDE_SOURCE`` where nothing is left to look at.
        """
        self._size = (first.width, first.height)
        self._reformatter = VideoReformatter()
        width, height = self._size
        left, top, right, bottom = 0, 0, width, height
        if crop is not None:
            left, top = crop[0], crop[1]
            right, bottom = min(width, left + crop[2]), min(height, top + crop[3])
            if not (0 <= left < right and 0 <= top < bottom):
                raise MediaError(
                    "CROP_OUTSIDE_SOURCE",
                    f"The crop {crop} lies outside the source's picture of {width}x{height}.",
                )
        self._area = (slice(top, bottom), slice(left, right))
        factor = _factor((right - left, bottom - top), crop, self._size, downscale)
        self._scaled: tuple[int, int] | None = None
        if factor > 1.0:
            self._scaled = (
                max(1, round((right - left) / factor)),
                max(1, round((bottom - top) / factor)),
            )

    def make(self, frame: VideoFrame) -> Picture:
        """The picture of a frame: shape (height, width, 3), BGR, never shared with the frame."""
        width, height = self._size
        # One thread: swscale's own would fight the decoder's for the cores.
        converted = self._reformatter.reformat(
            frame, width=width, height=height, format="bgr24", threads=1
        )
        part = _pixels(converted)[self._area]
        if self._scaled is None:
            return part.copy()
        return cast(Picture, cv2.resize(part, self._scaled, interpolation=cv2.INTER_LINEAR))


def _factor(
    area: tuple[int, int], crop: Crop | None, size: tuple[int, int], downscale: int | None
) -> float:
    """By how much the library divides the picture's sides."""
    if downscale is not None:
        return float(downscale)
    if crop is not None:
        # Its own count of a cropped picture's pixels is one too high unless the crop ends at
        # the border or beyond; the same results need the same count.
        area = (
            1 + min(crop[0] + crop[2], size[0]) - crop[0],
            1 + min(crop[1] + crop[3], size[1]) - crop[1],
        )
    return max(1.0, max(area) / _WIDTH)


def _pixels(frame: VideoFrame) -> Picture:
    """A BGR frame's pixels without copying: shape (height, width, 3)."""
    plane = frame.planes[0]
    flat = np.frombuffer(memoryview(plane), dtype=np.uint8)
    shape, strides = (frame.height, frame.width, 3), (plane.line_size, 3, 1)
    return np.lib.stride_tricks.as_strided(flat, shape, strides)
