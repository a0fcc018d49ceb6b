"""Which groups of pictures need no further look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from reelsplit_server.media.detection.fast_coding import Sizes


class Verdict(Enum):
    """What is believed of the frames from one key frame up to the next."""

    CALM = auto()
    """One shot, which goes on."""
    CUT = auto()
    """One shot, which ends where the next key frame begins another."""
    UNSURE = auto()
    """It depends on how the pictures between are coded, which nobody has looked at yet."""
    DOUBT = auto()
    """Only decoding tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The key frame that begins a group and the one that ends it."""

    apart: float
    """Their distance."""
    free: bool
    """The encoder need not have put the second where it is: it found a change there."""
    watched: bool
    """The encoder looks for changes, and codes a picture after one without leaning on others."""
    due: bool
    """The second came since it was time: the group is as long as the encoder lets any be."""
    plain: bool
    """One of them is nearly of one colour."""


#: Key frames less apart than the first show the same, further apart than the last different shots.
#: Less apart than the one between, they do where the encoder does not look for changes: packets
#: must be nearly even then.
_SAME, _ALIKE, _OTHER = 0.2, 0.4, 0.6
#: Further apart than this they are different shots where the packets between are steady: below
#: these limits of `Sizes.largest`, `spike` and `renewal`. So they are in dark footage.
_OTHER_STEADY, _STEADY, _RENEWED_STEADY = 0.22, (0.45, 2.2), 0.1
#: Further apart than this they hardly ever show one shot, however calmly the packets between were
#: coded.
_FAR = 1.0
#: More than this in `Sizes.renewal` may be a gradual change.
_RENEWED = 0.75
#: With fewer frames between anchors, where there are any, much changes everywhere: it may be
#: gradual from this `Sizes.renewal` on.
_BETWEEN, _RENEWED_BETWEEN = 0.33, 0.12
#: More than this in `Sizes.crowding` may be one, too.
_CROWDED = 0.18
#: Below both of the first limits of `Sizes.largest` and `spike`, or below the next of `spike`
#: alone, no picture can hide that leans on no other; below both of the last hardly one.
_EVEN, _LEVEL, _NEARLY_EVEN = (0.3, 2.2), 1.4, (0.45, 3.2)
#: Key frames less apart than this may belong to one shot in which much moved just before the
#: second; at a change of shot less than this is in `Sizes.ending`, and hardly ever more.
_UNLIKE, _ENDING = 0.95, 0.6
#: With less than this in `Sizes.between`, pictures have little to do with the ones around them, or
#: the encoder did not ask: a new key frame need be no new shot then.
_BETWEEN_CUT = 0.4
#: A picture larger than this, to its key frame, is of another kind.
_LARGEST = 1.2


def judge(
    ends: Ends,
    sizes: Sizes | None,
    *,
    strictness: float = 1.0,
    asked: bool = False,
    intra: bool | None = None,
    rest: bool = False,
) -> Verdict:
    """Judge a group by its two key frames and the `sizes` of its packets.

    `strictness` multiplies the distance that different shots have. Once it was `asked` how
    pictures are coded, `intra` is whether one within leans on no other, None where that is not
    told; the answer is never UNSURE then. `rest`: the group is only the end of one, which was not
    as calm before.
    """
    if sizes is None or is_restless(sizes) or ends.plain or intra:
        return Verdict.DOUBT
    if not ends.watched:
        calm = ends.apart < _ALIKE and is_nearly_even(sizes)
        return Verdict.CALM if calm else Verdict.DOUBT
    same = ends.apart < _SAME
    steady = not rest and _below(sizes, _STEADY) and sizes.renewal <= _RENEWED_STEADY
    other = ends.free and ends.apart > (_OTHER_STEADY if steady else _OTHER) * strictness
    far = (_OTHER if rest else _FAR) * strictness
    alone = ends.due and not (same or other) and ends.apart < far
    if not (same or other or alone):
        return Verdict.DOUBT
    even = _below(sizes, _EVEN) or sizes.spike <= _LEVEL
    if not asked and (alone or not even):
        return Verdict.UNSURE
    if asked and intra is None and (alone or not (even or is_nearly_even(sizes))):
        return Verdict.DOUBT
    if not other:
        return Verdict.CALM
    moved = ends.apart < _UNLIKE * strictness and sizes.ending > _ENDING
    return Verdict.DOUBT if moved or sizes.between < _BETWEEN_CUT else Verdict.CUT


def is_restless(sizes: Sizes) -> bool:
    """Whether the packets speak against one shot, whatever the key frames show."""
    mixed = 0 < sizes.between < _BETWEEN and sizes.renewal > _RENEWED_BETWEEN
    return mixed or (
        sizes.largest > _LARGEST or sizes.renewal > _RENEWED or sizes.crowding > _CROWDED
    )


def is_nearly_even(sizes: Sizes) -> bool:
    """Whether hardly a packet can hold a picture that leans on no other."""
    return _below(sizes, _NEARLY_EVEN)


def _below(sizes: Sizes, limits: tuple[float, float]) -> bool:
    return sizes.largest <= limits[0] and sizes.spike <= limits[1]
