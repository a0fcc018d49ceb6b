"""Ways to break a file, and to see what becomes of a cut from it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.render import CutMode, RenderResult
from tests.clips import read_number
from tests.unit.media.rendering import cut

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a cut: an error, or a segment."""

    error: MediaError | None = None
    result: RenderResult | None = None
    numbers: Sequence[int | None] = ()
    """What each frame shows, in order; None where that cannot be read."""

    @property
    def reason(self) -> str:
        """The error's reason, or empty."""
        return self.error.reason if self.error is not None else ""


def outcome(
    source: Path, out: Path, start: Fraction | int, end: Fraction | int | None, mode: CutMode
) -> Outcome:
    """Cut; every error but `MediaError` comes through."""
    try:
        result = cut(source, out, start, end, mode=mode)
    except MediaError as error:
        return Outcome(error=error)
    shown = numbers(out)
    assert len(shown) == result.frame_count
    return Outcome(result=result, numbers=shown)


def numbers(path: Path) -> list[int | None]:
    """The numbers of all frames that come out, errors passed over."""
    found: list[int | None] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        packets: Iterator[Packet[Stream] | None] = container.demux(stream)  # type: ignore[assignment]
        for packet in packets:
            try:
                frames = stream.codec_context.decode(packet if packet and packet.size else None)
            except av.FFmpegError:
                continue
            for frame in frames:
                try:
                    found.append(read_number(frame))
                except ValueError:
                    found.append(None)
    return found


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """All boxes of an MP4, those inside others too: kind, where the content begins, its end."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        yield kind, at + head, at + size
        if kind in _PARENTS:
            yield from boxes(data, at + head, at + size)
        at += size


def box(data: bytes, kind: bytes, number: int = 0) -> tuple[int, int]:
    """Where the content of a box begins and ends; the video's are number 0 (it comes first)."""
    return [(start, end) for each, start, end in boxes(data) if each == kind][number]


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def samples(path: Path, kind: str = "video") -> list[tuple[int, int, int]]:
    """Each packet of the first stream of a kind, in decoding order: its place in the file, size
    and presentation time."""
    with av.open(str(path)) as container:
        return [
            (packet.pos or 0, packet.size, packet.pts or 0)
            for packet in container.demux(next(iter(container.streams.get({kind: 0}))))
            if packet.size
        ]


def remuxed(
    source: Path,
    path: Path,
    change: Callable[[Sequence[Packet[Stream]]], Iterable[Packet[Stream]]],
    format: str | None = None,
) -> Path:
    """The source's video with other packets, in a file of whatever kind."""
    with av.open(str(source)) as before, av.open(str(path), "w", format=format) as after:
        video = before.streams.video[0]
        stream = after.add_stream_from_template(video, opaque=True)
        packets = [packet for packet in before.demux(video) if packet.size]
        for packet in change(packets):
            packet.stream = stream
            after.mux(packet)
    return path
