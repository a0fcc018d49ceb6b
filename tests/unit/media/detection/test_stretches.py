"""Where a source is divided."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.media.detection.index import SourceIndex
from reelsplit_server.media.detection.stretches import borders, plan_stretches
from reelsplit_server.media.probe import VideoFacts, probe
from tests.clips import make_clip

BASE, RATE = Fraction(1, 1000), Fraction(25)
HD = 1280 * 720


def test_the_first_stretches_are_shorter_and_none_is_too_long() -> None:
    keys = list(range(0, 7_200_000, 1000))
    places = list(borders(keys, HD, RATE, BASE))
    lengths = [b - a for a, b in pairwise(places)]
    assert places[0] == 0
    assert lengths[0] * 25 < 200
    assert sorted(lengths[:20]) == lengths[:20]
    assert set(lengths[20:-50]) == {35}
    # Those who share the work are done together: the last ones are short again.
    assert sorted(lengths[20:], reverse=True) == lengths[20:]
    assert lengths[-1] * 25 < 200
    # What is seen of a stretch fits into some megabytes, however small its pictures are.
    tiny = [b - a for a, b in pairwise(borders(keys, 16, RATE, BASE))]
    assert max(tiny) * 25 <= 1500 + 25
    large = [b - a for a, b in pairwise(borders(keys, 7680 * 4320, RATE, BASE))]
    assert set(large) == {1}


@given(
    st.lists(st.integers(-(2**40), 2**40), unique=True, max_size=50),
    st.integers(1, 2**31),
    st.fractions(Fraction(1, 1000), 10**6),
)
def test_whatever_a_file_claims_there_is_a_plan(
    keys: list[int], pixels: int, rate: Fraction
) -> None:
    keys = sorted(keys)
    places = list(borders(keys, pixels, rate, Fraction(1, 90_000)))
    assert places == sorted(set(places))
    assert places[:1] == ([0] if keys else [])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoFacts:
    path: Path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_clip(path, frames=2)
    with path.open("rb") as file:
        return probe(file).video


INDEX = SourceIndex(
    keys=np.array([0, 10_000_000, 20_000_000, 30_000_000], np.int64),
    places=np.array([100, 200, 300, 400], np.int64),
)


@pytest.mark.parametrize(
    ("low", "high", "entries", "places"),
    [
        (None, None, [None, 1, 2, 3], [(0, 200), (200, 300), (300, 400), (400, None)]),
        (15_000_000, None, [1, 2, 3], [(200, 300), (300, 400), (400, None)]),
        (10_000_000, 20_000_000, [1], [(200, 300)]),
        (12_000_000, 25_000_000, [1, 2], [(200, 300), (300, 400)]),
        (None, 5, [None], [(0, 200)]),
        (40_000_000, None, [3], [(400, None)]),
        (-5, -1, [None], [(0, 100)]),
    ],
)
def test_a_part_is_covered_from_the_key_frame_before_it(
    video: VideoFacts,
    low: int | None,
    high: int | None,
    entries: list[int | None],
    places: list[tuple[int, int | None]],
) -> None:
    plan = plan_stretches(INDEX, video, low, high)
    assert [each.entry for each in plan] == [
        None if n is None else int(INDEX.keys[n]) for n in entries
    ]
    assert (plan[0].low, plan[-1].high) == (low, high)
    for before, after in pairwise(plan):
        assert before.high == after.low == after.entry
        assert not before.cut
    assert plan[-1].cut == (high is not None)
    assert [each.place for each in plan] == places
    assert [each.number for each in plan] == list(range(len(plan)))
