"""Where copying ends: which packets, in decoding order, go along with those before them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin

#: Pictures that another can overtake between decoding and showing, at most, in any codec here.
MOST_REORDERED = 16
#: Bytes that a packet takes in memory besides its own.
PACKET_OVERHEAD = 1000
#: Pictures that are held for a decision, at most: one may be decoded long before it is shown, but
#: no encoder makes such rows.
_MOST_HELD = 16 * MOST_REORDERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A picture on its way from the source."""

    packet: Packet[Stream]
    """As it was read; `pts` is set."""
    pts: int
    """Ticks: when it is shown."""
    access: AccessUnit


class End(Protocol):
    """Takes the pictures from the entry on, in decoding order, until it is `done`."""

    done: bool
    """No later picture can matter."""
    beyond: int | None
    """Ticks: the first time at or after the end at which a picture is shown, of those seen."""

    left: int
    """How many pictures shown before the end are not copied; known after `finish`."""

    def push(self, coded: Coded) -> list[Coded]:
        """Take a picture; answers those that are now certain to be copied, in order.

        Raises `CannotJoin` where the order of decoding is too far from that of showing."""

    def finish(self) -> list[Coded]:
        """The last ones to be copied. Called once, when `done` or at the end of the source."""


class _Watch:
    """What all ends have to know: whether all pictures shown before `high` have come."""

    def __init__(self, high: int | None) -> None:
        self._high = high
        self._after = 0
        self.left = 0
        self.beyond: int | None = None
        self.done = False

    def _see(self, coded: Coded) -> bool:
        """Whether the picture is shown before the end."""
        if self._high is None or coded.pts < self._high:
            return True
        if self.beyond is None or coded.pts < self.beyond:
            self.beyond = coded.pts
        self._after += 1
        self.done = self._after > MOST_REORDERED
        return False


class GapFree(_Watch):
    """The longest prefix that shows every picture up to its last one, and none from `high` on."""

    def __init__(self, high: int | None) -> None:
        super().__init__(high)
        self._pending: list[Coded] = []

    def push(self, coded: Coded) -> list[Coded]:
        self._see(coded)
        _hold(self._pending, coded)
        if len(self._pending) < 4 * MOST_REORDERED:
            return []
        return self._take(len(self._pending) - MOST_REORDERED - 1)

    def finish(self) -> list[Coded]:
        taken = self._take(len(self._pending))
        self.left = sum(self._high is None or each.pts < self._high for each in self._pending)
        return taken

    def _take(self, most: int) -> list[Coded]:
        """The pictures up to the last one, of the first `most`, that nothing later precedes."""
        times = [coded.pts for coded in self._pending]
        latest = list(accumulate(times, max))
        earliest = list(accumulate(reversed(times), min))[::-1]
        for count in range(most, 0, -1):
            before_end = self._high is None or latest[count - 1] < self._high
            if before_end and (count == len(times) or earliest[count] > latest[count - 1]):
                taken, self._pending = self._pending[:count], self._pending[count:]
                return taken
        return []


class Covering(_Watch):
    """All pictures shown before `high`, and those between them that they may lean on."""

    def __init__(self, high: int | None) -> None:
        super().__init__(high)
        self._held: list[Coded] = []

    def push(self, coded: Coded) -> list[Coded]:
        self._held.append(coded)
        if not self._see(coded):
            return []
        taken, self._held = self._held, []
        return taken

    def finish(self) -> list[Coded]:
        return []


class AtEntry(_Watch):
    """Up to the first entry shown at or after `high`.

    Its leading pictures are shown before it, but need it: so it goes along where it has some, and
    is left for the next segment where it has none. `beyond` is then the picture shown after it:
    only that one tells when it ends, as packets' durations may follow the order of decoding.
    """

    def __init__(self, high: int | None) -> None:
        super().__init__(high)
        self._entry: list[Coded] = []

    def push(self, coded: Coded) -> list[Coded]:
        if self._entry:
            entry = self._entry[0].pts
            if coded.pts < entry and self.beyond is None:
                _hold(self._entry, coded)
            elif len(self._entry) == 1:
                self.done = True
            elif coded.pts > entry:
                self._see(coded)
            return []
        if self._high is not None and coded.pts >= self._high and coded.access.picture.is_entry:
            self._entry = [coded]
            return []
        return [coded]

    def finish(self) -> list[Coded]:
        if len(self._entry) > 1:
            return self._entry
        self.beyond = self._entry[0].pts if self._entry else None
        return []


def _hold(row: list[Coded], coded: Coded) -> None:
    if len(row) >= _MOST_HELD:
        raise CannotJoin("the source's pictures are stored far from the order of showing them")
    row.append(coded)
