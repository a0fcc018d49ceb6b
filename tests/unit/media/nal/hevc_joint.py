"""A small, dumb splice of HEVC: head and tail encoded, the middle copied. Whole clip in memory."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from reelsplit_server.media.nal.bitstream import AccessUnit, Picture
from reelsplit_server.media.nal.hevc import HevcBitstream
from reelsplit_server.media.nal.units import with_lengths, with_start_codes

_LEADING = (Picture.RASL, Picture.RADL)


@dataclass(frozen=True)
class Joint:
    """What a splice did."""

    bitstream: HevcBitstream
    head: int
    copied: list[AccessUnit]
    tail: int
    entry: Picture


def splice(source: Path, out: Path, start: int, end: int) -> Joint:
    """Write the frames from `start` up to `end` (by number, in presentation order) to `out`."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        base, rate = stream.time_base, stream.average_rate
        assert base is not None
        assert rate is not None
        extradata = stream.codec_context.extradata or b""
        packets = [(packet.pts, bytes(packet)) for packet in container.demux(stream) if packet.size]
        times = sorted(pts for pts, _ in packets if pts is not None)
        number = {pts: index for index, pts in enumerate(times)}
        numbered = [(number[pts], data) for pts, data in packets if pts is not None]
        container.seek(0)
        frames = {number[f.pts]: f for f in container.decode(stream) if f.pts is not None}
        bitstream = HevcBitstream(extradata)
        accesses = [(shown, bitstream.read(data)) for shown, data in numbered]
        entry = next(
            index
            for index, (shown, access) in enumerate(accesses)
            if access.picture.is_entry and start <= shown < end
        )
        first = accesses[entry][0]
        following = [
            (shown, access)
            for shown, access in accesses[entry:]
            if shown >= first and not (shown < first and access.picture in _LEADING)
        ]
        copied, most = 0, -1
        for index, (shown, _) in enumerate(following):
            most = max(most, shown)
            if most >= end:
                break
            if most - first == index:
                copied = index + 1
        middle = following[:copied]
        bitstream.enter(middle[0][1], drops_references=True)
        head, tail = range(start, first), range(first + copied, end)
        quantiser = _quantiser(middle)
        parts = [
            _encode(bitstream, [frames[n] for n in part], rate, quantiser, stream.codec_context)
            for part in (head, tail)
        ]
        annex_b = out.suffix == ".ts"
        join = with_start_codes if annex_b else with_lengths

        def packet(shown: int, units: list[bytes], key: bool, of_encoder: bool) -> Packet[Stream]:
            sets = bitstream.sets(of_encoder=of_encoder) if annex_b and key else []
            made: Packet[Stream] = Packet(join([*sets, *units]))
            made.pts, made.is_keyframe = shown - start, key
            return made

        extra = bitstream.extradata(annex_b=annex_b)
        outgoing = [packet(head.start + n, units, key, True) for n, units, key in parts[0]]
        outgoing += [
            packet(shown, bitstream.copied(access), access.picture.is_entry, False)
            for shown, access in middle
        ]
        outgoing += [packet(tail.start + n, units, key, True) for n, units, key in parts[1]]
        _mux(outgoing, out, stream, extra, Fraction(rate))
    return Joint(bitstream, len(head), [a for _, a in middle], len(tail), middle[0][1].picture)


def _quantiser(middle: list[tuple[int, AccessUnit]]) -> int:
    found = [a.quantiser for _, a in middle if a.slice_type == "P" and a.quantiser is not None]
    return round(sum(found) / len(found)) if found else 26


def _encode(
    bitstream: HevcBitstream,
    frames: list[av.VideoFrame],
    rate: Fraction,
    quantiser: int,
    source: VideoCodecContext,
) -> list[tuple[int, list[bytes], bool]]:
    if not frames:
        return []
    context = av.CodecContext.create("libx265", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = source.width, source.height
    context.pix_fmt = bitstream.pixel_format
    context.framerate, context.time_base = rate, 1 / rate
    context.flags |= av.codec.context.Flags.global_header
    context.thread_count = 1
    context.options = dict(bitstream.encoding(quantiser))
    context.open()
    assert context.extradata is not None
    bitstream.adopt(context.extradata)
    packets = []
    for index, frame in enumerate(frames):
        assert frame.format.name == bitstream.pixel_format
        frame.pts, frame.time_base, frame.pict_type = index, 1 / rate, 0
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(p.pts or 0, bitstream.encoded(bytes(p)), p.is_keyframe) for p in packets]


def _mux(
    packets: list[Packet[Stream]], out: Path, source: VideoStream, extra: bytes, rate: Fraction
) -> None:
    shown = sorted(packet.pts or 0 for packet in packets)
    assert shown == list(range(len(shown)))
    depth = max(index - (packet.pts or 0) for index, packet in enumerate(packets))
    with av.open(str(out), "w") as container:
        stream = container.add_stream_from_template(source, opaque=True)
        stream.codec_context.extradata = extra
        if out.suffix == ".mp4":
            stream.codec_context.codec_tag = "hvc1"
        stream.codec_context.framerate = rate
        stream.time_base = 1 / rate
        for index, packet in enumerate(packets):
            packet.dts = index - depth
            packet.duration = 1
            packet.time_base, packet.stream = 1 / rate, stream
            container.mux(packet)
