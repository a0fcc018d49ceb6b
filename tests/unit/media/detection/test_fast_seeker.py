"""What is made of frames that were looked at here and there."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit_server.media.detection import fast_seeker
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.fast_coding import Sizes
from reelsplit_server.media.detection.fast_doubt import Ends, Verdict, judge
from reelsplit_server.media.detection.fast_seeker import PAD, FastSeeker, OnScores
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.strip import Strip
from tests.unit.media.detection.scenes import scene

LENGTH = 200


def strip_of(shot: int, first: int, count: int) -> Strip:
    pictures = np.rint(scene(shot, count)).astype(np.uint8)
    return Strip(
        first=first,
        pts=np.arange(first, first + count),
        y=pictures[..., 0],
        u=pictures[:, ::2, ::2, 1],
        v=pictures[:, ::2, ::2, 2],
    )


def cut(at: int) -> Boundary:
    return Boundary(kind=Kind.CUT, start=at, end=at, confidence=0.5)


STRIPS = [
    strip_of(1, 0, 1),
    strip_of(2, 60, 1),
    strip_of(3, 110, 12),
    strip_of(4, 122, 10),
    strip_of(5, 190, 1),
]
"""A cut in the open at 60, one where an island begins at 110, one inside it at 122, and another
in the open."""


def sought(
    strips: list[Strip], told: list[Boundary], places: list[int]
) -> tuple[list[Boundary], NDArray[np.float32]]:
    """The boundaries and the scores, with parts that begin at these frames."""
    scores: list[float] = []

    def on_scores(first: int, values: NDArray[np.float32]) -> None:
        assert first == len(scores)
        scores.extend(values.tolist())

    def new_finder(on_scores: OnScores) -> RuleFinder:
        return RuleFinder(rate=Fraction(24), on_scores=on_scores)

    seeker = FastSeeker(new_finder, on_scores)
    found: list[Boundary] = []
    certain = 0
    for start, stop in zip(places, [*places[1:], LENGTH], strict=True):
        part = Scanned(
            pts=np.arange(start, stop),
            strips=tuple(strip for strip in strips if start <= strip.first < stop),
            boundaries=tuple(each for each in told if start < each.start <= stop),
        )
        new = seeker.push(part)
        assert all(each.start >= certain for each in new)
        assert seeker.certain >= certain
        certain = seeker.certain
        found += new
    last = seeker.finish()
    assert all(each.start >= certain for each in last)
    return found + last, np.array(scores, np.float32)


def test_boundaries_in_the_open_and_on_islands_are_found() -> None:
    found, scores = sought(STRIPS, [cut(60), cut(110), cut(190)], [0])
    assert [each.start for each in found] == [60, 110, 122, 190]
    assert found[0] == cut(60)
    # An island's finder judges by itself.
    assert found[1] != cut(110)
    assert len(scores) == LENGTH
    assert set(np.flatnonzero(scores > 0.4)) == {60, 110, 122, 190}


def test_where_an_island_begins_more_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_seeker, "_LEAST_BLIND", 1.01)
    found, _ = sought(STRIPS, [cut(60), cut(110), cut(190)], [0])
    assert [each.start for each in found] == [60, 122, 190]


def test_what_nobody_told_is_no_boundary_in_the_open() -> None:
    found, _ = sought(STRIPS, [cut(60)], [0])
    assert [each.start for each in found] == [60, 122]


def test_parts_make_no_difference() -> None:
    told = [cut(60), cut(110), cut(190)]
    whole = sought(STRIPS, told, [0])
    chance = random.Random(5)
    for _ in range(12):
        places = [0, *sorted(chance.sample([60, 110, 122, 190], chance.randrange(1, 5)))]
        parts = sought(STRIPS, told, places)
        assert parts[0] == whole[0]
        assert np.array_equal(parts[1], whole[1])


def test_small_gaps_join_islands() -> None:
    strips = [strip_of(1, 0, 20), strip_of(2, 20 + 2 * PAD, 20)]
    found, _ = sought(strips, [], [0])
    assert [each.start for each in found] == [20 + 2 * PAD]


def test_nothing_is_nothing() -> None:
    assert sought([], [], [0])[0] == []


EVEN = Sizes(largest=0.1, spike=1.2, renewal=0.1, crowding=0.0, between=0.6, ending=0.1)
SPIKED = Sizes(largest=0.8, spike=6.0, renewal=0.3, crowding=0.0, between=0.6, ending=0.1)
RENEWED = Sizes(largest=0.2, spike=1.5, renewal=0.9, crowding=0.0, between=0.6, ending=0.1)
RESTLESS = Sizes(largest=0.2, spike=1.2, renewal=0.3, crowding=0.0, between=0.2, ending=0.1)
BUSY = Sizes(largest=0.2, spike=1.2, renewal=0.3, crowding=0.0, between=0.6, ending=0.1)
BRISK = Sizes(largest=0.2, spike=1.2, renewal=0.1, crowding=0.0, between=0.2, ending=0.1)
CROWDED = replace(EVEN, crowding=0.25)
MOVING = replace(EVEN, ending=0.8)
FREE = Ends(apart=1.0, free=True, watched=True, due=False, plain=False)
SAME = Ends(apart=0.1, free=False, watched=True, due=False, plain=False)
LONG = Ends(apart=0.5, free=False, watched=True, due=True, plain=False)
ALIKE = replace(FREE, apart=0.8)
FAR = replace(LONG, apart=1.1)
FIXED = Ends(apart=0.3, free=False, watched=False, due=False, plain=False)
MOVED = Ends(apart=0.5, free=False, watched=False, due=False, plain=False)
DARK = Ends(apart=0.3, free=True, watched=True, due=False, plain=False)
PLAIN = Ends(apart=1.0, free=True, watched=True, due=False, plain=True)


@pytest.mark.parametrize(
    ("ends", "sizes", "asked", "intra", "verdict"),
    [
        (FREE, EVEN, False, None, Verdict.CUT),
        (SAME, EVEN, False, None, Verdict.CALM),
        (FIXED, EVEN, False, None, Verdict.CALM),
        (FIXED, SPIKED, True, False, Verdict.DOUBT),
        (MOVED, EVEN, False, None, Verdict.DOUBT),
        (LONG, EVEN, False, None, Verdict.UNSURE),
        (LONG, EVEN, True, False, Verdict.CALM),
        (LONG, EVEN, True, None, Verdict.DOUBT),
        (FAR, EVEN, True, False, Verdict.DOUBT),
        (LONG, BUSY, True, False, Verdict.CALM),
        (LONG, RENEWED, True, False, Verdict.DOUBT),
        (PLAIN, EVEN, False, None, Verdict.DOUBT),
        (FREE, None, False, None, Verdict.DOUBT),
        (FREE, SPIKED, False, None, Verdict.UNSURE),
        (FREE, SPIKED, True, False, Verdict.CUT),
        (FREE, SPIKED, True, True, Verdict.DOUBT),
        (FREE, SPIKED, True, None, Verdict.DOUBT),
        (SAME, SPIKED, True, True, Verdict.DOUBT),
        (FREE, RENEWED, False, None, Verdict.DOUBT),
        (FREE, RESTLESS, False, None, Verdict.DOUBT),
        (FREE, BRISK, False, None, Verdict.DOUBT),
        (SAME, BRISK, False, None, Verdict.CALM),
        (FREE, CROWDED, False, None, Verdict.DOUBT),
        (ALIKE, EVEN, False, None, Verdict.CUT),
        (ALIKE, MOVING, False, None, Verdict.DOUBT),
        (FREE, MOVING, False, None, Verdict.CUT),
        (SAME, MOVING, False, None, Verdict.CALM),
        (SAME, CROWDED, True, False, Verdict.DOUBT),
        (DARK, EVEN, False, None, Verdict.CUT),
        (DARK, BRISK, False, None, Verdict.DOUBT),
        (DARK, RESTLESS, False, None, Verdict.DOUBT),
        (DARK, SPIKED, True, False, Verdict.DOUBT),
    ],
)
def test_judgement(
    ends: Ends, sizes: Sizes | None, asked: bool, intra: bool | None, verdict: Verdict
) -> None:
    assert judge(ends, sizes, asked=asked, intra=intra) is verdict


def test_the_end_of_a_restless_group_is_no_steady_one() -> None:
    assert judge(DARK, EVEN) is Verdict.CUT
    assert judge(DARK, EVEN, asked=True, intra=False, rest=True) is Verdict.DOUBT


def test_the_strict_ask_for_more() -> None:
    ends = Ends(apart=0.7, free=True, watched=True, due=False, plain=False)
    assert judge(ends, BUSY) is Verdict.CUT
    assert judge(ends, BUSY, strictness=1.6) is Verdict.DOUBT
    assert judge(DARK, EVEN, strictness=1.6) is Verdict.DOUBT
