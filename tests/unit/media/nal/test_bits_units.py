"""Bits, Exp-Golomb codes, and NAL units in and out of packets."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.media.nal.bits import BitReader, BitWriter, BrokenSyntax
from reelsplit_server.media.nal.units import (
    BrokenUnits,
    escaped,
    split,
    unescaped,
    with_lengths,
    with_start_codes,
)

#: Mostly the bytes that matter to emulation prevention.
_RAW = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=40).map(bytes)
_UNITS = st.lists(_RAW.map(lambda raw: escaped(b"\x65" + raw + b"\x80")), min_size=1, max_size=5)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**32 - 2), st.integers(-999, 999))))
def test_what_is_written_is_read(numbers: list[tuple[int, int, int]]) -> None:
    writer = BitWriter()
    for width, value, signed in numbers:
        writer.u(width, value % (1 << width))
        writer.ue(value)
        writer.se(signed)
    writer.trailing()
    reader = BitReader(writer.to_bytes())
    for width, value, signed in numbers:
        assert reader.u(width) == value % (1 << width)
        assert reader.ue() == value
        assert reader.se() == signed
    assert reader.u(1) == 1
    assert 0 <= reader.size - reader.position < 8


def test_a_writer_goes_into_another() -> None:
    head, tail = BitWriter(), BitWriter()
    head.u(3, 5)
    tail.u(7, 1)
    head.append(BitWriter())
    head.append(tail)
    head.bits(BitReader(b"\xc0"), 2)
    head.u(4, 0)
    assert head.to_bytes() == bytes((0b10100000, 0b01110000))


@given(st.binary(max_size=12))
def test_reading_ends_with_the_data(data: bytes) -> None:
    reader = BitReader(data)
    codes = 0
    with suppress(BrokenSyntax):
        while True:
            reader.ue()
            codes += 1
    assert codes <= len(data) * 8
    assert reader.position <= reader.size


def test_codes_that_no_syntax_has_are_refused() -> None:
    with pytest.raises(BrokenSyntax):
        BitReader(b"\x00" * 5 + b"\xff" * 9).ue()
    with pytest.raises(ValueError, match="fit"):
        BitWriter().u(3, 8)
    writer = BitWriter()
    writer.u(3, 1)
    with pytest.raises(ValueError, match="whole"):
        writer.to_bytes()


@given(_RAW)
def test_emulation_prevention_goes_and_comes(raw: bytes) -> None:
    unit = escaped(raw)
    assert unescaped(unit) == raw
    assert b"\x00\x00\x01" not in unit
    assert b"\x00\x00\x00" not in unit
    assert not unit.endswith(b"\x00\x00")


@given(_UNITS)
def test_units_go_into_packets_and_come_out(units: list[bytes]) -> None:
    assert split(with_lengths(units), 4) == units
    assert split(with_start_codes(units), 0) == units
    assert split(with_start_codes(units).replace(b"\x00\x00\x00\x01", b"\x00\x00\x01"), 0) == units


@pytest.mark.parametrize("width", range(1, 5))
def test_lengths_of_every_width(width: int) -> None:
    units = [b"\x67\x01", b"\x65" * 200]
    data = b"".join(len(unit).to_bytes(width, "big") + unit for unit in units)
    assert split(data, width) == units
    assert split(data + bytes(width), width) == units
    for cut in (1, width, len(data) - 1):
        with pytest.raises(BrokenUnits):
            split(data[:cut], width)


@given(st.binary(max_size=60), st.integers(0, 4))
def test_any_packet_is_divided_or_refused(data: bytes, width: int) -> None:
    try:
        units = split(data, width)
    except BrokenUnits:
        return
    assert all(units)
    assert sum(map(len, units)) <= len(data)
