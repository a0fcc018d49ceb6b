"""HEVC short-term reference picture sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax

#: Pictures that a decoder holds at most.
MOST_PICTURES = 16

#: Pictures before and after: their distances in output order, and whether the picture itself
#: leans on them.
Neighbours = tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """A short-term reference picture set, nearest first on both sides."""

    before: Neighbours
    after: Neighbours

    @property
    def used(self) -> int:
        """How many pictures the picture itself leans on."""
        return sum(used for _, used in (*self.before, *self.after))


def read_references(
    bits: BitReader, known: Sequence[ReferenceSet], *, in_slice: bool
) -> ReferenceSet:
    """A st_ref_pic_set; `known` are those before it, or, for a slice's own, all of the SPS."""
    if known and bits.flag():
        back = limited(bits.ue(), len(known) - 1) + 1 if in_slice else 1
        return _predicted(bits, known[-back])
    counts = [limited(bits.ue(), MOST_PICTURES) for _ in range(2)]
    sides: list[Neighbours] = []
    for count, sign in zip(counts, (-1, 1), strict=True):
        distance, side = 0, []
        for _ in range(count):
            distance += sign * (bits.ue() + 1)
            side.append((distance, bits.flag()))
        sides.append(tuple(side))
    return ReferenceSet(*sides)


def _predicted(bits: BitReader, base: ReferenceSet) -> ReferenceSet:
    """Inter RPS prediction: the pictures of another set, seen from a picture further on."""
    sign = -1 if bits.flag() else 1
    shift = sign * (bits.ue() + 1)
    flags = []
    for _ in range(len(base.before) + len(base.after) + 1):
        used = bits.flag()
        flags.append((used or bits.flag(), used))
    split = len(base.before)
    before = [
        (distance + shift, *kept)
        for (distance, _), kept in zip(base.before, flags[:split], strict=True)
    ]
    after = [
        (distance + shift, *kept)
        for (distance, _), kept in zip(base.after, flags[split:-1], strict=True)
    ]
    itself = (shift, *flags[-1])
    return ReferenceSet(
        before=_kept([*reversed(after), itself, *before], -1),
        after=_kept([*reversed(before), itself, *after], 1),
    )


def _kept(found: list[tuple[int, bool, bool]], sign: int) -> Neighbours:
    side = tuple((at, used) for at, kept, used in found if kept and at * sign > 0)
    limited(len(side), MOST_PICTURES)
    return side


def limited(value: int, largest: int) -> int:
    """`value`, which no legal stream has above `largest`. Raises `BrokenSyntax`."""
    if value > largest:
        raise BrokenSyntax(f"a field of a header is {value}, but {largest} at most is allowed")
    return value
