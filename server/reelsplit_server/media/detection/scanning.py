"""Looking at every frame of a stretch, and finding out whether all is as a decoder would see it
that comes from the beginning of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.detection.thumbs import StripBuilder
from reelsplit_server.media.packet_view import is_hidden

#: Packets that may lie between a stretch and the first frame behind it that comes out: more than
#: any decoder holds back.
_MOST_BEHIND = 256


class Passage:
    """Decoding a stretch from its entry on, with everything watched that may go wrong."""

    def __init__(self, reel: Reel, stretch: Stretch) -> None:
        self._reel, self._stretch = reel, stretch
        self._damage = Damage()
        self._codec = reel.stream.codec_context.codec.canonical_name
        self._low = stretch.low
        self._times: list[int] = []
        """When the packets of the stretch are shown."""
        self._border = False
        """Whether the packet has come with which the next stretch begins."""
        self.flaw: str | None = None
        """The first thing that was found, in words."""

    def frames(self) -> Iterator[VideoFrame]:
        """All that comes out of the decoder, up to the first frame behind the stretch."""
        entered = self._reel.enter(self._stretch.entry, self._damage)
        if entered is None:
            self._note("the index names a key frame that is not there")
            return
        behind = 0
        for number, packet in enumerate(entered):
            at_key = number == 0 and self._stretch.entry is not None
            if at_key and not self._reel.begins_cleanly(packet):
                self._note("the index names a key frame that needs what is before it")
                return
            self._watch(packet)
            if self._border:
                behind += 1
                if behind > _MOST_BEHIND:
                    self._note("nothing comes out of the decoder")
                    return
            yield from self._decoded(packet)
        yield from self._decoded(None)

    def sees(self, frame: VideoFrame) -> None:
        """Note what is wrong with a frame that came out."""
        if frame.is_corrupt and self._matters(frame):
            self._note("a frame is decoded in part")

    def conclude(self, pts: list[int], end: int | None) -> str | None:
        """Why the stretch is not to be trusted, now that its frames have these times."""
        if self.flaw is None and self._damage.count:
            self._note(self._damage.detail or "the file is damaged")
        if self.flaw is None and end is None and self._stretch.high is not None:
            self._note("the file breaks off")
        if self.flaw is None and any(b <= a for a, b in pairwise(pts)):
            self._note("presentation times do not increase")
        low = self._first(pts)
        if self.flaw is None and sorted(time for time in self._times if time >= low) != pts:
            self._note("not every packet comes out of the decoder as one frame")
        wanted = self._stretch.pts
        if self.flaw is None and wanted is not None and not np.array_equal(wanted, pts):
            self._note("the index tells of other frames")
        return self.flaw

    def _first(self, pts: list[int]) -> int:
        """When the first frame of the stretch is shown at the earliest."""
        if self._low is not None:
            return self._low
        # Pictures that lean on what is before the beginning of the file never come out.
        return pts[0] if pts else 0

    def _watch(self, packet: Packet[VideoStream]) -> None:
        pts, high = packet.pts, self._stretch.high
        if pts is None:
            self._note("a packet has no time")
            return
        if high is not None and pts >= high:
            if not (self._border or self._stretch.cut or pts == high):
                self._note("a packet lies before the key frame that is shown earlier")
            self._border = True
            return
        if packet.is_corrupt:
            self._note("a packet is incomplete")
        if not packet.is_discard and not is_hidden(self._codec, memoryview(packet)):
            self._times.append(pts)

    def _decoded(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            return self._reel.stream.decode(packet)
        except av.error.FFmpegError as error:
            pts = None if packet is None else packet.pts
            entry, high = self._stretch.entry, self._stretch.high
            # With frame threads it is not known which packet it was.
            alone = self._reel.threads == 1 and pts is not None
            before = alone and entry is not None and pts is not None and pts < entry
            behind = alone and high is not None and pts is not None and pts >= high
            if not before and not behind:
                self._note(f"a packet cannot be decoded ({error.strerror})")
            return []

    def _matters(self, frame: VideoFrame) -> bool:
        """Whether the frame is of the stretch, or of those that its frames may lean on."""
        pts, entry, high = frame.pts, self._stretch.entry, self._stretch.high
        if pts is None:
            return True
        if entry is not None and pts < entry:
            return False
        if self._low is not None and pts < self._low and frame.pict_type == PictureType.B:
            return False
        return high is None or pts < high

    def _note(self, flaw: str) -> None:
        if self.flaw is None:
            self.flaw = flaw


def scan_all(reel: Reel, stretch: Stretch, pause: Callable[[], None]) -> Scanned:
    """Look at every frame of a stretch; see `Effort.scan`."""
    passage = Passage(reel, stretch)
    strip = StripBuilder()
    times: list[int] = []
    end: int | None = None
    duration = 0
    for frame in passage.frames():
        pause()
        if frame.pts is None:
            passage.flaw = passage.flaw or "a frame has no time"
            continue
        if stretch.high is not None and frame.pts >= stretch.high:
            end = frame.pts
            break
        passage.sees(frame)
        if stretch.low is None or frame.pts >= stretch.low:
            times.append(frame.pts)
            strip.add(frame.pts, reel.thumbs.make(frame))
            duration = frame.duration or reel.step
    return Scanned(
        pts=np.array(times, np.int64),
        strips=(strip.take(),),
        end=end,
        last_duration=duration,
        flaw=passage.conclude(times, end),
    )
