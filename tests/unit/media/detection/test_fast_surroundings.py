"""Where much happens, groups of pictures are not believed."""

from __future__ import annotations

import numpy as np
import pytest

from reelsplit_server.media.detection.fast_surroundings import Surroundings
from reelsplit_server.media.detection.index import Samples

LENGTH = 100


def samples(restless: list[bool]) -> Samples:
    """Groups of so many packets, all anchors; of restless ones a third are large."""
    sizes = np.full((len(restless), LENGTH), 10, np.int64)
    sizes[np.array(restless), 40:70] = 200
    sizes[:, 0] = 1000
    count = sizes.size
    return Samples(
        pts=np.arange(count, dtype=np.int64),
        sizes=sizes.reshape(-1),
        keys=np.arange(count) % LENGTH == 0,
        shown=np.ones(count, np.bool_),
    )


def eventful(restless: list[bool], *, watched: bool = True) -> list[bool]:
    around = Surroundings(samples(restless))
    return [around.are_eventful(place * LENGTH, watched=watched) for place in range(len(restless))]


def test_one_restless_group_makes_no_event() -> None:
    assert not any(eventful([place == 5 for place in range(11)]))


def test_among_restless_groups_a_calm_one_is_not_believed() -> None:
    assert all(eventful([place % 3 != 1 for place in range(21)]))


def test_what_is_far_away_does_not_count() -> None:
    found = eventful([place < 30 for place in range(80)])
    assert all(found[:25])
    assert not any(found[40:])


@pytest.mark.parametrize("watched", [False, True])
def test_where_nobody_looks_for_changes_less_is_enough(watched: bool) -> None:
    assert all(
        found != watched
        for found in eventful([place % 9 < 4 for place in range(9)], watched=watched)
    )


def test_no_key_frame_is_no_event() -> None:
    around = Surroundings(samples([True] * 4))
    assert around.are_eventful(100, watched=True)
    assert not around.are_eventful(150, watched=True)
    assert not around.are_eventful(4 * LENGTH, watched=True)
