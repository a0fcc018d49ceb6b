"""The last step of a video packet: its times, from those of its presentation alone."""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.order import Order
from reelsplit_server.media.output import Output


class Pacer:
    """Takes packets in decoding order, gives each its decode time and duration, and muxes it.

    Nothing is left of the times that a source or an encoder gave: an encoder's decode times need
    not fit another's, and x265's are garbage where it got fewer pictures than it reorders.
    """

    def __init__(
        self, output: Output, stream: VideoStream, time_base: Fraction, *, depth: int, step: int
    ) -> None:
        """`depth`: pictures that another may overtake. `step`: ticks of `time_base` that one is
        usually shown for."""
        self._output, self._stream, self._time_base = output, stream, time_base
        self._order = Order(depth=depth, step=step)
        self._held: Packet[Stream] | None = None
        self._delay = 0
        self.frame_count = 0
        """Packets taken."""

    def push(self, packet: Packet[Stream], pts: int) -> None:
        """Take the next packet, which is shown at `pts`."""
        self.frame_count += 1
        packet.pts = pts
        for ready in self._order.push(packet):
            self._hold(ready)

    def finish(self, end: int) -> bool:
        """Write what is left; the frame shown last ends at `end`.

        Answers whether the muxer will take the presentation for longer than that.
        """
        for ready in self._order.finish(end):
            self._hold(ready)
        last, self._held = self._held, None
        if last is None:
            return False
        assert last.pts is not None
        assert last.dts is not None
        if self._output.is_iso:
            # These files add up decode times: the packet decoded last ends the track.
            last.duration = max(last.duration or 1, end - self._delay - last.dts)
        overshoots = last.pts + (last.duration or 0) > end
        self._mux(last)
        return self._output.is_iso and overshoots

    def _hold(self, packet: Packet[Stream]) -> None:
        if self._held is None:
            self._delay = (packet.pts or 0) - (packet.dts or 0)
        else:
            self._mux(self._held)
        self._held = packet

    def _mux(self, packet: Packet[Stream]) -> None:
        packet.time_base = self._time_base
        packet.stream = self._stream
        self._output.mux(packet)
