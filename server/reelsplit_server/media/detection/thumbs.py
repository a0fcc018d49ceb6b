"""From decoded frames to the small pictures that the detector looks at.

Nothing is converted at full size: a few thousand samples are picked at even distances from the
decoder's own planes, and averaged by area.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from reelsplit_server.media.detection.strip import CHROMA, LUMA, Strip
from reelsplit_server.media.errors import MediaError

Plane = NDArray[np.uint8]
Thumb = tuple[Plane, Plane, Plane]
"""Luma of shape (36, 64), and two chroma of shape (18, 32)."""
Crop = tuple[int, int, int, int]

_OVERSAMPLING = 4
"""Samples a side that are averaged into one pixel, where the source has as many."""


class ThumbMaker:
    """Makes small pictures of frames, whatever size and format each of them has."""

    def __init__(
        self, first: VideoFrame, *, crop: Crop | None = None, downscale: int | None = None
    ) -> None:
        """`crop` is (left, top, width, height) in pixels of the first frame; on a frame of
        another size it covers the same part of the picture. With `downscale`, samples lie at
        least as many pixels apart.

        Raises `MediaError` with ``CROP_OUTSIDE_SOURCE`` where nothing is left to look at.
        """
        self._area = (0.0, 0.0, 1.0, 1.0)
        if crop is not None:
            width, height = first.width, first.height
            left, top = crop[0], crop[1]
            right, bottom = min(width, left + crop[2]), min(height, top + crop[3])
            if not (0 <= left < right and 0 <= top < bottom):
                raise MediaError(
                    "CROP_OUTSIDE_SOURCE",
                    f"The crop {crop} lies outside the source's picture of {width}x{height}.",
                )
            self._area = (left / width, top / height, right / width, bottom / height)
        self._downscale = max(1, downscale or 1)
        self._reformatter = VideoReformatter()

    def make(self, frame: VideoFrame) -> Thumb:
        """The small picture of a frame, in memory of its own.

        Raises `MediaError` with ``SOURCE_FORMAT_REFUSED`` for pixels that cannot be read.
        """
        layout = _layout(frame.format.name)
        if layout is None:
            frame, layout = self._converted(frame), _CONVERTED
        channels = _channels(frame, layout)
        if layout.rgb:
            red, green, blue = (self._small(part, layout, frame.width, LUMA) for part in channels)
            return _to_yuv(red, green, blue)
        y = self._small(channels[0], layout, frame.width, LUMA)
        if len(channels) == 1:
            return y, np.full(CHROMA, 128, np.uint8), np.full(CHROMA, 128, np.uint8)
        u, v = (self._small(part, layout, frame.width, CHROMA) for part in channels[1:])
        return y, u, v

    def _converted(self, frame: VideoFrame) -> VideoFrame:
        """A frame of an uncommon format in a common one, no larger than is looked at."""
        left, top, right, bottom = self._area
        width = min(frame.width, int(LUMA[1] * _OVERSAMPLING / (right - left)) + 1)
        height = min(frame.height, int(LUMA[0] * _OVERSAMPLING / (bottom - top)) + 1)
        try:
            # One thread: swscale's own would fight the decoder's for the cores.
            return self._reformatter.reformat(
                frame, width=width, height=height, format="yuv444p", threads=1
            )
        except (FFmpegError, ValueError) as error:
            raise MediaError(
                "SOURCE_FORMAT_REFUSED",
                f"Frames in the pixel format {frame.format.name} cannot be looked at: {error}",
            ) from error

    def _small(
        self, plane: NDArray[Any], layout: _Layout, width: int, shape: tuple[int, int]
    ) -> Plane:
        """The looked-at part of a plane of a picture of this `width`, at `shape`, in 8 bits."""
        # A subsampled plane has its samples further apart already.
        apart = max(1, self._downscale * plane.shape[1] // width)
        rows = _spread(plane.shape[0], self._area[1], self._area[3], shape[0], apart)
        columns = _spread(plane.shape[1], self._area[0], self._area[2], shape[1], apart)
        picked = plane[rows, columns]
        if layout.shift:
            picked = (picked >> layout.shift).astype(np.uint8)
        small = cv2.resize(np.ascontiguousarray(picked), shape[::-1], interpolation=cv2.INTER_AREA)
        return cast(Plane, small)


class StripBuilder:
    """Gathers small pictures into strips."""

    def __init__(self, first: int = 0) -> None:
        """`first` is the number of the first frame that will be added."""
        self._first = first
        self._pts: list[int] = []
        self._thumbs: list[Thumb] = []

    def __len__(self) -> int:
        return len(self._pts)

    def add(self, pts: int, thumb: Thumb) -> None:
        """Add the next frame."""
        self._pts.append(pts)
        self._thumbs.append(thumb)

    def take(self) -> Strip:
        """All frames since the last time, perhaps none."""
        count = len(self._pts)
        y, u, v = (
            np.stack([thumb[part] for thumb in self._thumbs])
            if count
            else np.empty((0, *shape), np.uint8)
            for part, shape in enumerate((LUMA, CHROMA, CHROMA))
        )
        strip = Strip(first=self._first, pts=np.array(self._pts, np.int64), y=y, u=u, v=v)
        self._first += count
        self._pts, self._thumbs = [], []
        return strip


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a format keeps the samples of its components."""

    places: tuple[tuple[int, int], ...]
    """For each of Y, U, V or R, G, B: its first sample in a row, and how many to the next."""
    bits: int = 8
    high: bool = False
    """The value lies in the upper bits."""
    big: bool = False
    """The high byte comes first."""
    rgb: bool = False

    @property
    def shift(self) -> int:
        """What takes a value to 8 bits."""
        return 8 if self.high and self.bits > 8 else self.bits - 8

    @property
    def dtype(self) -> str:
        return "u1" if self.bits == 8 else ">u2" if self.big else "<u2"


_PLANAR = ((0, 1),) * 3
_CONVERTED = _Layout(_PLANAR)

_PLANAR_NAME = re.compile(r"(?:yuva?|yuvj|gbra?)(?:4\d\d)?p(\d+)?(le|be)?")
_GRAY_NAME = re.compile(r"gray(\d+)?(le|be)?")
_PAIRED_NAME = re.compile(r"p[024](10|12|16)(le|be)")
_PACKED_NAME = re.compile(r"([argb0]{3,4})(24|48|64)?(le|be)?")


@lru_cache(maxsize=64)
def _layout(name: str) -> _Layout | None:
    """How the pixel format `name` is read; None for an uncommon one."""
    if found := _PLANAR_NAME.fullmatch(name):
        bits, order = int(found[1] or 8), found[2]
        return _Layout(_PLANAR, bits, big=order == "be", rgb=name.startswith("gbr"))
    if found := _GRAY_NAME.fullmatch(name):
        return _Layout(((0, 1),), int(found[1] or 8), big=found[2] == "be")
    if name in ("nv12", "nv16", "nv24"):
        return _Layout(((0, 1), (0, 2), (1, 2)))
    if name in ("nv21", "nv42"):
        return _Layout(((0, 1), (1, 2), (0, 2)))
    if found := _PAIRED_NAME.fullmatch(name):
        return _Layout(((0, 1), (0, 2), (1, 2)), int(found[1]), high=True, big=found[2] == "be")
    if name == "yuyv422":
        return _Layout(((0, 2), (1, 4), (3, 4)))
    if name == "uyvy422":
        return _Layout(((1, 2), (0, 4), (2, 4)))
    if found := _PACKED_NAME.fullmatch(name):
        order, step = found[1], len(found[1])
        if all(letter in order for letter in "rgb"):
            bits = 16 if found[2] in ("48", "64") else 8
            places = tuple((order.index(letter), step) for letter in "rgb")
            return _Layout(places, bits, big=found[3] == "be", rgb=True)
    return None


def _channels(frame: VideoFrame, layout: _Layout) -> list[NDArray[Any]]:
    """The components' samples at full size, without copying."""
    planes = frame.planes
    channels = []
    for component, (offset, step) in zip(frame.format.components, layout.places, strict=False):
        plane = planes[component.plane]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        if plane.line_size < 0:
            rows = rows[::-1]
        samples = rows[:, : rows.shape[1] // 2 * 2].view(layout.dtype)
        channels.append(samples[: component.height, offset::step][:, : component.width])
    return channels


@lru_cache(maxsize=64)
def _spread(length: int, low: float, high: float, target: int, apart: int) -> slice:
    """Which of `length` rows or columns are looked at, of the part from `low` to `high`."""
    start = min(length - 1, int(low * length + 1e-6))
    stop = max(start + 1, min(length, int(np.ceil(high * length - 1e-6))))
    step = max(1, (stop - start) // (target * _OVERSAMPLING), apart)
    # What the steps leave over is shared by both ends.
    return slice(start + (stop - start - 1) % step // 2, stop, step)


def _to_yuv(red: Plane, green: Plane, blue: Plane) -> Thumb:
    """Small full-size planes of a picture in RGB as BT.601 codes them at full range."""
    r, g, b = (part.astype(np.float32) for part in (red, green, blue))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    chroma = (128 + 0.564 * (b - y), 128 + 0.713 * (r - y))
    u, v = (
        np.clip(cv2.resize(part, CHROMA[::-1], interpolation=cv2.INTER_AREA), 0, 255)
        for part in chroma
    )
    return (
        np.rint(y).astype(np.uint8),
        np.rint(u).astype(np.uint8),
        np.rint(v).astype(np.uint8),
    )
