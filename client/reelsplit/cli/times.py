"""Times, ranges, sizes and rates as people type them. What is wrong raises ValueError with a
sentence that says how it should look."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

_SECONDS = re.compile(r"(?P<whole>[0-9]{1,12})(?:\.(?P<part>[0-9]{0,18}))?")
_WHOLE = re.compile(r"[0-9]{1,12}")
_RANGE = re.compile(r"(?P<start>[0-9:.]*)(?:\s*[-,;]\s*|\s+)(?P<end>[0-9:.]*)")
_RATE = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?)(?P<unit>[kKmMgG]?)")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_SHOWN = 5
"""So many wrong lines of a ranges file are told."""

Range = tuple[Fraction, Fraction]


def parse_time(text: str) -> Fraction:
    """Seconds, MM:SS or HH:MM:SS, each with decimals: `90`, `1:30`, `00:01:30.250`."""
    shown = text
    text = text.strip()
    if text.startswith("-"):
        raise ValueError(f"{shown!r} is negative; times count from the first frame")
    *upper, last = text.split(":")
    seconds = _SECONDS.fullmatch(last)
    if seconds is None or len(upper) > 2 or not all(map(_WHOLE.fullmatch, upper)):
        raise ValueError(f"{shown!r} is not a time; write seconds, MM:SS or HH:MM:SS.fff")
    if (upper and int(seconds["whole"]) > 59) or (len(upper) == 2 and int(upper[1]) > 59):
        raise ValueError(f"{shown!r} has more than 59 minutes or seconds behind a colon")
    part = seconds["part"] or ""
    total = Fraction(int(seconds["whole"] + part), 10 ** len(part))
    for place, value in enumerate(reversed(upper), start=1):
        total += int(value) * 60**place
    return total


def format_time(value: Fraction | float | None) -> str:
    """`H:MM:SS.mmm`, rounded to the millisecond; empty for None."""
    if value is None:
        return ""
    millis = round(Fraction(value) * 1000)
    sign, millis = ("-", -millis) if millis < 0 else ("", millis)
    minutes, rest = divmod(millis, 60_000)
    return f"{sign}{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def parse_range(text: str) -> Range:
    """`10-20`, `00:00:35.5-50`, or `-20` from the beginning. Whether the end lies behind the
    start is for the server to say, together with all else."""
    text = text.strip()
    match = _RANGE.fullmatch(text)
    if match is None:
        if re.match(r"-\s*[0-9:.]+\s*-", text):
            raise ValueError(f"{text!r} begins before the first frame")
        raise ValueError(f"{text!r} is not a range; write START-END, such as 10-20 or 1:30-2:05.5")
    if not match["end"]:
        raise ValueError(
            f"{text!r} has no end; name one, and an end behind the video's is clipped to it"
        )
    return parse_time(match["start"] or "0"), parse_time(match["end"])


def parse_ranges(text: str) -> list[Range]:
    """Ranges with commas between them."""
    return [parse_range(part) for part in text.split(",")]


def read_ranges(lines: Iterable[str]) -> list[Range]:
    """The ranges of a file, one a line: `start-end`, or two columns with a blank, tab, comma or
    semicolon between. `#` begins a comment, and a first line without digits is a header."""
    ranges: list[Range] = []
    wrong: list[str] = []
    first = True
    for number, raw in enumerate(lines, start=1):
        line = raw.removeprefix("\ufeff").split("#", 1)[0].strip()
        if not line:
            continue
        header, first = first and not any(map(str.isdigit, line)), False
        if header:
            continue
        try:
            ranges.append(parse_range(line))
        except ValueError as error:
            columns = len(re.split(r"\s*[,;\t]\s*", line))
            wrong.append(f"line {number}: " + (_COLUMNS if columns > 2 else str(error)))
    if len(wrong) > _SHOWN:
        wrong[_SHOWN:] = [f"and {len(wrong) - _SHOWN} more lines"]
    if wrong:
        raise ValueError("; ".join(wrong))
    if not ranges:
        raise ValueError("there is no range in it")
    return ranges


_COLUMNS = "more than two columns; keep only start and end"


def parse_bit_rate(text: str) -> int:
    """Bits a second: `3M`, `800k`, `2500000`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a bit rate; write bits a second, such as 3M or 800k")
    return round(Fraction(match["number"]) * _UNITS[match["unit"].lower()])


def parse_frame_rate(text: str) -> Fraction:
    """Frames a second: `25`, `29.97`, `30000/1001`."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?", text.strip()):
        raise ValueError(f"{text!r} is not a frame rate; write 25, 29.97 or 30000/1001")
    try:
        return Fraction(text.strip())
    except ZeroDivisionError:
        raise ValueError(f"{text!r} divides by zero") from None


def parse_label(text: str) -> tuple[str, str]:
    """`key=value`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is not a label; write KEY=VALUE")
    return key, value
