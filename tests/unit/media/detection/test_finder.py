"""The finder's promises: what it finds depends on the frames alone, it keeps few of them, and it
answers soon."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.strip import Strip
from tests.unit.media.detection import scenes
from tests.unit.media.detection.scenes import scene

RATE = Fraction(25)


def part(strip: Strip, start: int, stop: int) -> Strip:
    chosen = slice(start, stop)
    return Strip(
        first=strip.first + start,
        pts=strip.pts[chosen],
        y=strip.y[chosen],
        u=strip.u[chosen],
        v=strip.v[chosen],
    )


@cache
def film(first: int = 0) -> Strip:
    """A bit of everything."""
    shots = [scene(seed, 60) for seed in range(8)]
    return scenes.strip(
        [
            shots[0],
            shots[1][:40],
            scenes.dissolve(shots[1][40:], shots[2][:20]),
            shots[2][20:],
            *(scene(20 + seed, 3) for seed in range(5)),
            shots[3][:50],
            scenes.fade_out(shots[3][50:]),
            scenes.plain(25),
            scenes.fade_in(shots[4][:10]),
            shots[4][10:],
            scenes.push(shots[5][:12], shots[6][:12]),
            shots[6][12:],
            shots[7][:20],
            scenes.dissolve(shots[7][20:], scene(8, 60)[:40]),
            scene(8, 60)[40:],
            scene(9, 20),
            scenes.blended(scene(12, 40), scene(13, 40)),
            scenes.blended(scene(14, 5), scene(15, 40), 0.3),
            scenes.fade_out(scene(10, 30)),
            scenes.fade_in(scene(11, 30)),
        ],
        first=first,
    )


def run(strip: Strip, borders: list[int]) -> tuple[list[Boundary], NDArray[np.float32]]:
    scores: list[NDArray[np.float32]] = []
    told = [strip.first]

    def on_scores(first: int, values: NDArray[np.float32]) -> None:
        assert first == told[-1]
        told.append(first + len(values))
        scores.append(values)

    finder = RuleFinder(rate=RATE, on_scores=on_scores)
    found: list[Boundary] = []
    edges = [0, *sorted(borders), len(strip)]
    for start, stop in pairwise(edges):
        certain = finder.certain
        new = finder.push(part(strip, start, stop))
        assert all(boundary.start >= certain for boundary in new)
        assert finder.certain >= certain
        found += new
    certain = finder.certain
    new = finder.finish()
    assert all(boundary.start >= certain for boundary in new)
    assert finder.certain == strip.stop
    return found + new, np.concatenate(scores)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 660), max_size=30))
def test_any_sharing_out_over_strips_finds_the_same(borders: list[int]) -> None:
    whole, scores = whole_film()
    found, others = run(film(), [min(border, len(film())) for border in borders])
    assert found == whole
    np.testing.assert_array_equal(others, scores)


@cache
def whole_film() -> tuple[list[Boundary], NDArray[np.float32]]:
    return run(film(), [])


def test_boundaries_come_in_order_and_without_overlap() -> None:
    found, scores = whole_film()
    assert len(found) >= 10
    for before, after in pairwise(found):
        assert before.end <= after.start
    assert all(0.0 <= boundary.confidence <= 1.0 for boundary in found)
    assert len(scores) == len(film())


def test_one_frame_at_a_time_is_the_same() -> None:
    whole, _ = whole_film()
    found, _ = run(film(), list(range(1, len(film()))))
    assert found == whole


def test_the_analysed_part_may_begin_anywhere() -> None:
    whole, _ = whole_film()
    moved, _ = run(film(1_000), [])
    assert [b.start - 1_000 for b in moved] == [b.start for b in whole]


def test_scores_stand_out_at_cuts() -> None:
    _, scores = whole_film()
    assert scores[0] == 0.0
    assert scores[60] > 0.5
    assert np.median(scores) < 0.15


def test_a_gap_between_strips_is_refused() -> None:
    finder = RuleFinder(rate=RATE)
    finder.push(part(film(), 0, 10))
    with pytest.raises(ValueError, match="begins at frame 12"):
        finder.push(part(film(), 12, 20))


@pytest.mark.parametrize("sensitivity", [-0.1, 1.1])
def test_a_sensitivity_out_of_range_is_refused(sensitivity: float) -> None:
    with pytest.raises(ValueError, match="sensitivity"):
        RuleFinder(rate=RATE, sensitivity=sensitivity)


def test_a_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        RuleFinder(rate=Fraction(0))


def test_nothing_at_all() -> None:
    finder = RuleFinder(rate=RATE)
    assert finder.push(part(film(), 0, 0)) == []
    assert finder.finish() == []
    assert finder.certain == 0


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17])
def test_a_few_frames(frames: int) -> None:
    found, scores = run(part(film(), 0, frames), [])
    assert found == []
    assert len(scores) == frames


@pytest.mark.parametrize("what", ["black", "still"])
def test_memory_and_delay_stay_small_however_long_nothing_happens(what: str) -> None:
    shot = scene(1, 40)
    nothing = scenes.plain(1_200) if what == "black" else np.repeat(shot[-1:], 1_200, axis=0)
    strip = scenes.strip([shot, nothing, scene(2, 60)])
    finder = RuleFinder(rate=RATE)
    found: list[Boundary] = []
    for start in range(0, len(strip), 40):
        stop = min(start + 40, len(strip))
        found += finder.push(part(strip, start, stop))
        assert finder.kept <= 400
        assert stop - finder.certain <= 260
    found += finder.finish()
    assert 1_240 in [boundary.end for boundary in found]


def test_a_cut_is_told_about_five_seconds_later() -> None:
    strip = scenes.strip([scene(1, 60), scene(2, 200)])
    finder = RuleFinder(rate=RATE)
    for start in range(0, len(strip), 4):
        if finder.push(part(strip, start, start + 4)):
            assert start + 4 - 60 <= 135
            return
    pytest.fail("not told before the end")
