"""Parts of HEVC parameter sets that say how pictures are shown, and those to read over."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax

_EXTENDED_ASPECT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Vui:
    """How the pictures are to be shown. Positions are in bits of the raw unit."""

    full_range: bool
    matrix: int
    """matrix_coeffs; 0 is RGB, 2 unspecified."""
    fields: bool
    """field_seq_flag: each picture is a single field."""
    scan: bool
    """frame_field_info_present_flag: each picture says how its fields are to be shown."""
    fields_bit: int
    """Where field_seq_flag stands, and behind it frame_field_info_present_flag."""
    has_times: bool
    times_end: int
    """Where vui_hrd_parameters_present_flag stands; without times, what follows their flag."""


def skip_vui(bits: BitReader, sub_layers: int) -> Vui:
    """Read vui_parameters to their end. Raises `BrokenSyntax`."""
    if bits.flag() and bits.u(8) == _EXTENDED_ASPECT:
        bits.u(32)
    if bits.flag():
        bits.flag()
    full_range, matrix = False, 2
    if bits.flag():
        bits.u(3)
        full_range = bits.flag()
        if bits.flag():
            bits.u(16)
            matrix = bits.u(8)
    if bits.flag():
        bits.ue()
        bits.ue()
    bits.flag()
    fields_bit = bits.position
    fields, scan = bits.flag(), bits.flag()
    if bits.flag():
        for _ in range(4):
            bits.ue()
    has_times = bits.flag()
    if has_times:
        bits.u(64)
        if bits.flag():
            bits.ue()
    times_end = bits.position
    if has_times and bits.flag():
        _skip_hrd(bits, sub_layers)
    if bits.flag():
        bits.u(3)
        for _ in range(5):
            bits.ue()
    return Vui(
        full_range=full_range,
        matrix=matrix,
        fields=fields,
        scan=scan,
        fields_bit=fields_bit,
        has_times=has_times,
        times_end=times_end,
    )


def _skip_hrd(bits: BitReader, sub_layers: int) -> None:
    """hrd_parameters with the common part."""
    nal, vcl = bits.flag(), bits.flag()
    sub_pictures = False
    if nal or vcl:
        sub_pictures = bits.flag()
        if sub_pictures:
            bits.u(19)
        bits.u(8)
        if sub_pictures:
            bits.u(4)
        bits.u(15)
    for _ in range(sub_layers):
        fixed = bits.flag()
        within = fixed or bits.flag()
        low_delay = False
        if within:
            bits.ue()
        else:
            low_delay = bits.flag()
        count = 1 if low_delay else bits.ue() + 1
        if count > 32:
            raise BrokenSyntax("a parameter set has too many buffers")
        for _ in range(count * (nal + vcl)):
            for _ in range(4 if sub_pictures else 2):
                bits.ue()
            bits.flag()


def skip_scaling_lists(bits: BitReader) -> None:
    """Read scaling_list_data to its end. Raises `BrokenSyntax`."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.flag():
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 16 << 2 * size)):
                bits.se()
