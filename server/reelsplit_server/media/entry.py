"""Entering a source for copying: at a clean key frame, with what other streams have before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import BinaryIO, cast

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import Damage, frame_rate, prepare, time_base
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.others import PREROLL, Pending, early_packets, unrepeated
from reelsplit_server.media.span import Span

#: How much earlier, in seconds, each further try to enter the source aims.
_STEPS_BACK = (0, Fraction(1, 2), 2, 10, 60)
_MAX_DEMUX_ERRORS = 8


def early_before(
    file: BinaryIO, span: Span, wanted: set[int], entry: int
) -> list[Packet[Stream]] | None:
    """What the wanted streams have before the key frame at `entry` ticks, as `early_packets`."""
    if entry <= span.origin:
        return None
    with open_source(file) as container:
        return early_packets(file, container, wanted, start=entry * span.time_base)


class KeySource:
    """The source's packets from a key frame on."""

    def __init__(
        self,
        file: BinaryIO,
        span: Span,
        wanted: set[int],
        early: list[Packet[Stream]] | None,
    ) -> None:
        """Streams that are not `wanted` are not read; of the others `early` comes first."""
        self._span, self._early = span, early
        self.damage = Damage()
        self.container: InputContainer = open_source(file)
        self.video: VideoStream = video_stream(self.container)
        for stream in self.container.streams:
            if stream.index != self.video.index and stream.index not in wanted:
                stream.discard = Discard.all
        self.pending = Pending(self.container, self.video)

    def close(self) -> None:
        self.container.close()

    def from_key(self, key: int) -> Iterator[Packet[Stream]]:
        """Everything around and after the key frame shown at `key`; video begins with it."""
        ticks = 1 / self._span.time_base
        for step in (*_STEPS_BACK, None):
            back = (PREROLL if self._early is None else 0) + (step or 0)
            target = None if step is None else key - round(back * ticks)
            if target is None or target <= self._span.origin:
                self._rewind()
            elif not _seek(self.container, self.video, target):
                continue
            others: list[Packet[Stream]] = []
            packets = _demuxed(self.container, self.damage)
            for packet in packets:
                self.pending.saw(packet)
                if packet.stream_index != self.video.index:
                    others.append(packet)
                elif packet.is_keyframe and packet.pts == key:
                    return self._joined(packet, others, packets)
                elif packet.is_keyframe and packet.pts is not None and packet.pts > key:
                    break
        raise MediaError(
            "SOURCE_DAMAGED", "The source's key frame before the range could not be read again."
        )

    def _joined(
        self,
        first: Packet[Stream],
        others: list[Packet[Stream]],
        packets: Iterator[Packet[Stream]],
    ) -> Iterator[Packet[Stream]]:
        later = unrepeated(self._early or ())
        yield from self._early or ()
        yield from filter(later, others)
        yield first
        for packet in packets:
            self.pending.saw(packet)
            if packet.stream_index == self.video.index or later(packet):
                yield packet

    def _rewind(self) -> None:
        # The output's streams are made from this container's: it must stay the same one.
        start = self.container.start_time
        with suppress(av.error.FFmpegError):
            self.container.seek(start if start is not None else 0)


def _demuxed(container: InputContainer, damage: Damage) -> Iterator[Packet[Stream]]:
    """All packets that carry data; what the demuxer trips over is noted."""
    failures = 0
    while failures < _MAX_DEMUX_ERRORS:
        try:
            for packet in container.demux():
                failures = 0
                if packet.size and packet.stream.discard != Discard.all:
                    yield packet
            return
        except av.error.FFmpegError as error:
            failures += 1
            damage.note(f"the container breaks off or is corrupt ({error.strerror})")


def find_entry(file: BinaryIO, span: Span) -> int:
    """The pts of the last key frame at or before the span from which decoding is clean."""
    limit = span.low
    ticks = 1 / span.time_base
    with open_source(file) as container:
        video = video_stream(container)
        prepare(container, video)
        for step in _STEPS_BACK:
            target = limit - round(step * ticks)
            if target <= span.origin or not _seek(container, video, target):
                break
            entry = _last_clean_key(container, video, span, limit)
            if entry is not None:
                return entry
    with open_source(file) as container:
        video = video_stream(container)
        prepare(container, video)
        entry = _last_clean_key(container, video, span, limit)
        if entry is None:
            raise MediaError(
                "COPY_IMPOSSIBLE",
                "The source has no key frame from which it could be played before the range. "
                "Ask for the video to be encoded.",
            )
        return entry


def _last_clean_key(
    container: InputContainer, video: VideoStream, span: Span, limit: int
) -> int | None:
    """Read to the span's start; keep each key frame that the next one does not replace."""
    clean: int | None = None
    group: list[Packet[Stream]] = []
    for packet in _demuxed(container, Damage()):
        if packet.stream_index != video.index:
            continue
        pts = packet.pts
        beyond = (packet.dts if packet.dts is not None else pts) or 0
        if packet.is_keyframe and pts is not None and pts <= limit:
            checked = _check(video, group, span)
            clean = clean if checked is None else checked
            group = [packet]
        elif group and len(group) < 64:
            group.append(packet)
        past = beyond > limit or (pts is not None and pts > limit and packet.is_keyframe)
        if past and (packet.is_keyframe or len(group) >= 32):
            break
    checked = _check(video, group, span)
    return clean if checked is None else checked


def _check(video: VideoStream, group: list[Packet[Stream]], span: Span) -> int | None:
    """The pts of the group's key frame if it is the first that a fresh decoder shows."""
    if not group:
        return None
    decoder = cast(VideoCodecContext, av.CodecContext.create(video.codec_context.codec.name, "r"))
    decoder.extradata = video.codec_context.extradata
    decoder.thread_count = 1
    decoder.options = dict(video.codec_context.options)
    frames = []
    for packet in (*group, None):
        with suppress(av.error.FFmpegError):
            frames = decoder.decode(packet)
        if frames:
            break
    key = group[0].pts
    # Frames that an edit list hides are not shown at all.
    if not frames or frames[0].pts == key or (key is not None and key < span.origin):
        return key
    return None


def _seek(container: InputContainer, video: VideoStream, target: int) -> bool:
    if container.format.name.startswith("mov,mp4"):
        # As in the reader: FFmpeg's own comparison is rounded.
        target += round(1 / frame_rate(video) / time_base(video) / 2)
    try:
        container.seek(target, stream=video)
    except av.error.FFmpegError:
        return False
    return True
