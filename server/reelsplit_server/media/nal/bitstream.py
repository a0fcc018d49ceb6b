"""What cutting needs to know of a codec that has NAL units, and may do to its packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class CannotJoin(Exception):
    """Copied and encoded parts cannot stand in one stream; the text, for users, says why. It
    completes the sentence "the whole segment was encoded, as …"."""


class Picture(Enum):
    """What decoding may do at a picture. Where several apply, the first one in this list."""

    IDR = "idr"
    """Decoding can begin here, and nothing later leans on anything before (in HEVC also
    IDR_W_RADL: its leading pictures can be decoded)."""
    BLA = "bla"
    CRA = "cra"
    """Decoding can begin here; its RASL pictures lean on what was before."""
    RECOVERY = "recovery"
    """H.264: an intra picture with a recovery point of 0 frames. As CRA: leading pictures may
    lean on what was before."""
    RASL = "rasl"
    RADL = "radl"
    OTHER = "other"

    @property
    def is_entry(self) -> bool:
        """Whether decoding can begin here."""
        return self in (Picture.IDR, Picture.BLA, Picture.CRA, Picture.RECOVERY)

    @property
    def is_sync(self) -> bool:
        """Whether, besides, nothing after it in decoding order leans on anything before."""
        return self in (Picture.IDR, Picture.BLA)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One packet of video, taken apart."""

    units: Sequence[bytes]
    """Its NAL units, in order, without prefixes, all of them."""
    picture: Picture
    slice_type: str
    """``I``, ``P`` or ``B``: the most general one among its slices."""
    quantiser: int | None
    """The luma quantiser of its first slice, 0 to 51 (less for deep pixels); None if unread."""
    is_reference: bool
    """Whether other pictures may lean on it."""


class Bitstream(Protocol):
    """One source stream of H.264 or HEVC on its way into an output. One for each output file.

    Calls come in this order: `read` for every packet from an entry before the segment on, in
    decoding order; `enter` once, with the entry from which on packets are copied; `encoding` and
    `adopt` before the output's header is written, where something is encoded; `copied` for each
    copied access unit in decoding order, `encoded` for each packet of an encoder, whose
    parts `adopt` has seen. All raise `CannotJoin` where the source cannot be joined (a set with
    the same id and other contents comes up; something that cannot be edited), and
    `BrokenUnits` or `BrokenSyntax` where a packet is corrupt.
    """

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the source's pixel format, for the encoder. Raises `CannotJoin` where
        there is none that the encoder takes."""

    def read(self, data: bytes) -> AccessUnit:
        """Take a packet apart, and keep the parameter sets that come with it."""

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        """From `entry` on packets are copied, without its leading pictures, whatever comes before
        in the output. `drops_references`: other pictures lean on some of those left out."""

    def copied(self, access: AccessUnit) -> list[bytes]:
        """The NAL units as they go into the output: without parameter sets and delimiters, and
        edited as little as the entry needs; slice data is the source's own, bit for bit."""

    def encoding(self, quantiser: int) -> Mapping[str, str]:
        """Options for the encoder (libx264 or libx265, by PyAV's `codec_context.options`) whose
        pictures can follow and be followed by the source's own: profile, level, references,
        reordering, free ids, one thread, closed GOP, one key frame at the start only, no
        encoder's SEI. `quantiser` is that of the source's P slices around."""

    def adopt(self, extradata: bytes) -> None:
        """Take over the encoder's parameter sets (Annex B, as the encoder gives them) under ids
        of their own. Raises `CannotJoin` where they do not match the source's: profile, chroma,
        depth, size, field coding, and what decoders need to know beforehand (reordering,
        reference frames) must not be larger than the source's."""

    def encoded(self, data: bytes) -> list[bytes]:
        """The slices of an encoder's packet (Annex B), with the ids that `adopt` chose."""

    def extradata(self, *, annex_b: bool) -> bytes:
        """All sets that the output needs: an avcC or hvcC record (4-byte lengths), or, for
        containers that keep sets in the stream, start codes and units."""

    def sets(self, *, of_encoder: bool) -> list[bytes]:
        """The parameter sets to repeat at a key frame in the stream: the source's or the
        encoder's, as the frame is."""
