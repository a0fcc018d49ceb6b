"""HEVC below the decoder: one source's stream on its way into an output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.nal.hevc_options import options, pixel_format
from reelsplit_server.media.nal.hevc_record import KINDS, read_record, write_record
from reelsplit_server.media.nal.hevc_sets import (
    PPS,
    SEI,
    SPS,
    VPS,
    Pps,
    Sps,
    kind,
    layer,
    read_pps,
    read_sps,
    set_id,
    temporal,
)
from reelsplit_server.media.nal.hevc_slice import BLA_N_LP, CRA, is_slice, read_slice
from reelsplit_server.media.nal.hevc_splice import (
    LONG_IDS,
    Ids,
    joined_pps,
    joined_slice,
    joined_sps,
    joined_vps,
    joint_ordering,
)
from reelsplit_server.media.nal.units import BrokenUnits, split, with_start_codes

_SETS = (VPS, SPS, PPS)
_DELIMITER, _END_OF_SEQUENCE, _END_OF_STREAM, _FILLER = 35, 36, 37, 38
_DROPPED = {*_SETS, _DELIMITER, _END_OF_SEQUENCE, _END_OF_STREAM, _FILLER}
_DOLBY_VISION = (62, 63)
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
        self._sets: dict[tuple[int, int], bytes] = {}
        self._sps: dict[int, Sps] = {}
        self._pps: dict[int, Pps] = {}
        self._seis: list[bytes] = []
        self._used: set[tuple[int, int]] = set()
        self._version = 0
        self._active: Sps | None = None
        self._entered = self._at_entry = self._written = False
        self._encoder: list[bytes] = []
        self._adopted: bytes | None = None
        self._ids: Ids | None = None
        self.has_dolby_vision = False
        """Whether Dolby Vision metadata, or a second layer, was seen."""
        for unit in self._record.units:
            if layer(unit):
                continue
            if kind(unit) in _SETS:
                self._keep(unit)
            elif kind(unit) == SEI:
                self._seis.append(unit)

    @property
    def pixel_format(self) -> str:
        """The pixel format in which encoded frames are to be, as decoders give it. Raises
        `CannotJoin` where libx265 cannot take it."""
        return pixel_format(self._source())

    def read(self, data: bytes) -> AccessUnit:
        units = split(data, self._record.width)
        slice_type, quantiser, first = "I", None, b""
        for unit in units:
            nal_type = kind(unit)
            if layer(unit) or nal_type in _DOLBY_VISION:
                self._meet_dolby_vision()
            elif nal_type in _SETS:
                self._keep(unit)
            elif is_slice(unit):
                head = read_slice(unit, self._active_sets, quantiser=not first)
                if not first:
                    first, quantiser = unit, head.quantiser
                slice_type = max(slice_type, head.slice_type or "I", key=_GENERALITY.index)
        if not first:
            raise BrokenUnits("a packet has no picture")
        assert self._active is not None
        nal_type = kind(first)
        return _HevcAccessUnit(
            units=units,
            picture=_PICTURES.get(nal_type, Picture.OTHER),
            slice_type=slice_type,
            quantiser=quantiser,
            is_reference=not (
                nal_type <= _LAST_SUB_LAYER_TYPE
                and nal_type % 2 == 0
                and temporal(first) >= self._active.sub_layers - 1
            ),
            version=self._version,
        )

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        if not entry.picture.is_entry:
            raise CannotJoin("copying would begin in the middle of a GOP")
        if not isinstance(entry, _HevcAccessUnit) or entry.version != self._version:
            raise CannotJoin("the source's parameter sets change where copying begins")
        self._entered = self._at_entry = True

    def copied(self, access: AccessUnit) -> list[bytes]:
        units = [unit for unit in access.units if layer(unit) or kind(unit) not in _DROPPED]
        if self._at_entry and access.picture is Picture.CRA:
            # Its leading pictures are gone, and what comes before it is not what came before.
            units = [_retyped(unit, BLA_N_LP) if kind(unit) == CRA else unit for unit in units]
        self._at_entry = False
        return units

    def encoding(self, quantiser: int) -> Mapping[str, str]:
        if self.has_dolby_vision:
            raise CannotJoin("Dolby Vision metadata cannot be encoded anew")
        return options(self._source(), quantiser)

    def adopt(self, extradata: bytes) -> None:
        if self._adopted is not None:
            if extradata != self._adopted:
                raise CannotJoin("the encoder's parameter sets differ from head to tail")
            return
        found = {kind(unit): unit for unit in split(extradata, 0)}
        if not {*_SETS} <= found.keys():
            raise CannotJoin("the encoder gave no parameter sets")
        source, encoder = self._source(), read_sps(found[SPS])
        ordering = joint_ordering(encoder, source)
        ids = Ids(
            vps=self._free(VPS, range(16)),
            sps=self._free(SPS, range(16)),
            pps=self._free(PPS, LONG_IDS),
        )
        self._encoder = [
            joined_vps(found[VPS], ids, source, ordering),
            joined_sps(found[SPS], encoder, ids, self._sets[SPS, source.id], source, ordering),
            joined_pps(found[PPS], ids),
        ]
        self._ids, self._adopted = ids, extradata

    def encoded(self, data: bytes) -> list[bytes]:
        assert self._ids is not None
        return [joined_slice(unit, self._ids.pps) for unit in split(data, 0) if is_slice(unit)]

    def extradata(self, *, annex_b: bool) -> bytes:
        self._written = True
        units = [*self._sets.values(), *self._encoder, *self._seis]
        if annex_b:
            return with_start_codes(sorted(units, key=lambda unit: KINDS.index(kind(unit))))
        return write_record(self._record, self._source(), units)

    def sets(self, *, of_encoder: bool) -> list[bytes]:
        self._written = True
        source = sorted(self._sets.values(), key=lambda unit: KINDS.index(kind(unit)))
        return [*(self._encoder if of_encoder else source), *self._seis]

    def _keep(self, unit: bytes) -> None:
        """Keep a parameter set of the source."""
        identity = (kind(unit), set_id(unit))
        if self._sets.get(identity) == unit:
            return
        if self._written:
            raise CannotJoin("the source's parameter sets change in the segment")
        if identity in self._used:
            if self._entered:
                raise CannotJoin("the source's parameter sets change in the segment")
            self._version += 1
            self._used.clear()
        if kind(unit) == SPS:
            self._sps[identity[1]] = read_sps(unit)
        elif kind(unit) == PPS:
            self._pps[identity[1]] = read_pps(unit)
        self._sets[identity] = unit

    def _active_sets(self, pps_id: int) -> tuple[Pps, Sps]:
        """The sets that a slice names, from now on in use."""
        pps = self._pps.get(pps_id)
        sps = self._sps.get(pps.sps_id) if pps is not None else None
        if pps is None or sps is None:
            raise BrokenSyntax("a slice names a parameter set that is missing")
        if self._entered and self._active is not None and self._active.picture != sps.picture:
            raise CannotJoin("the size of its pictures changes in the segment")
        self._used |= {(PPS, pps_id), (SPS, sps.id), (VPS, sps.vps_id)}
        self._active = sps
        return pps, sps

    def _source(self) -> Sps:
        """The source's SPS in use."""
        active = self._active or next(iter(self._sps.values()), None)
        if active is None:
            raise CannotJoin("the source has no parameter sets")
        return active

    def _free(self, of: int, ids: range) -> int:
        """The highest of `ids` that the source does not use."""
        for each in reversed(ids):
            if (of, each) not in self._sets:
                return each
        raise CannotJoin("the source uses all parameter-set ids")

    def _meet_dolby_vision(self) -> None:
        if self._adopted is not None:
            raise CannotJoin("Dolby Vision metadata cannot be encoded anew")
        self.has_dolby_vision = True


def _retyped(unit: bytes, nal_type: int) -> bytes:
    return bytes((unit[0] & 0x81 | nal_type << 1,)) + unit[1:]
