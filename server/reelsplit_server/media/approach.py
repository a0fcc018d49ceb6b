"""The way into a copy: what is read before the first packet that goes along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Union

from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.ends import MOST_REORDERED, PACKET_OVERHEAD, Coded
from reelsplit_server.media.nal.bitstream import CannotJoin, Picture
from reelsplit_server.media.span import Span

#: The most bytes of packets that are held until it is known where copying begins.
_MOST_HELD = 48 << 20

Event = Union[Coded, "Packet[Stream]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """How a copy begins. Video is in decoding order."""

    before: Sequence[Coded]
    """From an entry up to `entry`; empty where nothing before it is wanted."""
    entry: Coded
    """The first picture to be copied."""
    leading: Sequence[Coded]
    """Its leading pictures: decoded after it, shown before it."""
    keeps_leading: bool
    """Whether they are copied: they need nothing that is before `entry`, and all are wanted."""
    first: int
    """Ticks: when the first picture is shown that is copied and wanted."""
    after: Sequence[Coded]
    """What else has been read of the pictures to be copied."""
    others: Sequence[Packet[Stream]]
    """Packets of other streams that came on the way."""

    @property
    def head(self) -> list[Coded]:
        """What to decode for the wanted pictures that are not copied, which end at `first`."""
        return [*self.before, self.entry, *self.leading]

    @property
    def drops_references(self) -> bool:
        """Whether other pictures lean on some of those that are left out."""
        return not self.keeps_leading and any(each.access.is_reference for each in self.leading)


def exact(events: Iterator[Event], span: Span, *, joins: bool) -> Approach:
    """Read up to the first entry in the span, for a copy that begins there.

    `joins`: pictures can be encoded to stand before the entry. Raises `CannotJoin` where there is
    no entry in the span.
    """
    reading = _Reading(events)
    before: list[Coded] = []
    beyond = 0
    for coded in reading:
        if coded.access.picture.is_entry and coded.pts >= span.low:
            break
        before.append(coded)
        beyond += span.ends_before(coded.pts)
        if beyond > MOST_REORDERED:
            raise CannotJoin("no key frame lies in the range")
    else:
        raise CannotJoin("no key frame lies in the range")
    if span.ends_before(coded.pts):
        raise CannotJoin("no key frame lies in the range")
    entry, (leading, after) = coded, reading.leading(coded)
    has_head = any(span.low <= each.pts for each in before)
    # In HEVC something has to stand before leading pictures, or decoders may drop them.
    keeps = (
        entry.access.picture is Picture.IDR
        and all(each.pts >= span.low for each in leading)
        and (has_head or not joins)
    )
    return Approach(
        before=before,
        entry=entry,
        leading=leading,
        keeps_leading=keeps,
        first=min((entry, *leading) if keeps else (entry,), key=lambda each: each.pts).pts,
        after=after,
        others=reading.others,
    )


def whole_group(
    events: Iterator[Event], span: Span, *, hides: bool, hides_preroll: bool
) -> Approach:
    """Read on from an entry at or before the span, for a copy that begins there.

    `hides`: what lies before the span is to be hidden, so `first` is in the span; else `first` is
    the entry, or t = 0 where that is later and the output `hides_preroll`. Raises `MediaError`
    with ``RANGE_OUTSIDE_SOURCE`` where the source ends before a span that is to be left alone.
    """
    reading = _Reading(events)
    entry = next(iter(reading), None)
    if entry is None:
        raise CannotJoin("the source ends there")
    leading, after = reading.leading(entry)
    first = max(entry.pts, span.origin) if hides_preroll else entry.pts
    if hides:
        inside = [each.pts for each in (entry, *after) if each.pts >= span.low]
        for coded in reading:
            after.append(coded)
            if coded.pts >= span.low:
                inside.append(coded.pts)
            if len(inside) > MOST_REORDERED:
                break
        if not inside:
            raise span.empty(None)
        first = min(inside)
    return Approach(
        before=(),
        entry=entry,
        leading=leading,
        keeps_leading=False,
        first=first,
        after=after,
        others=reading.others,
    )


class _Reading:
    """Video out of the events; the rest is put aside. All within a bound of memory."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self.others: list[Packet[Stream]] = []
        self._size = 0

    def __iter__(self) -> Iterator[Coded]:
        for event in self._events:
            packet = event if isinstance(event, Packet) else event.packet
            self._size += packet.size + PACKET_OVERHEAD
            if self._size > _MOST_HELD:
                raise CannotJoin("the next key frame lies too far from the beginning of the range")
            if isinstance(event, Packet):
                self.others.append(event)
            else:
                yield event

    def leading(self, entry: Coded) -> tuple[list[Coded], list[Coded]]:
        """The entry's leading pictures, and the one that ends their row, if any."""
        found: list[Coded] = []
        for coded in self:
            if coded.pts > entry.pts:
                return found, [coded]
            if coded.pts == entry.pts:
                raise CannotJoin("two pictures of the source are shown at the same time")
            found.append(coded)
        return found, []
