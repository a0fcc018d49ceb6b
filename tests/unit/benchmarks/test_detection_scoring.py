"""Scoring of shot detectors against labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from detection_scoring import Boundary, Labels, Score, average, read_labels, score


def cut(frame: int, *, optional: bool = False) -> Boundary:
    return Boundary("cut", frame, frame, optional)


def gradual(start: int, end: int, kind: str = "dissolve") -> Boundary:
    return Boundary(kind, start, end, optional=False)


def counts(found: Score) -> tuple[int, int, int]:
    return found.hits.total(), found.misses.total(), found.false.total()


def at(*frames: int) -> list[tuple[int, str]]:
    return [(frame, "cut") for frame in frames]


@pytest.mark.parametrize(("frame", "hits"), [(98, 0), (99, 1), (100, 1), (101, 1), (102, 0)])
def test_a_cut_is_hit_within_one_frame(frame: int, hits: int) -> None:
    assert counts(score([cut(100)], at(frame))) == (hits, 1 - hits, 1 - hits)


@pytest.mark.parametrize(("frame", "hits"), [(98, 0), (99, 1), (105, 1), (113, 1), (114, 0)])
def test_a_gradual_one_is_hit_anywhere_in_it(frame: int, hits: int) -> None:
    assert counts(score([gradual(100, 112)], at(frame))) == (hits, 1 - hits, 1 - hits)


def test_each_boundary_takes_one_prediction() -> None:
    assert counts(score([gradual(100, 112)], at(101, 106, 111))) == (1, 0, 2)


def test_each_prediction_takes_one_boundary() -> None:
    assert counts(score([cut(100), cut(101)], at(101))) == (1, 1, 0)


def test_the_nearest_go_together_whatever_their_order() -> None:
    # In the order of the labels the first would take 101, and nothing be left for the second.
    assert counts(score([cut(100), cut(102)], at(101, 102))) == (2, 0, 0)


def test_an_optional_boundary_counts_neither_way() -> None:
    labels = [cut(50, optional=True), cut(100)]
    assert counts(score(labels, at(100))) == (1, 0, 0)
    assert counts(score(labels, at(50, 51, 100))) == (1, 0, 0)


def test_a_required_boundary_goes_before_an_optional_one_as_near() -> None:
    labels = [cut(99, optional=True), cut(101)]
    assert counts(score(labels, at(100))) == (1, 0, 0)


def test_shares() -> None:
    found = score([cut(10), cut(20), gradual(30, 40), gradual(60, 70, "wipe")], at(10, 35, 90))
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 4)
    assert found.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert found.recall_of(["cut"]) == pytest.approx(1 / 2)
    assert found.recall_of(["dissolve", "wipe"]) == pytest.approx(1 / 2)
    assert found.recall_of(["push"]) is None


def test_precision_of_a_kind_is_by_what_was_predicted() -> None:
    found = score([cut(10), gradual(30, 40)], [(10, "cut"), (35, "cut"), (90, "wipe")])
    assert found.precision_of(["cut"]) == 1
    assert found.precision_of(["wipe"]) == 0
    assert found.precision_of(["dissolve"]) is None


def test_nothing_to_find_and_nothing_told_is_right() -> None:
    assert score([], []).f1 == 1
    assert score([], at(5)).f1 == 0


def test_sums_and_means() -> None:
    first, second = score([cut(10)], at(10)), score([cut(10), cut(20), cut(30)], [])
    total = Score()
    total.add(first)
    total.add(second)
    assert counts(total) == (1, 3, 0)
    assert average([first, second])[0] == pytest.approx(0.5)
    assert total.f1 == pytest.approx(2 / (2 + 3))


def test_labels_of_one_timeline_are_alike(tmp_path: Path) -> None:
    entry = {"type": "cut", "start_frame": 4, "end_frame": 4, "optional": True, "on_keyframe": True}
    other = {**entry, "on_keyframe": False}
    for name, boundary in (("a", entry), ("b", other)):
        labels = {"n_frames": 9, "boundaries": [boundary], "codec": name}
        (tmp_path / name).write_text(json.dumps(labels))
    first, second = read_labels(tmp_path / "a"), read_labels(tmp_path / "b")
    assert first == second == Labels(9, (cut(4, optional=True),))
