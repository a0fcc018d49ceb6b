"""Decoding single frames of a source, with a decoder of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.container import decoder_like
from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.detection.fast_groups import Group
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.thumbs import Thumb

#: Codecs whose decoders can leave out frames that no other leans on.
_SKIPPING = ("h264", "hevc", "mpeg2video", "mpeg4")

#: Packets behind a group that its last frames may need: more than any decoder holds back.
_MOST_BEHIND = 64

Enough = Callable[[int, Thumb], bool]
"""Whether none of the frames behind one, which is shown at these ticks, needs a look."""


def never(pts: int, thumb: Thumb) -> bool:
    """An `Enough` that asks for all frames."""
    return False


class Glance:
    """Looks at frames here and there."""

    def __init__(self, reel: Reel) -> None:
        self._reel = reel
        source = reel.stream.codec_context
        self.can_skip = source.codec.canonical_name in _SKIPPING
        """Whether frames can be left out."""
        # With the loop filter: without it, errors add up from picture to picture, and the next key
        # frame looks like another shot.
        self._context = decoder_like(source, threads=1)
        self.duration = reel.step
        """Ticks that the latest frame looked at is shown for."""

    def key_frame(self, entry: int | None) -> Thumb | None:
        """The key frame that is shown at `entry` ticks, None for the file's first. None where it
        cannot be had by itself."""
        damage = Damage()
        packets = self._reel.enter(entry, damage)
        packet = None if packets is None else next(packets, None)
        if packet is None or damage.count or packet.is_corrupt:
            return None
        if packet.pts is None or not self._reel.begins_cleanly(packet):
            return None
        for frame in self._decoded((packet,), None):
            if frame.pts == packet.pts and not frame.is_corrupt:
                return self._reel.thumbs.make(frame)
        return None

    def frames(
        self,
        group: Group,
        wanted: Collection[int] | None,
        pause: Callable[[], None],
        enough: Enough = never,
    ) -> dict[int, Thumb] | None:
        """The frames of a group that are shown at the `wanted` ticks, None for all, and perhaps
        some more; up to the first with which there are `enough`. None where they do not come out
        as they should."""
        asked = set(group.pts.tolist() if wanted is None else wanted)
        first, last = int(group.pts[0]), max(asked)
        damage = Damage()
        packets = self._reel.enter(group.entry, damage)
        if packets is None:
            return None
        found: dict[int, Thumb] = {}
        for frame in self._decoded(self._until(packets, last), None if wanted is None else asked):
            pause()
            pts = frame.pts
            if pts is None or frame.is_corrupt:
                return None
            if first <= pts <= int(group.pts[-1]):
                found[pts] = self._reel.thumbs.make(frame)
                self.duration = frame.duration or self._reel.step
                if pts in asked and enough(pts, found[pts]):
                    asked = {each for each in asked if each <= pts}
                    break
            if pts >= last:
                break
        return None if damage.count or asked - found.keys() else found

    def _until(
        self, packets: Iterator[Packet[VideoStream]], last: int
    ) -> Iterator[Packet[VideoStream]]:
        """The packets from a key frame on, as long as the frame at `last` ticks may need them."""
        behind = 0
        for number, packet in enumerate(packets):
            if number == 0 and not self._reel.begins_cleanly(packet):
                return
            if packet.dts is not None and packet.dts > last:
                return
            behind += packet.pts is None or packet.pts > last
            if behind > _MOST_BEHIND:
                return
            yield packet

    def _decoded(
        self, packets: Iterable[Packet[VideoStream]], wanted: Collection[int] | None
    ) -> Iterator[VideoFrame]:
        context = self._context
        try:
            for packet in packets:
                if wanted is not None and self.can_skip:
                    skip = packet.pts not in wanted
                    context.skip_frame = "NONREF" if skip else "DEFAULT"
                yield from context.decode(packet)
            yield from context.decode(None)
        except av.error.FFmpegError:
            return
        finally:
            context.skip_frame = "DEFAULT"
            context.flush_buffers()
