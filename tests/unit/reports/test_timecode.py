"""Timecodes against the library that editing programs' files are read with."""

from __future__ import annotations

from fractions import Fraction

import opentimelineio as otio
import pytest

from reelsplit_server.reports.timecode import Timecodes

NTSC = Fraction(1000, 1001)
RATES = [24 * NTSC, Fraction(24), Fraction(25), 30 * NTSC, Fraction(30), Fraction(50)]
RATES += [60 * NTSC, Fraction(60)]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_labels_are_read_back_as_the_same_frame(rate: Fraction) -> None:
    codes = Timecodes.of(rate)
    assert codes.rate == rate
    # All of the first eleven minutes around their full minutes, then now and then for a day.
    minute = codes.base * 60
    counts = [n * minute + k for n in range(12) for k in range(-9, 9) if n * minute + k >= 0]
    for count in [*counts, *range(0, codes.base * 86_400, 999_983)]:
        read = otio.opentime.from_timecode(codes.label(count), float(rate))
        assert round(read.value) == count, codes.label(count)


def test_dropped_numbers_keep_up_with_the_clock() -> None:
    codes = Timecodes.of(30 * NTSC)
    assert codes.label(1799) == "00:00:59;29"
    assert codes.label(1800) == "00:01:00;02"
    assert codes.label(17_981) == "00:09:59;29"
    assert codes.label(17_982) == "00:10:00;00"
    assert codes.label(codes.count(Fraction(3600))) == "01:00:00;00"
    fast = Timecodes.of(60 * NTSC)
    assert fast.label(3599) == "00:00:59;59"
    assert fast.label(3600) == "00:01:00;04"
    assert fast.label(fast.count(Fraction(3600))) == "01:00:00;00"


@pytest.mark.parametrize(
    ("rate", "counted"),
    [
        (Fraction(2997, 100), 30 * NTSC),
        (Fraction(120), Fraction(60)),
        (Fraction(240), Fraction(60)),
        (120 * NTSC, 60 * NTSC),
        (Fraction(15), Fraction(30)),
        (Fraction(25, 2), Fraction(25)),
        (Fraction(10), Fraction(30)),
        (Fraction(2404, 100), Fraction(24)),
        (Fraction(33), Fraction(48) * NTSC),
        (Fraction(1000), Fraction(60)),
        (None, Fraction(25)),
    ],
    ids=str,
)
def test_other_rates_are_counted_at_the_one_that_fits(
    rate: Fraction | None, counted: Fraction
) -> None:
    assert Timecodes.of(rate).rate == counted


def test_there_is_no_hundredth_hour() -> None:
    for rate in RATES:
        codes = Timecodes.of(rate)
        assert codes.label(codes.most - 1).startswith("99:59:59")
        with pytest.raises(ValueError, match="no timecode"):
            codes.label(codes.most)
