"""HEVC below the decoder: one source's stream on its way into an output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.nal.hevc_options import options, pixel_format
from reelsplit_server.media.nal.hevc_record import KINDS, read_record, write_record
from reelsplit_server.media.nal.hevc_sei import (
    LASTING,
    is_registered,
    messages,
    scan,
    scan_message,
    sei,
)
from reelsplit_server.media.nal.hevc_sets import read_sps
from reelsplit_server.media.nal.hevc_slice import read_slice
from reelsplit_server.media.nal.hevc_source import SourceSets
from reelsplit_server.media.nal.hevc_splice import (
    LONG_IDS,
    Ids,
    joined_pps,
    joined_slice,
    joined_sps,
    joined_vps,
    joint_ordering,
)
from reelsplit_server.media.nal.hevc_units import (
    BLA_N_LP,
    BLA_W_LP,
    CRA,
    DELIMITER,
    DOLBY_VISION,
    END_OF_SEQUENCE,
    END_OF_STREAM,
    FILLER,
    PPS,
    SEI,
    SPS,
    VPS,
    after_others,
    is_random_access,
    is_slice,
    kind,
    layer,
    temporal,
)
from reelsplit_server.media.nal.units import BrokenUnits, split, with_start_codes

_SETS = (VPS, SPS, PPS)
_ENDS = {END_OF_SEQUENCE, END_OF_STREAM}
_DROPPED = {*_SETS, *_ENDS, DELIMITER, FILLER}
_LAST_SUB_LAYER_TYPE = 14

_PICTURES = {
    6: Picture.RADL,
    7: Picture.RADL,
    8: Picture.RASL,
    9: Picture.RASL,
    16: Picture.BLA,
    17: Picture.BLA,
    18: Picture.BLA,
    19: Picture.IDR,
    20: Picture.IDR,
    21: Picture.CRA,
}
_GENERALITY = "IPB"

#: All ids that there are, and some twice.
_MOST_SETS = 128
#: Bytes; legal ones are smaller.
_LARGEST_LASTING = 64
#: Bytes that a unit of an hvcC may have.
_LARGEST_OUTSIDE = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class _HevcAccessUnit(AccessUnit):
    version: int
    """Which of the source's parameter sets it was read with."""


class HevcBitstream:
    """A `Bitstream` of HEVC."""

    def __init__(self, extradata: bytes) -> None:
        """`extradata`: the source's hvcC, or sets in Annex B form, or nothing. Raises
        `BrokenSyntax` or `BrokenUnits` where it is corrupt."""
        self._record = read_record(extradata)
        self._sets = SourceSets()
        self._outside: list[bytes] = []
        self._lasting: dict[int, bytes] = {}
        self._scan: tuple[int, int] | None = None
        self._at_entry = self._ended = False
        self._encoder: list[bytes] = []
        self._adopted: bytes | None = None
        self._ids: Ids | None = None
        self._beyond = ""
        for unit in self._record.units:
            if layer(unit):
                continue
            if kind(unit) in _SETS:
                self._sets.keep(unit)
            elif kind(unit) == SEI and len(unit) <= _LARGEST_OUTSIDE:
                self._outside.append(unit)
                self._meet_sei(unit)

    @property
    def has_dolby_vision(self) -> bool:
        """Whether Dolby Vision metadata, or a second layer, was seen: both can only be copied."""
        return bool(self._beyond)

    @property
    def pixel_format(self) -> str:
        """The pixel format in which encoded frames are to be, as decoders give it. Raises
        `CannotJoin` where libx265 cannot take it."""
        return pixel_format(self._sets.active)

    def read(self, data: bytes) -> AccessUnit:
        """Take a packet apart, and keep the parameter sets that come with it."""
        units = split(data, self._record.width)
        slice_type, quantiser, first = "I", None, b""
        found = 0
        for unit in units:
            nal_type = kind(unit)
            if nal_type in DOLBY_VISION:
                self._meet_beyond("Dolby Vision metadata cannot be encoded anew")
            elif layer(unit):
                self._meet_beyond("its second layer (stereo, alpha) cannot be encoded anew")
            elif nal_type in _SETS:
                found += 1
                if found > _MOST_SETS:
                    raise BrokenUnits("a packet has too many parameter sets")
                self._sets.keep(unit)
            elif nal_type == SEI:
                self._meet_sei(unit)
            elif is_slice(unit):
                head = read_slice(unit, self._sets.use, quantiser=not first)
                if head.first == bool(first):
                    raise BrokenUnits("a packet has not one whole picture")
                if not first:
                    first, quantiser = unit, head.quantiser
                slice_type = max(slice_type, head.slice_type or "I", key=_GENERALITY.index)
        if not first:
            raise BrokenUnits("a packet has no picture")
        nal_type = kind(first)
        return _HevcAccessUnit(
            units=units,
            picture=_PICTURES.get(nal_type, Picture.OTHER),
            slice_type=slice_type,
            quantiser=quantiser,
            is_reference=not (
                nal_type <= _LAST_SUB_LAYER_TYPE
                and nal_type % 2 == 0
                and temporal(first) >= self._sets.active.sub_layers - 1
            ),
            version=self._sets.version,
        )

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        """From `entry` on packets are copied; a CRA becomes a BLA, whatever is left out."""
        if not entry.picture.is_entry:
            raise CannotJoin("copying would begin in the middle of a GOP")
        if not isinstance(entry, _HevcAccessUnit) or entry.version != self._sets.version:
            raise CannotJoin("the source's parameter sets change where copying begins")
        self._sets.enter()
        self._at_entry = True

    def copied(self, access: AccessUnit) -> list[bytes]:
        """The NAL units as they go into the output."""
        kinds = [kind(unit) for unit in access.units]
        first = next(at for at, unit in enumerate(access.units) if is_slice(unit))
        ended = self._ended or not _ENDS.isdisjoint(kinds[:first])
        self._ended = not _ENDS.isdisjoint(kinds[first:])
        begins = self._at_entry or ended
        new_type = kinds[first]
        if begins and new_type == CRA:
            # Its leading pictures are gone, and what they leaned on too; or, where the end of a
            # sequence, which is dropped, stood before: nothing may lean on what is before.
            new_type = BLA_N_LP if self._at_entry else BLA_W_LP
        self._at_entry = False
        return [
            after_others(unit, new_type)
            if begins and is_random_access(nal_type) and not layer(unit)
            else unit
            for unit, nal_type in zip(access.units, kinds, strict=True)
            if layer(unit) or nal_type not in _DROPPED
        ]

    def encoding(self, quantiser: int) -> Mapping[str, str]:
        """Options for libx265, for pictures as good as P slices of `quantiser`."""
        if self._beyond:
            raise CannotJoin(self._beyond)
        return options(self._sets.active, quantiser)

    def adopt(self, extradata: bytes) -> None:
        """Take over libx265's sets; a second time only the same ones, for a tail."""
        if self._adopted is not None:
            if extradata != self._adopted:
                raise CannotJoin("the encoder's parameter sets differ from head to tail")
            return
        found = {kind(unit): unit for unit in split(extradata, 0)}
        if not {*_SETS} <= found.keys():
            raise CannotJoin("the encoder gave no parameter sets")
        source = self._sets.active
        ordering = joint_ordering(read_sps(found[SPS]), source)
        ids = Ids(
            vps=self._sets.free(VPS, range(16)),
            sps=self._sets.free(SPS, range(16)),
            pps=self._sets.free(PPS, LONG_IDS),
        )
        if source.vui is None or not source.vui.scan:
            self._scan = None
        self._encoder = [
            joined_vps(found[VPS], ids, source, ordering),
            joined_sps(
                found[SPS],
                ids,
                self._sets.unit(SPS, source.id),
                ordering,
                scan=self._scan is not None,
            ),
            joined_pps(found[PPS], ids),
        ]
        self._ids, self._adopted = ids, extradata

    def encoded(self, data: bytes) -> list[bytes]:
        """libx265's slices, with the source's SEI that holds for a whole sequence, and with closed
        captions, where frames brought some along. Only after `adopt`."""
        assert self._ids is not None
        units = split(data, 0)
        told = dict([scan_message(self._scan)]) if self._scan is not None else {}
        if any(is_random_access(kind(unit)) for unit in units if is_slice(unit)):
            told |= self._lasting
        kept = [sei(told)] if told else []
        for unit in units:
            if is_slice(unit):
                kept.append(joined_slice(unit, self._ids.pps))
            elif kind(unit) == SEI and is_registered(unit):
                kept.append(unit)
        return kept

    def extradata(self, *, annex_b: bool) -> bytes:
        """All sets, as an hvcC or in Annex B form. None may change afterwards."""
        self._sets.freeze()
        units = [*self._sets, *self._encoder, *self._outside]
        if annex_b:
            return with_start_codes(sorted(units, key=_rank))
        return write_record(self._record, self._sets.active, units)

    def sets(self, *, of_encoder: bool) -> list[bytes]:
        """The sets to repeat at a key frame. None may change afterwards."""
        self._sets.freeze()
        if of_encoder:
            return list(self._encoder)
        return [*sorted(self._sets, key=_rank), *self._outside]

    def _meet_sei(self, unit: bytes) -> None:
        for message, payload in messages(unit):
            if message in LASTING and len(payload) <= _LARGEST_LASTING:
                self._lasting[message] = payload
            elif self._adopted is None:
                self._scan = scan(message, payload) or self._scan

    def _meet_beyond(self, reason: str) -> None:
        """Note what is copied as it is, but cannot be encoded."""
        if self._adopted is not None:
            raise CannotJoin(reason)
        self._beyond = self._beyond or reason


def _rank(unit: bytes) -> int:
    return KINDS.index(kind(unit))
