"""What was measured is weighed alike whether all of it is asked for or not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from reelsplit_server.media.detection.evidence import (
    CUT,
    DISSOLVE,
    PUSH,
    WIPE,
    Weighing,
    weigh,
)

WEIGHINGS = pytest.mark.parametrize(
    "weighing", [CUT, DISSOLVE, WIPE, PUSH], ids=["cut", "dissolve", "wipe", "push"]
)


def measures_of(weighing: Weighing, seed: int) -> dict[str, float]:
    random = np.random.default_rng(seed)
    names = [*weighing.logarithmic, *weighing.linear]
    return {name: float(random.normal(0.5, 1.0)) for name in names}


@WEIGHINGS
def test_what_is_not_measured_never_makes_it_less_likely(weighing: Weighing) -> None:
    for seed in range(50):
        measures = measures_of(weighing, seed)
        names = list(measures)
        known = {name: measures[name] for name in names[: seed % len(names)]}
        assert 0.0 >= weighing.loss(known) >= weighing.loss(measures)


@WEIGHINGS
def test_an_extreme_measure_counts_no_more_than_a_large_one(weighing: Weighing) -> None:
    measures = measures_of(weighing, 1)
    for name in measures:
        one, other = ({**measures, name: value} for value in (1e4, 1e6))
        assert weighing.loss(one) == weighing.loss(other)


def test_what_is_certain_early_is_not_measured_further() -> None:
    asked = []

    def stage(name: str, value: Mapping[str, float] | None) -> Mapping[str, float] | None:
        asked.append(name)
        return value

    weighing = Weighing(-1.0, {}, {"a": ((0.0, -5.0), (1.0, 2.0)), "b": ((0.0, 0.0), (1.0, 3.0))})
    late = lambda: stage("b", {"b": 1.0})  # noqa: E731
    assert weigh(weighing, 0.0, lambda: stage("a", {"a": 0.0}), late) is None
    assert weigh(weighing, 0.0, lambda: stage("none", None), late) is None
    assert asked == ["a", "none"]
    assert weigh(weighing, 0.0, lambda: stage("a", {"a": 1.0}), late) == 4.0
