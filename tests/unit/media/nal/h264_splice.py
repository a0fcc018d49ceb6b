"""A cut as simple as can be, around `H264Bitstream`: everything in memory, video only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.nal.bitstream import AccessUnit, Picture
from reelsplit_server.media.nal.h264 import H264Bitstream
from reelsplit_server.media.nal.units import with_lengths, with_start_codes
from tests.clips import read_number


@dataclass(kw_only=True)
class Splice:
    """What was copied and encoded."""

    entry: AccessUnit | None = None
    dropped: int = 0
    """Leading pictures of the entry."""
    copied: list[tuple[AccessUnit, list[bytes]]] = field(default_factory=list)
    """The source's access units, and the units that took their places."""
    encoded: int = 0
    bitstream: H264Bitstream


@dataclass(kw_only=True)
class Source:
    container: InputContainer
    """Open as long as its stream is used."""
    stream: VideoStream
    packets: list[tuple[bytes, int]]
    """Data and number of the frame in the order of presentation, in decoding order."""
    frames: list[VideoFrame]


def load(path: Path) -> Source:
    with av.open(str(path)) as decoded:
        frames = list(decoded.decode(video=0))
    container = av.open(str(path))
    stream = container.streams.video[0]
    coded = [(bytes(p), p.pts) for p in container.demux(stream) if p.size]
    times = sorted(pts for _, pts in coded if pts is not None)
    order = {pts: number for number, pts in enumerate(times)}
    packets = [(data, order[pts]) for data, pts in coded if pts is not None]
    return Source(container=container, stream=stream, packets=packets, frames=frames)


def splice(
    source: Source,
    output: Path,
    start: int,
    end: int,
    *,
    quantiser: int = 25,
) -> Splice:
    """Write frames [start, end) to `output`; its suffix chooses the container."""
    context = source.stream.codec_context
    bitstream = H264Bitstream(context.extradata or b"", reorder_depth=context.reorder_depth)
    result = Splice(bitstream=bitstream)
    accesses: list[AccessUnit] = []
    at = None
    for index, (data, number) in enumerate(source.packets):
        accesses.append(bitstream.read(data))
        if at is None and accesses[-1].picture.is_entry and start <= number < end:
            at = index
        elif at is not None and number > source.packets[at][1]:
            break
    assert at is not None, "there is no entry in the range"
    leading = range(at + 1, len(accesses) - 1)
    result.entry, result.dropped = accesses[at], len(leading)
    bitstream.enter(
        accesses[at], drops_references=any(accesses[index].is_reference for index in leading)
    )
    accesses += [bitstream.read(data) for data, _ in source.packets[len(accesses) :]]
    order = [i for i in range(at, len(accesses)) if i not in leading]
    first, count, newest = source.packets[at][1], 0, 0
    for n, index in enumerate(order):
        number = source.packets[index][1]
        if number >= end:
            break
        newest = max(newest, number)
        if newest - first == n:
            count = n + 1
    kept = order[:count]

    options = bitstream.encoding(quantiser)
    parts: list[tuple[bytes, int, bool, bool]] = []
    first_encoder = _encoder(source, bitstream, options)
    bitstream.adopt(first_encoder.extradata or b"")
    record = bitstream.extradata(annex_b=output.suffix == ".ts")

    def packed(units: Sequence[bytes], is_key: bool, of_encoder: bool) -> bytes:
        if output.suffix != ".ts":
            return with_lengths(units)
        sets = bitstream.sets(of_encoder=of_encoder) if is_key else []
        return with_start_codes([*sets, *units])

    def encode(begin: int, stop: int) -> None:
        if begin >= stop:
            return
        encoder = _encoder(source, bitstream, options)
        bitstream.adopt(encoder.extradata or b"")
        for packet in _encoded(encoder, source.frames[begin:stop], begin):
            units = bitstream.encoded(bytes(packet))
            key = packet.is_keyframe
            parts.append((packed(units, key, True), packet.pts or 0, key, True))
            result.encoded += 1

    encode(start, first)
    for index in kept:
        units = bitstream.copied(accesses[index])
        result.copied.append((accesses[index], units))
        key = accesses[index].picture is Picture.IDR or index == at
        parts.append((packed(units, key, False), source.packets[index][1], key, False))
    encode(first + count, end)
    _write(source, output, record, [(data, pts - start, key) for data, pts, key, _ in parts])
    return result


def _encoder(source: Source, bitstream: H264Bitstream, options: object) -> VideoCodecContext:
    encoder = cast(VideoCodecContext, av.CodecContext.create("libx264", "w"))
    frame = source.frames[0]
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt = bitstream.pixel_format
    rate = source.stream.average_rate or Fraction(25)
    encoder.time_base, encoder.framerate = 1 / rate, rate
    encoder.flags |= Flags.global_header
    encoder.thread_count = 1
    encoder.options = dict(options)  # type: ignore[call-overload]
    encoder.open()
    return encoder


def _encoded(
    encoder: VideoCodecContext, frames: Sequence[VideoFrame], begin: int
) -> list[Packet[VideoStream]]:
    packets = []
    for number, frame in enumerate(frames, begin):
        given = frame.reformat(format=encoder.pix_fmt)
        given.pts, given.time_base = number, encoder.time_base
        given.pict_type = PictureType.NONE
        packets += encoder.encode(given)
    return packets + encoder.encode(None)


def _write(
    source: Source, output: Path, record: bytes, parts: list[tuple[bytes, int, bool]]
) -> None:
    shown = sorted(pts for _, pts, _ in parts)
    assert shown == list(range(len(parts)))
    depth = max(n - pts for n, (_, pts, _) in enumerate(parts))
    rate = source.stream.average_rate or Fraction(25)
    with av.open(str(output), "w") as container:
        stream = container.add_stream_from_template(source.stream, opaque=True)
        stream.codec_context.extradata = record
        stream.codec_context.codec_tag = "avc1" if output.suffix == ".mp4" else "\0\0\0\0"
        stream.codec_context.framerate = rate
        stream.time_base = 1 / rate
        for n, (data, pts, key) in enumerate(parts):
            packet = Packet(data)
            packet.pts, packet.dts, packet.duration = pts, n - depth, 1
            packet.time_base = 1 / rate
            packet.stream = stream
            packet.is_keyframe = key
            container.mux(packet)


def strictly_decoded(path: Path) -> list[int]:
    """The numbers of all frames, from a decoder that takes no error."""
    numbers = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode+crccheck+bitstream+buffer"}
        for packet in container.demux(stream):
            numbers += [read_number(frame) for frame in stream.decode(packet)]
    return numbers
