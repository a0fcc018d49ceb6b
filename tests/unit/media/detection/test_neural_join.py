"""What the net adds to what the rules found."""

from __future__ import annotations

import numpy as np
import pytest

from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.neural_join import (
    Evidence,
    joined_odds,
    sharpened,
    sure_peaks,
)


def evidence(peak: int, probability: float) -> Evidence:
    """The net sees a change to this frame."""
    seen = Evidence(100)
    single = np.full(100, 0.01, np.float32)
    single[peak - 1 - 100] = probability
    seen.told(single, single)
    return seen


FADE = Boundary(kind=Kind.FADE_BLACK, start=120, end=160, confidence=0.9)


@pytest.mark.parametrize(
    ("peak", "probability", "middle"),
    [(121, 0.9, 121), (155, 0.99, 155), (155, 0.5, 140), (119, 0.9, 120), (180, 0.99, 140)],
)
def test_the_net_tells_where_in_a_fade_the_new_shot_begins(
    peak: int, probability: float, middle: int
) -> None:
    assert sharpened(FADE, evidence(peak, probability)).middle == middle


def test_the_middle_of_other_changes_stays() -> None:
    dissolve = Boundary(kind=Kind.DISSOLVE, start=120, end=160, confidence=0.9)
    assert sharpened(dissolve, evidence(121, 0.99)) == dissolve


def test_the_net_weighs_in() -> None:
    doubtful = Boundary(kind=Kind.CUT, start=130, end=130, confidence=0.5)
    assert joined_odds(doubtful, evidence(130, 0.95)) > 0
    assert joined_odds(doubtful, evidence(150, 0.95)) < 0


def test_alone_it_must_be_sure() -> None:
    assert [number for number, _ in sure_peaks(evidence(130, 0.999), 100, 200, 0.0)] == [130]
    assert not list(sure_peaks(evidence(130, 0.85), 100, 200, 0.0))
