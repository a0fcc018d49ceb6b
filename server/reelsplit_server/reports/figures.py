"""Numbers as reports write them."""

from __future__ import annotations

from fractions import Fraction

from google.protobuf.duration_pb2 import Duration


def seconds(value: Fraction) -> str:
    """Seconds with six digits: ``12.345000``."""
    micros = round(value * 1_000_000)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}{micros // 1_000_000}.{micros % 1_000_000:06d}"


def clock(value: Fraction) -> str:
    """``HH:MM:SS.mmm``."""
    millis = max(0, round(value * 1000))
    whole = millis // 1000
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{millis % 1000:03d}"


def duration(value: Fraction) -> str:
    """As protobuf's JSON writes a duration: ``12.345s``, with none, three, six or nine digits."""
    found = Duration()
    found.FromNanoseconds(round(value * 1_000_000_000))
    return found.ToJsonString()


def confidence(value: float | None) -> str:
    """Three digits, or nothing."""
    return "" if value is None else f"{value:.3f}"
