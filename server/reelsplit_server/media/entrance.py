"""Reading a source for a copy: video from a clean entry on, and the other streams around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import BinaryIO

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import STEPS_BACK, Damage, carried, seek
from reelsplit_server.media.elementary import Elementary
from reelsplit_server.media.ends import PACKET_OVERHEAD, Coded
from reelsplit_server.media.holes import Holes
from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.nal.units import BrokenUnits
from reelsplit_server.media.others import (
    PREROLL,
    Pending,
    early_packets,
    first_packets,
    is_stale,
    sounds_of,
    unrepeated,
)
from reelsplit_server.media.span import Span

#: Bytes of packets that are held until it is known which entry is the last one in time.
_MOST_HELD = 48 << 20
#: Seconds beyond the end at which the other streams' late packets are no longer waited for.
_SKEW = 5
#: Seconds by which packets of other streams may lie later in the file than the video of their
#: time.
_LOOSENESS = Fraction(1, 2)
_UNREAD = AccessUnit(
    units=(), picture=Picture.OTHER, slice_type="", quantiser=None, is_reference=False
)


class NoEntry(CannotJoin):
    """Nothing in the source lets decoding begin at or before the range."""


class Entrance:
    """The packets of a source from the last entry at or before a range on."""

    def __init__(
        self, file: BinaryIO, container: InputContainer, span: Span, wanted: set[int]
    ) -> None:
        """`container` has just been opened from `file`. Other streams than the `wanted` ones are
        not read."""
        self._file, self._span, self._wanted = file, span, wanted
        self.container = container
        self.video = video_stream(container)
        self.damage = Damage()
        for stream in container.streams:
            if stream.index != self.video.index and stream.index not in wanted:
                stream.discard = Discard.all
        self.pending = Pending(container, self.video)
        self._sounds = sounds_of(container)
        name = container.format.name
        self._is_mov = name.startswith("mov,mp4")
        self._is_stream = name == "mpegts"
        self._has_index = self._is_mov or name.startswith("matroska")
        self._video_done = False
        self._moved = self._sought = False
        self._breaks_off = False

    def packets(
        self, elementary: Elementary, *, whole_group: bool
    ) -> Iterator[Coded | Packet[Stream]]:
        """Video from the last entry at or before the span's low tick; the rest as it comes.

        Other streams' packets begin early enough for a cut at the span's start, or, with
        `whole_group`, for one at the entry. Raises `NoEntry`; `CannotJoin` where a packet has no
        time or is corrupt.
        """
        aim = self._span.low
        while True:
            entry, events, rest = self._enter(elementary, aim)
            start = entry if whole_group else self._span.low
            early = self._early(entry, start)
            if early is not None and (self._has_index or start >= aim):
                break
            # Without an index, other streams' packets are read on the way to where they begin.
            self._has_index, aim = False, start
        later = unrepeated(early)
        yield from early
        for event in chain(events, rest):
            if isinstance(event, Coded) or later(event):
                yield event

    def _enter(
        self, elementary: Elementary, aim: int
    ) -> tuple[int, list[Coded | Packet[Stream]], Iterator[Coded | Packet[Stream]]]:
        """As `_hold` answers, from where a seek to `aim` ticks, or before, leads."""
        for step in (*STEPS_BACK, None):
            back = (0 if self._has_index else PREROLL) + (step or 0)
            target = None if step is None else aim - round(back / self._span.time_base)
            at_start = target is None or target <= self._span.origin
            self._sought = self._moved or not at_start
            if at_start:
                self._rewind()
            elif target is None or not seek(
                self.container, self.video, target, self._span.time_base
            ):
                continue
            self._moved = True
            held = self._hold(elementary)
            if held is not None:
                return held
            if at_start:
                break
        raise NoEntry("the source has no key frame from which it could be played before the range")

    def others(
        self, events: Iterator[Coded | Packet[Stream]], end: Fraction
    ) -> Iterator[Packet[Stream]]:
        """The other streams' packets that are left in `events`, as long as some may lie before
        `end`, seconds on the source's own clock. Video is read no more."""
        self._video_done = True
        if self.pending.nothing_before(end):
            return
        for event in events:
            if isinstance(event, Packet):
                yield event
            elif event.pts * self._span.time_base > end + _SKEW:
                return
            if self.pending.nothing_before(end):
                return

    def _hold(
        self, elementary: Elementary
    ) -> tuple[int, list[Coded | Packet[Stream]], Iterator[Coded | Packet[Stream]]] | None:
        """Read past the span's start: the last entry's pts, what came since, and the rest.

        None where no entry comes in time.
        """
        low = self._span.low
        entry: int | None = None
        others: list[Packet[Stream]] = []
        events: list[Coded | Packet[Stream]] = []
        # Bytes held: in all, and of `others`.
        size = aside = 0
        stream = self._events(elementary)
        for event in stream:
            if isinstance(event, Coded) and event.pts <= low and event.access.picture.is_entry:
                is_first, entry = entry is None, event.pts
                # What other streams had since the entry before may be wanted still.
                moved = [each for each in events if isinstance(each, Packet)]
                others += moved
                aside = size if is_first else aside + sum(map(_weight, moved))
                if aside > _MOST_HELD // 2:
                    since = entry * self._span.time_base
                    others = [each for each in others if not is_stale(each, since, self._sounds)]
                    aside = sum(map(_weight, others))
                events, size = [], aside
            size += _weight(event)
            if size > _MOST_HELD:
                raise CannotJoin("the last key frame lies too far before the range")
            if isinstance(event, Packet):
                (others if entry is None else events).append(event)
                continue
            if entry is not None:
                events.append(event)
            # A later entry is shown later than all pictures before it.
            if event.pts >= low:
                break
        return None if entry is None else (entry, [*others, *events], stream)

    def _early(self, entry: int, start: int) -> list[Packet[Stream]] | None:
        """What other streams have before an entry that was sought, as far as a cut at `start`
        needs it: a seek passes that over. None where the index does not tell."""
        origin, base = self._span.origin, self._span.time_base
        reach = PREROLL if self._is_mov else PREROLL + _LOOSENESS
        if not self._sought or self._is_stream or (start - entry) * base >= reach:
            return []
        is_first = (entry - origin) * base <= reach
        if not is_first and not self._has_index:
            return []
        # Both containers read through one file object, from where it stands.
        position = self._file.tell()
        with open_source(self._file) as container:
            early: list[Packet[Stream]] | None
            if is_first:
                early = first_packets(container, self._wanted, entry)
            else:
                early = early_packets(self._file, container, self._wanted, start=entry * base)
        self._file.seek(position)
        return early

    def _events(self, elementary: Elementary) -> Iterator[Coded | Packet[Stream]]:
        last: int | None = None
        holes = Holes(self._file, self.video)
        for packet in carried(self.container, None, self._break):
            self.pending.saw(packet)
            if packet.stream_index != self.video.index:
                yield packet
                continue
            if self._video_done:
                if packet.pts is not None:
                    yield Coded(packet=packet, pts=packet.pts, access=_UNREAD)
                continue
            if packet.pts is None:
                raise CannotJoin("the source's packets do not say when they are shown")
            if packet.is_corrupt or self._breaks_off:
                raise CannotJoin("the source is damaged there")
            if holes.before(packet):
                raise CannotJoin("the source is damaged there (a packet is empty)")
            if packet.dts is not None:
                if last is not None and packet.dts < last:
                    raise CannotJoin("the source's clock jumps back there")
                last = packet.dts
            if packet.is_discard and packet.pts >= self._span.low and self._span.high is None:
                raise CannotJoin("an edit list of the source hides its last pictures")
            if self._has_other_sets(packet):
                raise CannotJoin("the source's parameter sets change on the way")
            try:
                access = elementary.read(packet)
            except (BrokenUnits, BrokenSyntax) as error:
                raise CannotJoin(f"the source is damaged there ({error})") from error
            yield Coded(packet=packet, pts=packet.pts, access=access)
        if not self._video_done and holes.at_end(self._span.high):
            at = None if last is None else last * self._span.time_base
            self.damage.note("the file breaks off", at)

    def _has_other_sets(self, packet: Packet[Stream]) -> bool:
        """Whether the container gives another header than the stream's from here on: an MP4 with
        several sample descriptions, an FLV with a new sequence header."""
        if not packet.has_sidedata("new_extradata"):
            return False
        return bytes(packet.get_sidedata("new_extradata")) != self.video.codec_context.extradata

    def _break(self, detail: str) -> None:
        self._breaks_off = True
        self.damage.note(detail)

    def _rewind(self) -> None:
        """To the beginning. The output's streams are made from this container's: it must stay the
        same one."""
        if not self._moved:
            return
        start = 0 if self._is_stream else self.container.start_time or 0
        with suppress(av.error.FFmpegError):
            # A seek by time may land behind the first key frame where there is no index.
            self.container.seek(start, unsupported_byte_offset=self._is_stream)


def _weight(event: Coded | Packet[Stream]) -> int:
    """Bytes that it takes in memory."""
    return PACKET_OVERHEAD + (event if isinstance(event, Packet) else event.packet).size
