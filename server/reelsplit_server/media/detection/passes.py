"""Decoding on and on, whatever is broken: what helps where stretches cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.decoding import STEPS_BACK, Damage, presented
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.thumbs import StripBuilder
from reelsplit_server.media.packet_view import is_hidden, trusted
from reelsplit_server.media.probe import codec_name

#: Frames seen at once: small pictures of them are held until they are looked at.
_PART = 128


@dataclass(slots=True, kw_only=True)
class Places(Damage):
    """Damage of a decoder that goes on, with the place of each piece where none is known better:
    that of the frame that came out last."""

    now: Fraction | None = None
    """Seconds on the source's own clock."""
    found: list[Fraction] = field(default_factory=list)
    """The places, in the order in which they were found, each a tenth of a second or more from
    the one before."""

    def note(self, detail: str, at: Fraction | None = None) -> None:
        """As `Damage.note`."""
        at = self.now if at is None else at
        Damage.note(self, detail, at)
        if at is None or (self.found and abs(at - self.found[-1]) < Fraction(1, 10)):
            return
        # A bound, since a hostile file may be broken everywhere.
        if len(self.found) < 10_000:
            self.found.append(at)


class Pass:
    """One decoder on its way from a place before `low` to the end of the source. Frames that have
    no time, or one that falls back, get the next one, as in `decoding.presented`."""

    def __init__(self, reel: Reel, entry: int | None, low: int | None) -> None:
        """`entry` is when a key frame is shown from which to come; None for the beginning of the
        file. `low`: frames before this tick are not looked at."""
        self._reel, self._low = reel, low
        self.skipped = 0
        """Frames that came out before `low`."""
        self.damage = Places()
        self._due: list[int] | None = None
        """A heap: when the packets are shown of which no frame has come out so far; None where
        that tells nothing."""
        self._first: int | None = None
        self._frames = self._enter(entry)

    def parts(self, high: int | None) -> Iterator[Scanned]:
        """All frames before `high` ticks, None for all that there are, in parts of some frames. To
        be called once."""
        strip, duration = StripBuilder(), 0
        for frame in self._frames:
            pts = frame.pts
            assert pts is not None
            self.damage.now = pts * self._reel.base
            if frame.interlaced_frame:
                # The two fields of a frame may be two packets.
                self._due = None
            self._watch(pts)
            if high is not None and pts >= high:
                yield _part(strip.take(), pts, duration)
                return
            if self._low is not None and pts < self._low:
                self.skipped += 1
                continue
            if frame.is_corrupt:
                self.damage.note("a frame is decoded in part")
            if len(strip) >= _PART:
                yield _part(strip.take(), pts, duration)
                strip = StripBuilder()
            strip.add(pts, self._reel.thumbs.make(frame))
            duration = frame.duration or self._reel.step
        self._watch(None)
        yield _part(strip.take(), None, duration)

    def _enter(self, entry: int | None) -> Iterator[VideoFrame]:
        reel = self._reel
        if entry is not None:
            for step in STEPS_BACK:
                target = entry - round(step / reel.base)
                if not reel.seek(target):
                    continue
                frames = self._presented()
                first = next(frames, None)
                if first is not None and (first.pts or 0) <= entry:
                    return chain((first,), frames)
                self.damage = Places()
        reel.rewind()
        return self._presented()

    def _watch(self, pts: int | None) -> None:
        """Note the packets of which nothing came out before the frame at this tick, or at all."""
        if self._due is None or self.damage.restarts:
            return
        if self._first is None:
            self._first = pts
        while self._due and (pts is None or self._due[0] <= pts):
            lost = heappop(self._due)
            # What leans on pictures before the entry never comes out.
            if self._first is not None and self._first < lost and lost != pts:
                self.damage.note("frames are missing", lost * self._reel.base)

    def _presented(self) -> Iterator[VideoFrame]:
        reel, damage = self._reel, self.damage
        codec = codec_name(reel.stream) or ""
        self._due = [] if trusted(reel.container, reel.stream) else None
        self._first = None

        def on_packet(packet: Packet[VideoStream]) -> None:
            at = None if packet.pts is None else packet.pts * reel.base
            if packet.is_corrupt:
                damage.note("a packet is incomplete", at)
            if self._due is None or packet.pts is None or packet.is_discard:
                return
            if not is_hidden(codec, memoryview(packet)):
                heappush(self._due, packet.pts)

        return presented(reel.container, reel.stream, damage, on_packet)


def _part(strip: Strip, end: int | None, duration: int) -> Scanned:
    return Scanned(pts=strip.pts, strips=(strip,), end=end, last_duration=duration)
