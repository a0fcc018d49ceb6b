"""The streams beside the video around a cut: what lies before it, and when no more will come.

Video is entered at a key frame. Sound is wanted from a little earlier, and subtitles that began
long before; both are fetched by the index, without the video that lies between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from fractions import Fraction
from typing import BinaryIO

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.ebml import Block, OddLayout
from reelsplit_server.media.matroska import Matroska

#: Seconds of other streams read ahead of a cut: decoders of audio need a few packets to get in
#: tune, and files are interleaved loosely.
PREROLL = Fraction(1, 4)
#: The same where cues of text subtitles may have begun well before the cut.
PREROLL_OF_CUES = Fraction(10)

#: Seconds by which packets of a stream may lie apart from where the index points.
_MARGIN = Fraction(1, 10)
#: Packets that are kept of those before an entry near the beginning, at most.
_MOST_FIRST = 1000
#: Seconds before a cut by which sound is of no use to it, whatever its codec.
_STALE = Fraction(2)
#: Seconds beyond the end at which even a decoder that lags behind has given all.
_LAG = Fraction(1, 4)


def early_packets(
    file: BinaryIO,
    container: InputContainer,
    wanted: Collection[int],
    *,
    start: Fraction,
) -> list[Packet[Stream]] | None:
    """Packets of the `wanted` streams from before `start`, for a video that is entered there.

    `start` is in seconds on the source's own clock. Sound comes from `PREROLL` seconds before it
    at the latest, subtitles from `PREROLL_OF_CUES`; some may lie at or after `start`. Those of a
    stream are without gaps, so that what is read later is a repetition up to the last one.
    `container` is used up: another one is needed to read on.

    None where the index does not tell; then everything must be read from early enough on.
    """
    name = container.format.name
    if not any(stream.index in wanted for stream in container.streams):
        return []
    try:
        if name.startswith("mov,mp4"):
            return _from_mov(container, wanted, start)
        if name.startswith("matroska"):
            return _from_matroska(file, container, wanted, start)
    except (av.error.FFmpegError, OddLayout):
        pass
    return None


def first_packets(
    container: InputContainer, wanted: Collection[int], until: int
) -> list[Packet[Stream]]:
    """Packets of the `wanted` streams from before the video's packet that is shown at `until`
    ticks, read from the beginning. `container` has just been opened, and is used up."""
    video = video_stream(container).index
    found: list[Packet[Stream]] = []
    with suppress(av.error.FFmpegError):
        for packet in container.demux():
            is_there = packet.stream_index == video and (packet.pts or 0) >= until
            if is_there or len(found) == _MOST_FIRST:
                break
            if packet.size and packet.stream_index in wanted:
                found.append(packet)
    return found


def sounds_of(container: InputContainer) -> set[int]:
    """The indexes of the streams of sound."""
    return {stream.index for stream in container.streams.audio}


def is_stale(packet: Packet[Stream], start: Fraction, sounds: Collection[int]) -> bool:
    """Whether it is of the streams `sounds`, and too long before `start`, seconds on the source's
    own clock, for a cut there."""
    time = packet.dts if packet.dts is not None else packet.pts
    # The packet's container may be closed by now: it must not be asked for its stream.
    if time is None or packet.stream_index not in sounds:
        return False
    return (time + (packet.duration or 0)) * packet.time_base < start - _STALE


class Pending:
    """Whether streams that are read may still bring packets from before an end."""

    def __init__(self, container: InputContainer, video: Stream) -> None:
        self._streams = [
            stream
            for stream in container.streams
            if stream.index != video.index
            and stream.discard != Discard.all
            and stream.type in ("audio", "subtitle")
        ]
        self._indexed = container.format.name.startswith("mov,mp4")
        self._seen: dict[int, int] = {}

    def saw(self, packet: Packet[Stream]) -> None:
        """Call this for every packet."""
        time = packet.dts if packet.dts is not None else packet.pts
        if time is not None:
            self._seen[packet.stream_index] = time

    def nothing_before(self, end: Fraction) -> bool:
        """Whether no stream brings any more from before `end`, seconds on the source's clock."""
        return all(self._is_past(stream, end) for stream in self._streams)

    def _is_past(self, stream: Stream, end: Fraction) -> bool:
        ticks = self._seen.get(stream.index)
        seen = None if ticks is None else ticks * Fraction(stream.time_base or 1)
        if seen is not None and seen >= end + _LAG:
            return True
        if not self._indexed or not stream.time_base:
            return False
        entries = stream.index_entries
        if not len(entries):
            return True
        if stream.type == "subtitle":
            # The cue to be shown last may have come long ago.
            at = entries.search_timestamp(round(end / stream.time_base), any_frame=True)
            if at < 0:
                return True
            last = entries[at]
        else:
            last = entries[len(entries) - 1]
        return seen is not None and seen >= last.timestamp * Fraction(stream.time_base)


def unrepeated(early: Iterable[Packet[Stream]]) -> Callable[[Packet[Stream]], bool]:
    """A test for packets: whether none of `early` is the same or comes later in its stream."""
    last: dict[int, int] = {}
    for packet in early:
        if packet.pts is not None:
            last[packet.stream_index] = max(packet.pts, last.get(packet.stream_index, packet.pts))

    def is_later(packet: Packet[Stream]) -> bool:
        known = last.get(packet.stream_index)
        return known is None or packet.pts is None or packet.pts > known

    return is_later


def _from_mov(
    container: InputContainer, wanted: Collection[int], start: Fraction
) -> list[Packet[Stream]] | None:
    sounds = [stream for stream in container.streams.audio if stream.index in wanted]
    if not sounds:
        # Samples of subtitles follow one another: the seek to the video finds the right one.
        return []
    first = sounds[0]
    assert first.time_base is not None
    for stream in container.streams:
        stream.discard = Discard.default if stream in sounds else Discard.all
    container.seek(int((start - PREROLL - _MARGIN) / first.time_base), stream=first)
    packets: list[Packet[Stream]] = []
    left = {stream.index for stream in sounds}
    for packet in container.demux(sounds):
        time = packet.dts if packet.dts is not None else packet.pts
        if not packet.size or time is None:
            continue
        packets.append(packet)
        if time * packet.time_base >= start:
            left.discard(packet.stream_index)
        if not left or time * packet.time_base >= start + 1:
            break
    return packets


def _from_matroska(
    file: BinaryIO,
    container: InputContainer,
    wanted: Collection[int],
    start: Fraction,
) -> list[Packet[Stream]] | None:
    video = video_stream(container).index
    layout = Matroska.read(file)
    kinds = [stream.type for stream in container.streams]
    if len(layout.streams) > len(kinds) or video >= len(layout.streams):
        raise OddLayout
    tick = Fraction(layout.scale, 10**9)
    sounds, texts = set[int](), set[int]()
    for index, number in enumerate(layout.streams):
        if index in wanted and kinds[index] == "audio":
            sounds.add(number)
        elif index in wanted and kinds[index] == "subtitle":
            texts.add(number)
    blocks: list[Block] = []
    for text in texts:
        cues = layout.cues.get(text, [])
        if not cues:
            raise OddLayout
        low = bisect_left(cues, int((start - PREROLL_OF_CUES) / tick), key=lambda cue: cue.time)
        high = bisect_right(cues, int(start / tick), key=lambda cue: cue.time)
        blocks += [layout.at(cue) for cue in cues[low:high]]
    if sounds:
        since = int((start - PREROLL - _MARGIN) / tick)
        number = layout.streams[video]
        blocks += [
            block
            for block in _before_key(layout, number, int(start / tick), since)
            if block.track in sounds
        ]
    packets: list[Packet[Stream]] = []
    begun: set[int] = set()
    if not blocks:
        return packets
    with open_source(layout.excerpt(blocks)) as excerpt:
        if [stream.type for stream in excerpt.streams] != kinds[: len(layout.streams)]:
            raise OddLayout
        for packet in excerpt.demux():
            is_sound = kinds[packet.stream_index] == "audio"
            if is_sound and packet.stream_index not in begun:
                # FFmpeg takes it for the track's first, and marks the encoder's delay in it.
                begun.add(packet.stream_index)
            elif packet.size:
                packets.append(packet)
    return packets


def _before_key(layout: Matroska, video: int, start: int, since: int) -> list[Block]:
    """All blocks that lie between those of `since` ticks and the key frame at or before `start`
    at which FFmpeg enters."""
    keys = layout.cues.get(video, [])
    at = bisect_right(keys, start, key=lambda cue: cue.time) - 1
    if at < 1:
        raise OddLayout
    key, before = keys[at], keys[at - 1]
    blocks: list[Block] = []
    earlier = []
    for cluster in layout.clusters(before.cluster):
        if cluster.position >= key.cluster:
            blocks = layout.head_of(cluster, until=video, time=key.time)
            break
        earlier.append(cluster)
    for cluster in reversed(earlier):
        if blocks and blocks[0].time < since:
            break
        blocks = layout.tail_of(cluster, track=video, since=since, least=0) + blocks
    return blocks
