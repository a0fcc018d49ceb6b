"""Where borders lie, and which of two that are too close stays."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.media.detection.borders import Borders
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.shot_settings import BorderPolicy
from reelsplit_server.media.tiling import Change, Shot, Tiling, Transition

TICKS = 10
"""A frame lasts so many."""


def cut(at: int, confidence: float = 0.9) -> Boundary:
    return Boundary(kind=Kind.CUT, start=at, end=at, confidence=confidence)


def dissolve(start: int, end: int, confidence: float = 0.9) -> Boundary:
    return Boundary(kind=Kind.DISSOLVE, start=start, end=end, confidence=confidence)


def bordered(
    boundaries: list[Boundary],
    policy: BorderPolicy = BorderPolicy.MIDDLE,
    shortest: int = 0,
    *,
    frames: int = 100,
    step: int = 1000,
) -> list[tuple[int, int]]:
    """The borders as (out, into), with `shortest` in frames; boundaries come `step` at a time."""
    borders = Borders(policy, shortest * TICKS, 0, lambda number: number * TICKS)
    found = []
    for at in range(0, frames, step):
        stop = min(frames, at + step)
        new = [each for each in boundaries if at <= each.start < stop]
        found += list(borders.push(new, stop))
    found += list(borders.finish(frames * TICKS))
    return [(border.out, border.into) for border in found]


@pytest.mark.parametrize(
    ("policy", "border"),
    [
        (BorderPolicy.MIDDLE, (25, 25)),
        (BorderPolicy.START, (20, 20)),
        (BorderPolicy.END, (30, 30)),
        (BorderPolicy.DROP, (20, 30)),
    ],
)
def test_a_gradual_transition_ends_a_shot_where_the_policy_says(
    policy: BorderPolicy, border: tuple[int, int]
) -> None:
    assert bordered([cut(10), dissolve(20, 30)], policy) == [(10, 10), border]


def test_of_two_that_are_too_close_the_more_confident_stays() -> None:
    assert bordered([cut(20, 0.5), cut(24, 0.8)], shortest=5) == [(24, 24)]
    assert bordered([cut(20, 0.8), cut(24, 0.5)], shortest=5) == [(20, 20)]
    assert bordered([cut(20, 0.8), cut(24, 0.8)], shortest=5) == [(20, 20)]
    assert bordered([cut(20), cut(25)], shortest=5) == [(20, 20), (25, 25)]


def test_the_ends_of_the_part_stay_in_any_case() -> None:
    assert bordered([cut(3), cut(50), cut(98)], shortest=5) == [(50, 50)]
    assert bordered([cut(5), cut(95)], shortest=5) == [(5, 5), (95, 95)]
    # What gave way to one that cannot stay comes back.
    assert bordered([cut(60, 0.5), cut(80, 0.9)], shortest=30) == [(60, 60)]


def test_what_a_dropped_transition_leaves_counts() -> None:
    found = [dissolve(10, 20), dissolve(24, 30, 0.5)]
    assert bordered(found, BorderPolicy.DROP, 5) == [(10, 20)]
    assert bordered(found, BorderPolicy.MIDDLE, 5) == [(15, 15), (27, 27)]


def test_a_border_is_given_as_soon_as_nothing_can_come_close() -> None:
    borders = Borders(BorderPolicy.MIDDLE, 5 * TICKS, 0, lambda number: number * TICKS)
    assert not list(borders.push([cut(20)], 21))
    assert not list(borders.push([], 25))
    assert [border.out for border in borders.push([], 26)] == [20]


def test_without_a_shortest_shot_borders_are_given_at_once() -> None:
    borders = Borders(BorderPolicy.MIDDLE, 0, 0, lambda number: number * TICKS)
    assert [border.out for border in borders.push([cut(20)], 21)] == [20]


@given(
    st.lists(st.tuples(st.integers(1, 99), st.sampled_from([0.2, 0.5, 0.8])), max_size=20),
    st.integers(0, 30),
    st.sampled_from(BorderPolicy),
)
def test_no_shot_is_too_short_and_parts_change_nothing(
    cuts: list[tuple[int, float]], shortest: int, policy: BorderPolicy
) -> None:
    boundaries = [cut(at, sure) for at, sure in sorted(dict(cuts).items())]
    found = bordered(boundaries, policy, shortest)
    for step in (1, 7, 30):
        assert bordered(boundaries, policy, shortest, step=step) == found
    places = [0, *(out for out, _ in found), 100]
    assert all(b - a >= shortest for a, b in pairwise(places)) or not found
    if not shortest:
        assert len(found) == len(boundaries)


# --- Shots of them ----------------------------------------------------------------------------


def shots_of(
    borders: list[tuple[int, int]], frames: int = 30, most: Fraction | None = None
) -> list[Shot]:
    shots: list[Shot] = []
    tiling = Tiling(Fraction(1, 10), 1000, 7, most, shots.append)
    for number in range(frames):
        tiling.add(1000 + number * TICKS)
    for out, into in borders:
        change = Change(transition=Transition.DISSOLVE, start=out, end=into, confidence=0.5)
        tiling.border(out, into, change)
    tiling.finish(1000 + frames * TICKS)
    return shots


def test_shots_tell_how_they_begin() -> None:
    first, second = shots_of([(10, 20)])
    assert (first.start_frame, first.end_frame) == (7, 17)
    assert (first.transition, first.transition_start, first.transition_end) == (
        Transition.START,
        7,
        7,
    )
    assert (second.start_frame, second.end_frame) == (27, 37)
    assert (second.start, second.end) == (20, 30)
    assert (second.transition, second.transition_start, second.transition_end) == (
        Transition.DISSOLVE,
        17,
        27,
    )
    assert (first.confidence, second.confidence) == (None, 0.5)


def test_a_shot_of_no_frames_is_none() -> None:
    assert [(shot.start_frame, shot.end_frame) for shot in shots_of([(0, 5), (5, 9)])] == [(16, 37)]
    assert [(shot.start_frame, shot.end_frame) for shot in shots_of([(10, 30)])] == [(7, 17)]


def test_what_is_split_begins_with_a_split_and_no_confidence() -> None:
    shots = shots_of([(10, 10)], most=Fraction(10))
    assert [shot.transition for shot in shots] == [
        Transition.START,
        Transition.DISSOLVE,
        Transition.SPLIT,
    ]
    assert [shot.start_frame for shot in shots] == [7, 17, 27]
    assert (shots[2].transition_start, shots[2].transition_end) == (27, 27)
    assert shots[2].confidence is None
