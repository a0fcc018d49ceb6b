"""Timecodes: times as editing programs count them, in frames of a few usual rates."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

_NTSC = Fraction(1000, 1001)
_RATES = {
    24 * _NTSC: (24, False),
    Fraction(24): (24, False),
    Fraction(25): (25, False),
    # Numbers are left out so that the count keeps up with the clock.
    30 * _NTSC: (30, True),
    Fraction(30): (30, False),
    48 * _NTSC: (48, False),
    Fraction(48): (48, False),
    Fraction(50): (50, False),
    60 * _NTSC: (60, True),
    Fraction(60): (60, False),
}
_EXACT = Fraction(1, 2500)
"""The part of a rate by which a container may miss it: the rates of NTSC lie 1/1000 apart."""
_NEAR = Fraction(1, 50)
"""The part by which the mean of a variable rate may miss it."""
_HOURS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Timecodes:
    """The count of one rate. ``base`` frames are numbered in each second; with ``drop``, the first
    numbers of each minute but the tenth are left out."""

    rate: Fraction
    """Frames a second, exactly."""
    base: int
    drop: bool

    @classmethod
    def of(cls, rate: Fraction | None) -> Timecodes:
        """The count for a source of this rate, 25 where it is unknown.

        It is the source's own where editing programs know it; else a multiple of it, a part of it,
        or the next higher that they know, and 60 at most.
        """
        if rate is None or rate <= 0:
            return cls._usual(Fraction(25))
        for factor in (1, 2, 3, 4, 5, Fraction(1, 2), Fraction(1, 4)):
            nearest = min(_RATES, key=lambda known: abs(known / (rate * factor) - 1))
            if abs(nearest / (rate * factor) - 1) < _EXACT:
                return cls._usual(nearest)
        nearest = min(_RATES, key=lambda known: abs(known / rate - 1))
        if abs(nearest / rate - 1) < _NEAR:
            return cls._usual(nearest)
        return cls._usual(next((known for known in _RATES if known >= rate), Fraction(60)))

    @classmethod
    def _usual(cls, rate: Fraction) -> Timecodes:
        base, drop = _RATES[rate]
        return cls(rate=rate, base=base, drop=drop)

    @property
    def most(self) -> int:
        """The first count that has no label any more: there are two digits for the hours."""
        per_ten = self.base * 600 - 9 * self._dropped
        return _HOURS * 6 * per_ten

    @property
    def _dropped(self) -> int:
        return self.base // 15 if self.drop else 0

    def count(self, seconds: Fraction) -> int:
        """The frame that is nearest to a time."""
        return floor(seconds * self.rate + Fraction(1, 2))

    def label(self, count: int) -> str:
        """``HH:MM:SS:FF`` of a frame, and ``HH:MM:SS;FF`` where numbers are left out. Raises
        `ValueError` at a hundred hours."""
        if not 0 <= count < self.most:
            raise ValueError(f"frame {count} has no timecode")
        tens, rest = divmod(count, self.base * 600 - 9 * self._dropped)
        # The first minute of ten is whole; each other one lacks its first numbers.
        minutes = max(0, rest - self._dropped) // (self.base * 60 - self._dropped)
        number = count + self._dropped * (9 * tens + minutes)
        seconds, frames = divmod(number, self.base)
        mark = ";" if self.drop else ":"
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{clock}{mark}{frames:02d}"
