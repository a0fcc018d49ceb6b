"""Reading a written segment once, packet by packet, and what each packet must hold to."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reelsplit_server.media.formats import Container
from reelsplit_server.media.heard import Heard
from reelsplit_server.media.packet_view import is_hidden
from reelsplit_server.media.trial import Trial, failed

_START_CODE = re.compile(rb"\x00\x00\x01")
#: Of H.264 and HEVC: parameter sets, and in HEVC what comes under the same rule.
_SETS = {"h264": frozenset((7, 8, 13, 15)), "hevc": frozenset((32, 33, 34))}
_SLICES = {"h264": frozenset(range(1, 6)), "hevc": frozenset(range(32))}
#: Pictures that need nothing before them, nor does what follows: as sync samples, these must be
#: marked.
_SYNC = {"h264": frozenset((5,)), "hevc": frozenset((19, 20))}
#: Pictures that decoding can begin at, and that may be marked.
_ENTRIES = {"h264": frozenset((5,)), "hevc": frozenset(range(16, 22))}


_ISO = (Container.MP4, Container.MOV)


class Written:
    """One pass over a file's packets; what is wrong with one of them is raised at once."""

    def __init__(
        self,
        container: InputContainer,
        video: VideoStream,
        trial: Trial,
        *,
        kind: Container,
        rebuilt: bool,
        may_repeat_sets: bool,
        tail_after: Fraction | None,
    ) -> None:
        """`tail_after`: packets shown later than this, in seconds after the first frame, belong
        to the encoded tail; None where there is none. `rebuilt` as in `Expected`;
        `may_repeat_sets`: parameter sets may stand in packets too."""
        self.hidden_frames = 0
        """By an edit list."""
        self.latest = Fraction(0)
        """Seconds on the file's clock: the end of the last packet of any other stream."""
        self.heard = {
            stream.index: Heard(stream)
            for stream in container.streams
            # Without a codec that FFmpeg knows there is no context, whatever PyAV's stub says.
            if isinstance(stream, AudioStream) and cast(object, stream.codec_context) is not None
        }
        self._container, self._video, self._trial = container, video, trial
        self._kind, self._rebuilt, self._may_repeat_sets = kind, rebuilt, may_repeat_sets
        self._codec = video.codec_context.codec.canonical_name
        self._base = Fraction(video.time_base or 1)
        self._width = self._nal_width()
        self._tail_after = None if tail_after is None else round(tail_after / self._base)
        self._zero: int | None = None
        self._sync: set[int] | None = None
        self._pts, self._dts = array("q"), array("q")
        self._in_tail = False
        self._packets = 0

    def read(self) -> None:
        """Read all packets. Raises `VerificationFailed`."""
        for packet in self._demuxed():
            if packet.stream_index == self._video.index:
                self._take(packet)
            elif (heard := self.heard.get(packet.stream_index)) is not None:
                heard.take(packet)
            elif packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self.latest = max(self.latest, end)
        self._trial.finish()
        self.latest = max([self.latest, *(heard.latest for heard in self.heard.values())])

    @property
    def times(self) -> NDArray[np.int64]:
        """When the frames are shown, sorted, in ticks of the file; shape (frames,)."""
        return np.sort(np.frombuffer(self._pts, dtype=np.int64))

    @property
    def decode_times(self) -> NDArray[np.int64]:
        """Of all packets of the video, hidden ones too, in the order of the file, in ticks."""
        return np.frombuffer(self._dts, dtype=np.int64)

    def _demuxed(self) -> Iterator[Packet[Stream]]:
        try:
            for packet in self._container.demux():
                if packet.is_corrupt:
                    raise failed("unreadable", f"the packet at {packet.pts} is incomplete")
                if packet.size:
                    yield packet
        except av.error.FFmpegError as error:
            raise failed("unreadable", f"the file breaks off ({error.strerror})") from error

    def _take(self, packet: Packet[Stream]) -> None:
        pts, dts = packet.pts, packet.dts
        if pts is None:
            raise failed("times", f"video packet {self._packets} does not say when it is shown")
        is_key = self._marked(packet)
        if not self._packets and not is_key:
            raise failed("keys", "the video does not begin with a key frame")
        enters = is_key
        if self._codec in _SLICES:
            enters = self._look_inside(packet, is_key)
        if self._kind in (Container.MP4, Container.MOV, Container.TS):
            if dts is None or dts > pts:
                raise failed("decode_times", f"the frame {self._at(pts)} is shown before its time")
            self._dts.append(dts)
        shows = not packet.is_discard and not is_hidden(self._codec, memoryview(packet))
        if packet.is_discard:
            self.hidden_frames += 1
        if shows:
            self._pts.append(pts)
            self._zero = pts if self._zero is None else min(self._zero, pts)
        is_tail = (
            self._tail_after is not None
            and self._zero is not None
            and pts - self._zero > self._tail_after
        )
        if is_tail and not self._in_tail and not is_key:
            raise failed("keys", f"the encoded end {self._at(pts)} does not begin with a key frame")
        self._in_tail |= is_tail
        self._packets += 1
        self._trial.take(packet, enters=enters, shows=shows, is_tail=is_tail)

    def _marked(self, packet: Packet[Stream]) -> bool:
        """Whether the container calls it a key frame: FFmpeg adds recovery points that it finds."""
        if self._kind not in _ISO or packet.pos is None or packet.pos < 0:
            return packet.is_keyframe
        if self._sync is None:
            # Now, as FFmpeg has read all of the index by the first packet.
            entries = self._video.index_entries
            self._sync = {entry.pos for entry in entries if entry.is_keyframe}
        return packet.pos in self._sync

    def _look_inside(self, packet: Packet[Stream], is_key: bool) -> bool:
        """Check a packet's NAL units; answers whether decoding can begin at it."""
        kind: int | None = None
        for unit in self._kinds(memoryview(packet)):
            if kind is None and unit in _SLICES[self._codec]:
                kind = unit
                if not self._width:
                    break
            if not self._may_repeat_sets and unit in _SETS[self._codec]:
                raise failed(
                    "sets", f"the packet {self._at(packet.pts)} repeats parameter sets in the video"
                )
        if kind is None:
            raise failed("units", f"the packet {self._at(packet.pts)} holds no picture")
        enters = kind in _ENTRIES[self._codec]
        if self._rebuilt and self._kind in _ISO:
            if is_key and not enters:
                raise failed(
                    "keys",
                    f"the frame {self._at(packet.pts)} is marked as a key frame, but is none "
                    "that can be entered",
                )
            if kind in _SYNC[self._codec] and not is_key:
                raise failed("keys", f"the key frame {self._at(packet.pts)} is not marked as one")
        return enters

    def _kinds(self, data: memoryview) -> Iterator[int]:
        """The types of a packet's NAL units."""
        if not self._width:
            for found in _START_CODE.finditer(data):
                if found.end() < len(data):
                    yield self._type(data[found.end()])
            return
        at, size, width = 0, len(data), self._width
        while at < size:
            start = at + width
            at = start + int.from_bytes(data[at:start], "big")
            if at > size or at < start + 1 or data[start] & 0x80:
                raise failed("units", "a packet of the video does not divide into its NAL units")
            yield self._type(data[start])

    def _type(self, first: int) -> int:
        return first & 31 if self._codec == "h264" else first >> 1 & 63

    def _nal_width(self) -> int:
        """Bytes in the length before each NAL unit; 0 for start codes and other codecs."""
        if self._codec not in _SLICES:
            return 0
        extradata = self._video.codec_context.extradata or b""
        at = {"h264": 4, "hevc": 21}[self._codec]
        if self._kind is Container.TS:
            return 0
        if len(extradata) <= at or extradata[0] != 1:
            raise failed("parameters", "the header lacks the parameter sets of the video")
        return (extradata[at] & 3) + 1

    def _at(self, pts: int | None) -> str:
        return "without a time" if pts is None else f"at {float(pts * self._base):.3f} s"
