"""Reading a file back, frame by frame and packet by packet."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from numpy.typing import NDArray

from tests.cutting.noise import Heard, listen
from tests.cutting.pattern import number_of
from tests.cutting.second import Second, decode_by_ffmpeg
from tests.cutting.units import Kind, Slices, in_band_sets, kind_of, slices_of, split_units

__all__ = ["Coded", "Film", "Shape", "luma", "read_film"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a decoded picture lies in bytes: its planes one after the other, without padding."""

    width: int
    height: int
    pixels: str

    @property
    def depth(self) -> int:
        return 10 if "10" in self.pixels else 8

    @property
    def size(self) -> int:
        """Bytes of one picture, 4:2:0."""
        return self.width * self.height * 3 // 2 * (2 if self.depth > 8 else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """One video packet. Times in ticks of the stream."""

    pts: int
    dts: int
    duration: int
    is_key: bool
    is_hidden: bool
    kind: Kind
    slices: Slices
    has_sets: bool


@dataclass(kw_only=True)
class Film:
    """What a file holds. Frames in the order in which they are presented."""

    path: Path
    codec: str
    tag: str
    shape: Shape
    time_base: Fraction
    times: list[Fraction] = field(default_factory=list)
    """Seconds on the file's own clock."""
    frames: list[bytes] = field(default_factory=list)
    """The planes of each."""
    errors: list[str] = field(default_factory=list)
    """What the decoder (FFmpeg's, in PyAV) complained about."""
    packets: list[Coded] = field(default_factory=list)
    """In decoding order."""
    header_frames: int = 0
    header_duration: Fraction | None = None
    header_rate: Fraction | None = None
    has_record: bool = False
    """Whether the parameter sets stand in an avcC or hvcC record."""

    @cached_property
    def numbers(self) -> list[int | None]:
        return [number_of(luma(frame, self.shape)) for frame in self.frames]

    @cached_property
    def order(self) -> list[int]:
        """For each packet, the place of its frame in presentation order; less than 0 where an
        edit list hides it."""
        shown = sorted(packet.pts for packet in self.packets if not packet.is_hidden)
        ranks = {pts: rank for rank, pts in enumerate(shown)}
        return [-1 if packet.is_hidden else ranks[packet.pts] for packet in self.packets]

    @cached_property
    def end(self) -> Fraction:
        """Seconds on the file's own clock at which the last frame ends."""
        last = max((p for p in self.packets if not p.is_hidden), key=lambda packet: packet.pts)
        return (last.pts + last.duration) * self.time_base

    @cached_property
    def heard(self) -> Heard | None:
        return listen(self.path, near=float(self.times[0]))

    @cached_property
    def second(self) -> Second:
        return decode_by_ffmpeg(self.path, self.shape.size)


def read_film(path: Path) -> Film:
    """Decode all of a file's video. Raises `ValueError` where it holds none that opens."""
    try:
        container = av.open(str(path))
    except FFmpegError as error:
        raise ValueError(f"{path.name} does not open: {error}") from error
    with container:
        if not container.streams.video:
            raise ValueError(f"{path.name} holds no video")
        stream = container.streams.video[0]
        try:
            context = stream.codec_context
            codec = context.codec.canonical_name
        except (UnknownCodecError, AttributeError) as error:
            raise ValueError(f"{path.name}: a codec that nobody knows") from error
        record = bytes(context.extradata or b"")
        film = Film(
            path=path,
            codec=codec,
            tag=context.codec_tag,
            shape=Shape(width=context.width, height=context.height, pixels=context.pix_fmt or ""),
            time_base=Fraction(stream.time_base or 0),
            header_frames=stream.frames,
            header_duration=None
            if stream.duration is None
            else stream.duration * Fraction(stream.time_base or 0),
            header_rate=stream.average_rate,
            has_record=record[:1] == b"\x01",
        )
        length = _length_size(codec, record)
        stream.thread_count = 1
        for packet in container.demux(stream):
            try:
                if packet.size:
                    film.packets.append(_coded(codec, packet, length))
                for frame in packet.decode():
                    film.times.append(Fraction(frame.pts or 0) * Fraction(frame.time_base or 0))
                    film.frames.append(_planes(frame))
                    if frame.is_corrupt:
                        film.errors.append(f"the frame at {film.times[-1]} is flagged corrupt")
            except FFmpegError as error:
                film.errors.append(str(error))
    return film


def luma(planes: bytes, shape: Shape) -> NDArray[np.uint8]:
    """The luma of a picture in 8 bits, shape (height, width)."""
    count = shape.width * shape.height
    if shape.depth > 8:
        deep = np.frombuffer(planes, np.uint16, count)
        return (deep >> (shape.depth - 8)).astype(np.uint8).reshape(shape.height, shape.width)
    return np.frombuffer(planes, np.uint8, count).reshape(shape.height, shape.width)


def _length_size(codec: str, record: bytes) -> int:
    """Bytes of the length before each NAL unit; 0 where start codes stand."""
    place = 4 if codec == "h264" else 21
    if record[:1] != b"\x01" or len(record) <= place:
        return 0
    return (record[place] & 3) + 1


def _coded(codec: str, packet: av.Packet, length: int) -> Coded:
    units = split_units(bytes(packet), length) if codec in ("h264", "hevc") else []
    return Coded(
        pts=packet.pts if packet.pts is not None else 0,
        dts=packet.dts if packet.dts is not None else packet.pts or 0,
        duration=packet.duration or 0,
        is_key=packet.is_keyframe,
        is_hidden=packet.is_discard,
        kind=kind_of(codec, units),
        slices=slices_of(codec, units),
        has_sets=in_band_sets(codec, units),
    )


def _planes(frame: av.VideoFrame) -> bytes:
    deep = 2 if "10" in frame.format.name else 1
    return b"".join(
        np.frombuffer(plane, np.uint8)
        .reshape(-1, plane.line_size)[: plane.height, : plane.width * deep]
        .tobytes()
        for plane in frame.planes
    )
