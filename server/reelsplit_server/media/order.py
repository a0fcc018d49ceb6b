"""Decoding times and durations for copied packets, from their presentation times alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.nal.bitstream import CannotJoin

#: Packets that are held at most: more than any encoder overtakes at once.
_MOST_HELD = 512


class Order:
    """Takes packets in decoding order with their pts; gives them back with dts and duration.

    The n-th packet is decoded when the (n - depth)-th picture is shown, which never is after its
    own time if no picture overtakes more than `depth` others. A packet is held until the picture
    after it is known: about `depth` packets. Raises `CannotJoin` where that never comes, as two
    pictures are shown at the same time.
    """

    def __init__(self, *, depth: int, step: int) -> None:
        """`step`: ticks that a picture is usually shown for."""
        self._depth, self._step = depth, step
        self._heap: list[int] = []
        self._shown: deque[int] = deque()
        self._after: dict[int, int] = {}
        self._held: deque[Packet[Stream]] = deque()
        self._newest: int | None = None
        self._last_dts: int | None = None
        self._given = 0

    def push(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        assert packet.pts is not None
        if len(self._held) >= _MOST_HELD:
            raise CannotJoin("two pictures of the source are shown at the same time")
        self._held.append(packet)
        heappush(self._heap, packet.pts)
        if len(self._heap) > self._depth:
            self._settle(heappop(self._heap))
        yield from self._ready()

    def finish(self, end: int) -> Iterator[Packet[Stream]]:
        """The rest; what is shown last is shown until `end`."""
        while self._heap:
            self._settle(heappop(self._heap))
        if self._newest is not None:
            self._after.setdefault(self._newest, max(end, self._newest + 1))
        yield from self._ready()

    def _settle(self, pts: int) -> None:
        """No picture that is still to come is shown before `pts`."""
        if self._newest is not None:
            self._after[self._newest] = pts
        self._newest = pts
        self._shown.append(pts)

    def _ready(self) -> Iterator[Packet[Stream]]:
        while self._held and self._held[0].pts in self._after:
            packet = self._held.popleft()
            pts = packet.pts
            assert pts is not None
            packet.duration = max(1, self._after.pop(pts) - pts)
            if self._given < self._depth:
                dts = self._shown[0] - (self._depth - self._given) * self._step
            else:
                dts = self._shown.popleft()
            if self._last_dts is not None:
                dts = max(dts, self._last_dts + 1)
            packet.dts = self._last_dts = min(dts, pts)
            self._given += 1
            yield packet
