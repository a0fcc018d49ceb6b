"""A source that is open for scanning, and stays so over its stretches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import BinaryIO, cast

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import (
    STEPS_BACK,
    Damage,
    frame_rate,
    packets,
    prepare,
    seek,
    time_base,
)
from reelsplit_server.media.detection.thumbs import Crop, ThumbMaker
from reelsplit_server.media.entries import picture_of
from reelsplit_server.media.nal import hevc_units
from reelsplit_server.media.nal.h264_sei import recovers
from reelsplit_server.media.nal.units import BrokenUnits, split
from reelsplit_server.media.packet_view import nal_width
from reelsplit_server.media.probe import codec_name, no_frame

_H264_IDR, _H264_SEI = 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What everyone knows who scans a source; sizes are in pixels."""

    width: int
    """This and `height`: of the source's first presented frame."""
    height: int
    rate: Fraction
    """Frames a second, on average."""
    crop: Crop | None = None
    """What of each picture is looked at: left, top, width and height in
    that frame."""
    downscale: int | None = None

    def thumbs(self) -> ThumbMaker:
        """A maker for any part of the source. Raises `MediaError` ``CROP_OUTSIDE_SOURCE``."""
        # Later frames may be of another size; the crop is of the first one's.
        first = VideoFrame(self.width, self.height, "gray")
        return ThumbMaker(first, crop=self.crop, downscale=self.downscale)


class Reel:
    """An open source with its decoder and what makes its small pictures."""

    def __init__(self, file: BinaryIO, view: View, *, threads: int = 1) -> None:
        """`threads` are the decoder's (0: one a core).

        Raises `MediaError` as `open_source`, `video_stream` and `View.thumbs` do, and where there
        is no decoder.
        """
        self.file, self.threads = file, threads
        self.thumbs = view.thumbs()
        self._moved = False
        self._open()

    def __enter__(self) -> Reel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the decoder up; the file stays open."""
        self.container.close()

    def enter(self, entry: int | None, damage: Damage) -> Iterator[Packet[VideoStream]] | None:
        """Packets that carry data, from the key frame on that is shown at `entry` ticks, or from
        the beginning of the file. The decoder knows nothing of what was before.

        None where no way leads to a packet of that time that is called a key frame. What the
        demuxer trips over is noted as `damage`.
        """
        if entry is None:
            self.rewind()
            return packets(self.container, self.stream, damage)
        for step in STEPS_BACK:
            if not self.seek(entry - round(step / self.base)):
                continue
            found = self._found(packets(self.container, self.stream, damage), entry)
            if found is not None:
                return found
        return None

    def rewind(self) -> None:
        """To the beginning of the file."""
        if self._moved:
            self.close()
            self._open()
        self._moved = True

    def seek(self, target: int) -> bool:
        """To a key frame at or before `target` ticks, as far as the file's index is right;
        whether there is a way. The decoder forgets what was before."""
        self._moved = True
        return seek(self.container, self.stream, target, self.base)

    def begins_cleanly(self, packet: Packet[VideoStream]) -> bool:
        """Whether decoding can begin at a packet, as its own data says, so that what is shown
        from it on is right. The container's opinion alone is not worth much."""
        match self._codec:
            case "h264":
                units = self._units(packet)
                return any(unit[0] & 31 == _H264_IDR for unit in units) or any(
                    unit[0] & 31 == _H264_SEI and recovers(unit) for unit in units
                )
            case "hevc":
                return any(
                    hevc_units.BLA_W_LP <= hevc_units.kind(unit) <= hevc_units.CRA
                    for unit in self._units(packet)
                )
            case codec:
                return picture_of(codec, bytes(packet), is_key=packet.is_keyframe).is_entry

    def _units(self, packet: Packet[VideoStream]) -> list[bytes]:
        try:
            return split(bytes(packet), nal_width(self.stream))
        except BrokenUnits:
            return []

    def _open(self) -> None:
        self.container: InputContainer = open_source(self.file)
        self.stream: VideoStream = video_stream(self.container)
        if codec_name(self.stream) is None:
            raise no_frame(self.stream, Damage())
        self._codec = self.stream.codec_context.codec.canonical_name
        prepare(self.container, self.stream, self.threads)
        self.base: Fraction = time_base(self.stream)
        self.step = max(1, round(1 / frame_rate(self.stream) / self.base))
        self._moved = False

    @staticmethod
    def _found(
        ahead: Iterator[Packet[VideoStream]], entry: int
    ) -> Iterator[Packet[VideoStream]] | None:
        for packet in ahead:
            if packet.is_keyframe and packet.pts == entry:
                return cast("Iterator[Packet[VideoStream]]", chain((packet,), ahead))
            if packet.dts is not None and packet.dts > entry:
                return None
        return None
