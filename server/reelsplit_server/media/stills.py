"""Small pictures of stretches of a video, one of each: a key frame where a stretch has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av.error
import cv2
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import STEPS_BACK, carried, seek, time_base
from reelsplit_server.media.probe import codec_name

_SIDE = 160
"""The longer side of a picture, in pixels; half of it where there is little room."""
_QUALITIES = (60, 40, 20, 5)
_LEAST, _MOST = 200, 12_000
"""Bytes of one picture."""
_NEAR = Fraction(1, 2)
"""Seconds up to which decoding on is taken to be cheaper than to enter anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Presentation times [start, end) of the source, in ticks of its video."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture as WebP; its size in pixels as it is to be shown."""

    data: bytes
    width: int
    height: int


def take_stills(
    file: BinaryIO,
    stretches: Sequence[Stretch],
    *,
    rotation: int = 0,
    shape: Fraction | None = None,
    room: int = 3_600_000,
) -> Iterator[Picture | None]:
    """A picture of each stretch, in their order, None where there is none to be had.

    Where stretches follow each other in time, one that has a key frame costs one decoded frame,
    any other those from the key frame before it on, and no part of the source is decoded much more
    than twice. ``rotation`` is how many degrees clockwise the picture is turned for showing,
    ``shape`` that of a pixel, width to height. All pictures together have at most ``room`` bytes.
    Raises `MediaError` where the source cannot be opened.
    """
    most = min(_MOST, room // max(1, len(stretches)))
    with open_source(file) as container:
        stream = video_stream(container)
        if codec_name(stream) is None or most < _LEAST:
            yield from (None for _ in stretches)
            return
        # Frames in several threads come out later, and most of them would be for nothing.
        stream.codec_context.thread_type = ThreadType.SLICE
        taker = _Taker(container, stream)
        maker = _Maker(rotation, shape or Fraction(1), most)
        for stretch in stretches:
            frame = taker.frame(stretch)
            yield None if frame is None else maker.make(frame)


class _Taker:
    """Finds one frame of a stretch after the other."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self._base = time_base(stream)
        self._near = round(_NEAR / self._base)
        self._frames: Iterator[VideoFrame] = iter(())
        self._reached: int | None = None

    def frame(self, stretch: Stretch) -> VideoFrame | None:
        """The first frame at hand of a stretch."""
        reached = self._reached
        if reached is not None and 0 <= stretch.start - reached <= self._near:
            return self._next(stretch)
        middle = (stretch.start + stretch.end) // 2
        for back in STEPS_BACK:
            first = self._enter(middle - round(back / self._base))
            if first is None:
                continue
            if reached is not None and first <= reached <= stretch.start:
                # It led back behind what was decoded: next time rather go on for longer.
                self._near *= 2
            if first < stretch.end:
                return self._next(stretch)
        return None

    def _enter(self, target: int) -> int | None:
        """Go to a key frame near a time; answers the time of the first frame from there on."""
        self._frames, self._reached = iter(()), None
        if not seek(self._container, self._stream, target, self._base):
            return None
        self._frames = self._decoded()
        frame = next(self._frames, None)
        if frame is None or frame.pts is None:
            return None
        self._frames = _behind(frame, self._frames)
        return frame.pts

    def _next(self, stretch: Stretch) -> VideoFrame | None:
        for frame in self._frames:
            assert frame.pts is not None
            self._reached = frame.pts
            if frame.pts >= stretch.end:
                # The next stretch may want it.
                self._frames = _behind(frame, self._frames)
                return None
            if frame.pts >= stretch.start:
                return frame
        return None

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames from here on that have a time and are whole."""
        for packet in carried(self._container, self._stream, lambda detail: None):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame) and frame.pts is not None:
                    yield frame
        try:
            last = self._stream.codec_context.decode(None)
        except av.error.FFmpegError:
            return
        yield from (frame for frame in last if frame.pts is not None)


def _behind(frame: VideoFrame, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    yield frame
    yield from frames


class _Maker:
    """Makes small pictures of frames, whatever size and format each of them has."""

    def __init__(self, rotation: int, shape: Fraction, most: int) -> None:
        self._turns = round(rotation / 90) % 4
        self._shape = shape if Fraction(1, 8) <= shape <= 8 else Fraction(1)
        self._most = most
        self._reformatter = VideoReformatter()

    def make(self, frame: VideoFrame) -> Picture | None:
        """The picture of a frame, None where it has none or does not fit into its room."""
        for side in (_SIDE, _SIDE // 2):
            try:
                picture = self._scaled(frame, side)
            except (av.error.FFmpegError, ValueError):
                return None
            for quality in _QUALITIES:
                ok, data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
                if ok and len(data) <= self._most:
                    height, width = picture.shape[:2]
                    scale = _SIDE // side
                    return Picture(data=data.tobytes(), width=width * scale, height=height * scale)
        return None

    def _scaled(self, frame: VideoFrame, side: int) -> NDArray[np.uint8]:
        wide, high = frame.width * self._shape, Fraction(frame.height)
        scale = side / max(wide, high)
        width, height = max(1, round(wide * scale)), max(1, round(high * scale))
        small = self._reformatter.reformat(
            frame, width=width, height=height, format="bgr24", threads=1
        )
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), -self._turns))
