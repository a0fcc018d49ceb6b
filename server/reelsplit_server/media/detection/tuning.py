"""What the rules hold as one shot: thresholds for a kind of footage, a rate and a sensitivity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

_BASE_RATE = 25.0
"""Frames a second for which the lengths below are given; 24 to 30 behave alike."""


class Footage(StrEnum):
    """What kind of video it is."""

    FILM = "film"
    WEB = "web"
    """Clips with large captions and overlays, which change less than a third of the picture."""
    SCREEN = "screen"
    """Recordings of a screen: windows, scrolling, typing and the pointer are no shots, changes of
    the whole picture are."""


_LEAST_SHARE = {Footage.FILM: 0.0, Footage.WEB: 0.35, Footage.SCREEN: 0.75}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Thresholds. Distances are those of `distances.py`; lengths are in frames."""

    stride: int
    """Gradual changes are looked at in every frame that is a multiple of this."""
    least_odds: float
    """The logarithm of the odds that are asked of every boundary."""
    least_share: float
    """The share of what the picture shows that must change."""

    @staticmethod
    def of(rate: Fraction, sensitivity: float, footage: Footage) -> Tuning:
        """`sensitivity` is how surely a boundary need not be one: at 0 the odds must be 20 to 1
        for it, at 0.5 even, at 1 they may be 20 to 1 against it, evenly on a logarithmic scale.

        Raises `ValueError` for a sensitivity outside that range or a rate that is not positive.
        """
        if not 0.0 <= sensitivity <= 1.0:
            raise ValueError(f"The sensitivity {sensitivity} does not lie between 0 and 1.")
        if rate <= 0:
            raise ValueError(f"The rate {rate} is not positive.")
        return Tuning(
            stride=max(1, min(8, round(float(rate) / _BASE_RATE))),
            least_odds=6.0 * (0.5 - sensitivity),
            least_share=_LEAST_SHARE[footage],
        )
