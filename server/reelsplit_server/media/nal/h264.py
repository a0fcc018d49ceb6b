"""H.264 on its way into an output: packets taken apart, edited, and joined with an encoder's."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from reelsplit_server.media.nal.bits import BitWriter, BrokenSyntax
from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.nal.h264_encoding import encoder_options, joined, pixel_format
from reelsplit_server.media.nal.h264_move import IDR_PIC_ID, Move
from reelsplit_server.media.nal.h264_record import read_record, write_record
from reelsplit_server.media.nal.h264_sei import (
    MARKING_REPETITION,
    RECOVERY_POINT,
    recovers,
    without,
)
from reelsplit_server.media.nal.h264_sets import Pps, Sps, read_pps, read_sps, with_gaps
from reelsplit_server.media.nal.h264_slice import (
    IDR,
    Edit,
    SliceHeader,
    edited,
    read_slice,
    slice_set,
)
from reelsplit_server.media.nal.units import BrokenUnits, split, with_start_codes

_SLICES = (1, IDR)
_PARTITIONS = (2, 3, 4)
_SEI, _SPS, _PPS = 6, 7, 8
#: What does not go into an output: sets (kept elsewhere), delimiters, filling, and what other
#: sets than the two kept describe (auxiliary pictures, further layers and views).
_LEFT_OUT = frozenset({_SPS, _PPS, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21})
_CHANGED = "its parameter sets change in the middle"
#: Entries that are remembered with the sets of their time until one is entered.
_MOST_ENTRIES = 64


class H264Bitstream:
    """A `Bitstream` of H.264."""

    def __init__(
        self,
        extradata: bytes,
        *,
        reorder_depth: int | None = None,
        top_field_first: bool | None = None,
    ) -> None:
        """`extradata`: the source stream's, an avcC record, Annex B, or empty; `reorder_depth`:
        how many pictures may overtake one, as far as is known (where the stream itself tells,
        that counts); `top_field_first`: the order of fields, where it is not to be found out
        from the pictures read.
        Raises `BrokenUnits` and `BrokenSyntax`."""
        self._width, units = read_record(extradata)
        self._reordering, self._top_field_first = reorder_depth, top_field_first
        self._sps: dict[int, Sps] = {}
        self._pps: dict[int, Pps] = {}
        self._units: dict[tuple[int, int], bytes] = {}
        self._late: set[tuple[int, int]] = set()
        self._active: Sps | None = None
        # By identity, so that no packet is kept; the newest one counts.
        self._entries: deque[tuple[int, dict[tuple[int, int], bytes]]] = deque(maxlen=_MOST_ENTRIES)
        self._has_fields = False
        self._entered = self._told = False
        self._with_gaps: int | None = None
        self._move: Move | None = None
        self._entry_id: int | None = None
        self._last_id: int | None = None
        self._encoder: list[bytes] = []
        self._encoder_sps: dict[int, Sps] = {}
        self._encoder_pps: dict[int, Pps] = {}
        for unit in units:
            self._take(unit)

    @property
    def pixel_format(self) -> str:
        """In which format the encoder must be given its pictures. Raises `CannotJoin`."""
        return pixel_format(self._model())

    def read(self, data: bytes) -> AccessUnit:
        """Take a packet apart, and keep the parameter sets that come with it."""
        units = split(data, self._width)
        headers: list[SliceHeader] = []
        recovery = False
        for unit in units:
            match unit[0] & 31:
                case 1 | 5:
                    headers.append(self._slice(unit))
                case 2 | 3 | 4:
                    raise CannotJoin("it divides its slices into partitions")
                case 6:
                    recovery = recovery or recovers(unit)
                case 7 | 8:
                    self._take(unit)
        if not headers:
            raise BrokenUnits("a packet has no picture")
        kinds = {header.kind for header in headers}
        if any(header.nal_type == IDR for header in headers):
            picture = Picture.IDR
        elif recovery and kinds <= {"I", "SI"}:
            picture = Picture.RECOVERY
        else:
            picture = Picture.OTHER
        access = AccessUnit(
            units=units,
            picture=picture,
            slice_type="B" if "B" in kinds else "P" if kinds & {"P", "SP"} else "I",
            quantiser=min(max(headers[0].quantiser, -36), 51),
            is_reference=any(header.is_reference for header in headers),
        )
        if not self._entered:
            self._active = self._sps[self._pps[headers[0].pps_id].sps_id]
            self._learn_fields(headers[0])
            if picture.is_entry:
                self._entries.appendleft((id(access), dict(self._units)))
        return access

    def enter(self, entry: AccessUnit, *, drops_references: bool) -> None:
        """From `entry` on packets are copied; a recovery point becomes an IDR picture."""
        then = next((units for name, units in self._entries if name == id(entry)), {})
        if any(self._units[key] != unit for key, unit in then.items()):
            raise CannotJoin(_CHANGED)
        self._entries.clear()
        headers = [self._slice(unit) for unit in entry.units if unit[0] & 31 in _SLICES]
        self._active = sps = self._sps[self._pps[headers[0].pps_id].sps_id]
        match entry.picture:
            case Picture.IDR:
                self._entry_id = headers[0].idr_pic_id
            case Picture.RECOVERY:
                self._move = Move(headers, sps)
                self._entry_id = IDR_PIC_ID
            case _:
                raise CannotJoin("it cannot be entered there")
        if drops_references:
            self._with_gaps = sps.id
        self._entered = True

    def copied(self, access: AccessUnit) -> list[bytes]:
        """The NAL units as they go into the output."""
        first, self._entry_id = self._entry_id is not None, None
        is_idr = access.picture is Picture.IDR
        if is_idr or (self._move is not None and self._move.over):
            self._move = None
        kept = [unit for unit in access.units if unit[0] & 31 not in _LEFT_OUT]
        self._last_id = None
        if self._move is None and not is_idr:
            return kept
        slices = [(unit, self._slice(unit)) for unit in kept if unit[0] & 31 in _SLICES]
        if self._move is None:
            self._last_id = slices[0][1].idr_pic_id
            headers = dict(slices) if first else {}
            return [_shows_all(u, headers[u]) if u in headers else u for u in kept]
        gone = {MARKING_REPETITION}
        if first:
            self._last_id = IDR_PIC_ID
            gone.add(RECOVERY_POINT)
        moved = iter(self._move.apply(slices))
        result: list[bytes] = []
        for unit in kept:
            match unit[0] & 31:
                case 1 | 5:
                    result.append(next(moved))
                case 6:
                    remaining = without(unit, gone)
                    result += [] if remaining is None else [remaining]
                case _:
                    result.append(unit)
        return result

    def encoding(self, quantiser: int) -> Mapping[str, str]:
        """Options for libx264."""
        source = self._model()
        return encoder_options(
            source,
            set_id=self._free_id(),
            quantiser=quantiser,
            reordering=self._depth(source) or 0,
            top_field_first=self._top_field_first is not False if self._has_fields else None,
        )

    def adopt(self, extradata: bytes) -> None:
        """Take over the encoder's parameter sets."""
        source = self._model()
        _, units = read_record(extradata)
        sequences = [unit for unit in units if unit[0] & 31 == _SPS]
        pictures = [unit for unit in units if unit[0] & 31 == _PPS]
        if len(sequences) != 1 or len(pictures) != 1:
            raise CannotJoin("the encoder's parameter sets are not as expected")
        sps, pps = read_sps(sequences[0]), read_pps(pictures[0])
        if (_SPS, sps.id) in self._units or (_PPS, pps.id) in self._units:
            raise CannotJoin(_CHANGED)
        sets = [joined(sps, source, reordering=self._depth(source)), pictures[0]]
        if self._encoder and sets != self._encoder:
            raise CannotJoin("the encoders' parameter sets differ")
        self._encoder = sets
        self._encoder_sps, self._encoder_pps = {sps.id: sps}, {pps.id: pps}

    def encoded(self, data: bytes) -> list[bytes]:
        """The slices of an encoder's packet."""
        units = [unit for unit in split(data, 0) if unit[0] & 31 in _SLICES]
        if not units:
            raise BrokenUnits("an encoder's packet has no picture")
        taken = {self._last_id, self._entry_id}
        self._last_id = None
        if units[0][0] & 31 == IDR:
            self._last_id = next(number for number in range(3) if number not in taken)
            units = [self._numbered(unit, self._last_id) for unit in units]
        return units

    def extradata(self, *, annex_b: bool) -> bytes:
        """All sets that the output needs, as a record or with start codes."""
        self._told = True
        model = self._model()
        units = self._source_sets() + self._encoder
        sps = [unit for unit in units if unit[0] & 31 == _SPS]
        pps = [unit for unit in units if unit[0] & 31 == _PPS]
        if annex_b:
            return with_start_codes(sps + pps)
        return write_record(model, max(s.level for s in self._sps.values()), sps, pps)

    def sets(self, *, of_encoder: bool) -> list[bytes]:
        """The parameter sets to repeat at a key frame in the stream."""
        return list(self._encoder) if of_encoder else self._source_sets()

    def _take(self, unit: bytes) -> None:
        """Keep a parameter set; others are passed over."""
        unit = unit.rstrip(b"\x00")
        kind = unit[0] & 31 if unit else 0
        if kind not in (_SPS, _PPS):
            return
        sps, pps = (read_sps(unit), None) if kind == _SPS else (None, read_pps(unit))
        number = sps.id if sps is not None else pps.id if pps is not None else 0
        key = kind, number
        old = self._units.get(key)
        if old is not None and old[1:] == unit[1:]:
            return
        if self._told or self._encoder or (self._entered and old is not None):
            # Only a picture that needs it is a reason to give up.
            self._late.add(key)
            return
        self._units[key] = unit
        if sps is not None:
            self._sps[number] = sps
        if pps is not None:
            self._pps[number] = pps

    def _slice(self, unit: bytes) -> SliceHeader:
        if self._late:
            number = slice_set(unit)
            pps = self._pps.get(number)
            if (_PPS, number) in self._late or (
                pps is not None and (_SPS, pps.sps_id) in self._late
            ):
                raise CannotJoin(_CHANGED)
        return read_slice(unit, self._pps, self._sps)

    def _learn_fields(self, header: SliceHeader) -> None:
        """Note whether pictures are coded in fields, and which is first: the first one counts."""
        self._has_fields |= header.is_field or self._model().adaptive_fields
        if self._top_field_first is None and header.bottom_first is not None:
            self._top_field_first = not header.bottom_first

    def _numbered(self, unit: bytes, idr_pic_id: int) -> bytes:
        header = read_slice(unit, self._encoder_pps, self._encoder_sps)
        if header.idr_pic_id == idr_pic_id:
            return unit
        bits = BitWriter()
        bits.ue(idr_pic_id)
        return edited(unit, header, unit[0], [Edit(*header.idr_at, bits)])

    def _model(self) -> Sps:
        """The set that the copied pictures use."""
        found = self._active or next(iter(self._sps.values()), None)
        if found is None:
            raise BrokenSyntax("the stream has no parameter sets")
        return found

    def _depth(self, source: Sps) -> int | None:
        told = source.vui.restriction if source.vui is not None else None
        return self._reordering if told is None else told.reordering

    def _free_id(self) -> int:
        taken = {*self._sps, *self._pps}
        for number in range(32):
            if number not in taken:
                return number
        raise CannotJoin("the source leaves no number free for further parameter sets")

    def _source_sets(self) -> list[bytes]:
        sps = [
            with_gaps(self._units[_SPS, number])
            if number == self._with_gaps
            else self._units[_SPS, number]
            for number in sorted(self._sps)
        ]
        pps = [
            self._units[_PPS, number]
            for number, pps in sorted(self._pps.items())
            if pps.sps_id in self._sps
        ]
        return sps + pps


def _shows_all(unit: bytes, header: SliceHeader) -> bytes:
    """An entry's slice, without a flag that would keep pictures before it from being shown."""
    if not header.drops_output:
        return unit
    at, bits = header.marking_at[0], BitWriter()
    bits.flag(False)
    return edited(unit, header, unit[0], [Edit(at, at + 1, bits)])
