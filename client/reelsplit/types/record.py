"""What all messages have in common as dataclasses."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from fractions import Fraction
from typing import TypeAlias, cast

Seconds: TypeAlias = Fraction | float
"""A time in seconds. Any real number is taken; what comes back is always a `Fraction`, exact to
the nanosecond that the wire can carry."""


def seconds(value: Seconds) -> Fraction:
    """The time as a fraction, rounded to the nanosecond."""
    if isinstance(value, Fraction) and 10**9 % value.denominator == 0:
        return value
    return Fraction(round(Fraction(value) * 10**9), 10**9)


class Record:
    """A frozen message: lists become tuples, times fractions."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, is_time in _fields(cast(Hashable, type(self))):
            value = getattr(self, name)
            if is_time and value is not None:
                object.__setattr__(self, name, seconds(value))
            elif isinstance(value, list):
                object.__setattr__(self, name, tuple(value))


@functools.cache
def _fields(cls: type) -> list[tuple[str, bool]]:
    """Those that hold times, or what may be a list."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(cls)}
    return [(n, "Seconds" in kind) for n, kind in kinds.items() if "Seconds" in kind or "[" in kind]
