"""An H.264 entry that is no IDR picture made one, and the pictures after it moved along."""

from __future__ import annotations

from collections.abc import Sequence

from reelsplit_server.media.nal.bits import BitWriter
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.h264_sets import Sps
from reelsplit_server.media.nal.h264_slice import IDR, Edit, SliceHeader, edited

#: The number of the IDR picture that an entry becomes. Neighbours must differ, and encoders count
#: from 0, or take turns between 0 and 1.
IDR_PIC_ID = 40_000

_FORGET_ONE, _FORGET_ALL = 1, 5


class Move:
    """Numbers frames and their order from an entry on, for the pictures up to the next IDR."""

    def __init__(self, entry: Sequence[SliceHeader], sps: Sps) -> None:
        """`entry`: its slices' headers. Raises `CannotJoin` where it cannot become IDR."""
        first = entry[0]
        if sps.poc_type == 1:
            raise CannotJoin("the source orders its pictures by a pattern (order type 1)")
        if not all(header.is_reference for header in entry):
            raise CannotJoin("nothing may lean on the source's key frame")
        for header in entry:
            _check(header)
        self._sps = sps
        self._frame_num = first.frame_num
        # The earlier one of an IDR picture's fields has the order 0.
        self._poc = first.poc + min(first.bottom_delta, 0)
        self._age = 0
        self._newest = 0
        self._begun = False
        self.over = False
        """Whether the pictures that follow count from this one on their own: they stay as are."""

    def apply(self, slices: Sequence[tuple[bytes, SliceHeader]]) -> list[bytes]:
        """The slices of the next picture in decoding order, the entry first. Raises
        `CannotJoin`, and `BrokenSyntax` where one is corrupt."""
        header = slices[0][1]
        frame_num = self._moved(header)
        self._age += (frame_num - self._newest) % (1 << self._sps.frame_num_bits)
        self._newest = frame_num
        moved = [
            edited(unit, header, self._first_byte(unit), self._edits(header))
            for unit, header in slices
        ]
        self._begun = True
        self.over = any(c.operation == _FORGET_ALL for c in header.commands)
        return moved

    def _first_byte(self, unit: bytes) -> int:
        return unit[0] if self._begun else unit[0] & 0xE0 | IDR

    def _moved(self, header: SliceHeader) -> int:
        return (header.frame_num - self._frame_num) % (1 << self._sps.frame_num_bits)

    def _edits(self, header: SliceHeader) -> list[Edit]:
        _check(header)
        sps = self._sps
        edits = [_number(header.frame_num_at, sps.frame_num_bits, self._moved(header))]
        if not self._begun:
            bits = BitWriter()
            bits.ue(IDR_PIC_ID)
            edits.append(Edit(*header.idr_at, bits))
        if sps.poc_bits:
            poc = (header.poc - self._poc) % (1 << sps.poc_bits)
            edits.append(_number(header.poc_at, sps.poc_bits, poc))
        if not self._begun:
            bits = BitWriter()
            bits.u(2, 0)  # what was shown before stays; no long-term reference
            return [*edits, Edit(*header.marking_at, bits)]
        return edits + [
            Edit(command.start, command.stop, BitWriter())
            for command in header.commands
            if command.operation == _FORGET_ONE and command.argument + 1 > self._age
        ]


def _check(header: SliceHeader) -> None:
    if header.is_field:
        raise CannotJoin("the source codes fields apart after a key frame of an open GOP")
    if header.long_term:
        raise CannotJoin("the source has long-term references in an open GOP")
    if header.kind in ("SP", "SI"):
        raise CannotJoin("the source has switching pictures")


def _number(at: int, width: int, value: int) -> Edit:
    bits = BitWriter()
    bits.u(width, value)
    return Edit(at, at + width, bits)
