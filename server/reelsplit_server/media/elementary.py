"""A source's video packets, taken apart and put together again for one output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.entries import picture_of
from reelsplit_server.media.formats import Container
from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.bitstream import AccessUnit, Bitstream, CannotJoin, Picture
from reelsplit_server.media.nal.h264 import H264Bitstream
from reelsplit_server.media.nal.hevc import HevcBitstream
from reelsplit_server.media.nal.units import BrokenUnits, with_lengths, with_start_codes
from reelsplit_server.media.packet_view import is_hidden

#: Where a picture of MPEG-4 begins.
_VOP = b"\x00\x00\x01\xb6"


class Elementary(Protocol):
    """Calls come in the order that `Bitstream` tells."""

    joins: bool
    """Whether encoded pictures can stand beside copied ones at all."""

    def read(self, packet: Packet[Stream]) -> AccessUnit:
        """Take a packet apart; as `Bitstream.read`."""

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        """As `Bitstream.enter`."""

    def copied(self, packet: Packet[Stream], access: AccessUnit) -> Packet[Stream]:
        """A packet for the output, without times."""

    def encoding(self, quantiser: int) -> tuple[str, str, Mapping[str, str]]:
        """The encoder's name, its pixel format, and its options; as `Bitstream.encoding`."""

    def adopt(self, extradata: bytes) -> None:
        """As `Bitstream.adopt`."""

    def encoded(self, packet: Packet[Stream]) -> Packet[Stream]:
        """A packet for the output out of an encoder's, without times."""

    def extradata(self) -> bytes | None:
        """What the output's header needs; None where it is the source's own."""


def elementary_of(stream: VideoStream, container: Container) -> Elementary:
    """The stream's packets on their way into a `container`. Raises `CannotJoin`."""
    context = stream.codec_context
    codec, extradata = context.codec.canonical_name, context.extradata or b""
    try:
        if codec == "h264":
            bitstream: Bitstream = H264Bitstream(extradata, reorder_depth=context.reorder_depth)
        elif codec == "hevc":
            bitstream = HevcBitstream(extradata)
        else:
            return Whole(codec)
    except (BrokenUnits, BrokenSyntax) as error:
        raise CannotJoin(f"the source's parameter sets are damaged ({error})") from error
    return NalUnits(codec, bitstream, container)


class NalUnits:
    """H.264 and HEVC. Parameter sets stand in the header alone where the container has one."""

    joins = True

    def __init__(self, codec: str, bitstream: Bitstream, container: Container) -> None:
        self._bitstream = bitstream
        self._encoder = {"h264": "libx264", "hevc": "libx265"}[codec]
        self._in_band = container is Container.TS
        self._marks_sync_only = container in (Container.MP4, Container.MOV)
        self._entry: AccessUnit | None = None

    def read(self, packet: Packet[Stream]) -> AccessUnit:
        """See `Elementary.read`."""
        return self._bitstream.read(bytes(packet))

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        """See `Elementary.enter`."""
        self._entry = entry
        self._bitstream.enter(entry, drops_references=drops_references)

    def copied(self, packet: Packet[Stream], access: AccessUnit) -> Packet[Stream]:
        """See `Elementary.copied`."""
        units = self._bitstream.copied(access)
        is_key = access is self._entry or access.picture.is_entry
        made = self._packet(units, of_encoder=False, is_key=is_key)
        picture = access.picture
        is_half = picture is Picture.RECOVERY or (self._marks_sync_only and not picture.is_sync)
        if is_half and not self._in_band and access is not self._entry:
            # A player that seeks there would show pictures that lean on what it has not seen;
            # Chromium gives up at a recovery point.
            made.is_keyframe = False
        return made

    def encoding(self, quantiser: int) -> tuple[str, str, Mapping[str, str]]:
        """See `Elementary.encoding`."""
        return (
            self._encoder,
            self._bitstream.pixel_format,
            self._bitstream.encoding(quantiser),
        )

    def adopt(self, extradata: bytes) -> None:
        """See `Elementary.adopt`."""
        self._bitstream.adopt(extradata)

    def encoded(self, packet: Packet[Stream]) -> Packet[Stream]:
        """See `Elementary.encoded`."""
        units = self._bitstream.encoded(bytes(packet))
        return self._packet(units, of_encoder=True, is_key=packet.is_keyframe)

    def extradata(self) -> bytes | None:
        """See `Elementary.extradata`."""
        return self._bitstream.extradata(annex_b=self._in_band)

    def _packet(self, units: Sequence[bytes], *, of_encoder: bool, is_key: bool) -> Packet[Stream]:
        if self._in_band:
            sets = self._bitstream.sets(of_encoder=of_encoder) if is_key else []
            data = with_start_codes([*sets, *units])
        else:
            data = with_lengths(units)
        packet: Packet[Stream] = Packet(data)
        packet.is_keyframe = is_key
        return packet


class Whole:
    """Every other codec: packets stay as they are, and nothing can be put beside them."""

    joins = False

    def __init__(self, codec: str) -> None:
        self._codec = codec

    def read(self, packet: Packet[Stream]) -> AccessUnit:
        """See `Elementary.read`."""
        data = bytes(packet)
        if self._codec == "mpeg4" and data.count(_VOP) != 1:
            raise CannotJoin("the source's packets hold several pictures, or none")
        if is_hidden(self._codec, memoryview(data)):
            raise CannotJoin("some of the source's pictures are never shown")
        return AccessUnit(
            units=(),
            picture=picture_of(self._codec, data, is_key=packet.is_keyframe),
            slice_type="",
            quantiser=None,
            is_reference=True,
        )

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        """See `Elementary.enter`."""

    def copied(self, packet: Packet[Stream], access: AccessUnit) -> Packet[Stream]:
        """See `Elementary.copied`: the packet itself, with its side data."""
        return packet

    def encoding(self, quantiser: int) -> tuple[str, str, Mapping[str, str]]:
        """See `Elementary.encoding`."""
        raise CannotJoin(f"{self._codec} pictures cannot be encoded to stand beside copied ones")

    def adopt(self, extradata: bytes) -> None:
        """See `Elementary.adopt`. Never called."""
        raise TypeError(f"{self._codec} has no parameter sets to adopt")

    def encoded(self, packet: Packet[Stream]) -> Packet[Stream]:
        """See `Elementary.encoded`. Never called."""
        raise TypeError(f"{self._codec} is copied only")

    def extradata(self) -> bytes | None:
        """See `Elementary.extradata`."""
        return None
