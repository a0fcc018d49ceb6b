from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit.cli.times import (
    format_time,
    parse_bit_rate,
    parse_frame_rate,
    parse_label,
    parse_range,
    parse_ranges,
    parse_time,
    read_ranges,
)

MILLIS = st.integers(0, 400 * 3600 * 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("10.5", Fraction(21, 2)),
        ("0.1", Fraction(1, 10)),
        ("90", 90),
        ("1:30", 90),
        ("75:00", 4500),
        ("00:00:35.5", Fraction(71, 2)),
        ("1:02:03.250", 3723 + Fraction(1, 4)),
        (" 5 ", 5),
        ("5.", 5),
    ],
)
def test_times_are_exact(text: str, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "1:2:3:4", "1:60", "1:60:00", ":5", "5:", "-1", "1e3", "٣", "1,5", "1" * 5000]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|negative|more than 59"):
        parse_time(text)


@given(MILLIS)
def test_a_formatted_time_reads_back(millis: int) -> None:
    value = Fraction(millis, 1000)
    assert parse_time(format_time(value)) == value


@given(MILLIS, MILLIS)
def test_a_written_range_reads_back(start: int, end: int) -> None:
    text = f"{format_time(Fraction(start, 1000))}-{format_time(Fraction(end, 1000))}"
    assert parse_range(text) == (Fraction(start, 1000), Fraction(end, 1000))


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert min(parse_range(text)) >= 0


def test_ranges_stand_in_the_order_given() -> None:
    assert parse_ranges("20-30,00:00:05-10") == [(20, 30), (5, 10)]


def test_a_missing_start_is_the_beginning() -> None:
    assert parse_range("-20") == (0, 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("50-", "has no end"),
        ("", "has no end|not a range"),
        ("10", "not a range"),
        ("-5-10", "begins before the first frame"),
        ("1-2-3", "not a range"),
        ("a-b", "not a range"),
    ],
)
def test_wrong_ranges_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_range(text)


def test_a_file_takes_all_separators_comments_and_a_header() -> None:
    lines = [
        "\ufeffstart,end\n",
        "# the opening\n",
        "0-1.5\n",
        "\n",
        "2 3  # two columns\n",
        "00:00:04\t5\r\n",
        "6,7\n",
        "8 ; 9\n",
        "1:00 - 1:10\n",
    ]
    assert read_ranges(lines) == [
        (0, Fraction(3, 2)),
        (2, 3),
        (4, 5),
        (6, 7),
        (8, 9),
        (60, 70),
    ]


def test_a_file_tells_its_wrong_lines() -> None:
    with pytest.raises(ValueError, match=r"line 2: .*'x y'.*; line 3: more than two columns"):
        read_ranges(["1-2\n", "x y\n", "1,2,name\n"])


def test_a_file_with_many_wrong_lines_stays_readable() -> None:
    with pytest.raises(ValueError, match="and 15 more lines"):
        read_ranges(["1-2", *["no 1"] * 20])


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no range"):
        read_ranges(["# nothing\n"])


@pytest.mark.parametrize(
    ("text", "bits"), [("3M", 3_000_000), ("800k", 800_000), ("1.5m", 1_500_000), ("64000", 64_000)]
)
def test_bit_rates(text: str, bits: int) -> None:
    assert parse_bit_rate(text) == bits


@pytest.mark.parametrize("text", ["", "M", "3MB", "-3", "3 000"])
def test_wrong_bit_rates(text: str) -> None:
    with pytest.raises(ValueError, match="bit rate"):
        parse_bit_rate(text)


def test_frame_rates_are_exact() -> None:
    assert parse_frame_rate("30000/1001") == Fraction(30000, 1001)
    assert parse_frame_rate("29.97") == Fraction(2997, 100)


@pytest.mark.parametrize("text", ["0/0", "1/0", "x", "-25", "1e2", ""])
def test_wrong_frame_rates(text: str) -> None:
    with pytest.raises(ValueError, match=r"frame rate|divides by zero"):
        parse_frame_rate(text)


def test_labels() -> None:
    assert parse_label("a=b=c") == ("a", "b=c")
    assert parse_label("a=") == ("a", "")
    with pytest.raises(ValueError, match="KEY=VALUE"):
        parse_label("a")
