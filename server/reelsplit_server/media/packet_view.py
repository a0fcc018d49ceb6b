"""Presentation times read off the packets, without decoding, where packets can be believed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reelsplit_server.media.decoding import Damage, packets
from reelsplit_server.media.probe import codec_name

#: Where one packet is one frame and carries its presentation time. Elsewhere (AVI, program
#: streams, raw streams, ASF…) times are missing or guessed, and only decoding tells.
_TRUSTED_CONTAINERS = ("mov,mp4", "matroska", "mpegts", "flv", "live_flv")
_TRUSTED_CODECS = frozenset(
    ("h264", "hevc", "av1", "vp8", "vp9", "mpeg2video", "prores", "dnxhd", "ffv1", "mjpeg")
)

#: Frames really decoded at the start, to learn which packets come out and which do not.
_HEAD_FRAMES = 32


def trusted(container: InputContainer, stream: VideoStream) -> bool:
    return (
        container.format.name.startswith(_TRUSTED_CONTAINERS)
        and codec_name(stream) in _TRUSTED_CODECS
    )


def is_trusted_codec(codec: str) -> bool:
    """Whether a packet of the codec is at most one frame that is shown, and carries its time."""
    return codec in _TRUSTED_CODECS


def counts_packets(codec: str) -> bool:
    """Whether each packet of the codec is a frame that is shown, without a look into it."""
    return codec in _TRUSTED_CODECS and codec not in ("vp8", "vp9")


class PacketView:
    """Reads times off the packets, as long as they can be believed."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._codec = stream.codec_context.codec.canonical_name
        self._nal_width = nal_width(stream)
        self._times = array("q")
        self._last = (0, 0)
        """Presentation time and duration of the packet shown last."""

    def read(
        self, container: InputContainer, on_packet: Callable[[Packet[VideoStream]], None]
    ) -> tuple[NDArray[np.int64], int] | None:
        """The frames' times in ticks, sorted, and the last one's duration, 0 if it has none.

        None as soon as only decoding can tell.
        """
        damage = Damage()
        is_transport = container.format.name == "mpegts"
        source = self._checked(packets(container, self._stream, damage), on_packet)
        head: list[int | None] = []
        try:
            for frame in _decode_head(self._stream, source):
                # The two fields of a frame may be two packets in a transport stream.
                if frame.interlaced_frame and is_transport:
                    return None
                head.append(frame.pts)
                if len(head) == _HEAD_FRAMES:
                    break
            for _ in source:
                pass
        except _NotTrusted:
            return None
        if damage.count or not head or head[0] is None:
            return None
        pts = np.sort(np.array(self._times, dtype=np.int64))
        # Packets before the first frame that came out may have come to nothing: pictures that
        # lean on a GOP that the file does not have. From there on, all must have come out.
        pts = pts[np.searchsorted(pts, head[0]) :]
        if pts[: len(head)].tolist() != head or np.any(np.diff(pts) <= 0):
            return None
        return pts, self._last[1]

    def _checked(
        self,
        source: Iterator[Packet[VideoStream]],
        on_packet: Callable[[Packet[VideoStream]], None],
    ) -> Iterator[Packet[VideoStream]]:
        """Pass on each packet after noting its time. Raises `_NotTrusted`."""
        last_dts: int | None = None
        for packet in source:
            if packet.is_corrupt or packet.pts is None:
                raise _NotTrusted
            if self._nal_width and not _nals_fit(memoryview(packet), self._nal_width):
                raise _NotTrusted
            if packet.dts is not None:
                # Files joined end to end, or a clock that wraps: times start over.
                if last_dts is not None and packet.dts < last_dts:
                    raise _NotTrusted
                last_dts = packet.dts
            if not packet.is_discard and not self._hidden(packet):
                self._times.append(packet.pts)
                if len(self._times) == 1 or packet.pts > self._last[0]:
                    self._last = (packet.pts, packet.duration or 0)
            on_packet(packet)
            yield packet

    def _hidden(self, packet: Packet[VideoStream]) -> bool:
        return is_hidden(self._codec, memoryview(packet))


def is_hidden(codec: str, data: memoryview) -> bool:
    """Whether a VP8 or VP9 packet only feeds later ones (an alternate reference frame)."""
    if codec == "vp8":
        return not data[0] >> 4 & 1
    if codec == "vp9":
        return _vp9_hidden(data)
    return False


class _NotTrusted(Exception):
    """The packets do not tell for sure what will be presented."""


def _decode_head(
    stream: VideoStream, source: Iterator[Packet[VideoStream]]
) -> Iterator[VideoFrame]:
    for packet in source:
        try:
            yield from stream.decode(packet)
        except av.error.FFmpegError:
            raise _NotTrusted from None
    yield from stream.decode(None)


def nal_width(stream: VideoStream) -> int:
    """Bytes in the length before each NAL unit, as avcC or hvcC says; 0 for start codes."""
    extradata = stream.codec_context.extradata or b""
    at = {"h264": 4, "hevc": 21}.get(stream.codec_context.codec.canonical_name, len(extradata))
    if len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _nals_fit(data: memoryview, width: int) -> bool:
    """Whether the NAL units fill the packet to the byte: where not, it is corrupt, and only a
    decoder can tell whether a frame comes out of it."""
    at, size = 0, len(data)
    while at + width < size:
        length = int.from_bytes(data[at : at + width], "big")
        # A NAL unit's first bit is always zero.
        if length == 0 or data[at + width] & 0x80:
            return False
        at += width + length
    return at == size


def _vp9_hidden(data: memoryview) -> bool:
    """Whether no frame of a VP9 packet is shown.

    A superframe (index marker in its last byte) always ends in a shown one.
    """
    if data[-1] & 0b1110_0000 == 0b1100_0000:
        return False
    first = data[0]
    profile = (first >> 5 & 1) | (first >> 4 & 1) << 1
    bit = 3 if profile != 3 else 2  # where show_existing_frame stands, from the right
    if first >> bit & 1:
        return False
    # Then frame_type and show_frame.
    return not first >> bit - 2 & 1
