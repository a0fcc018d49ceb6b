"""A cut through one mixed frame is found where it is, and a frame that only looks mixed is none."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest

from reelsplit_server.media.detection.blends import find_blended_cuts
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.cuts import Cut, steps
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.frames import Frames, flat
from tests.unit.media.detection import scenes
from tests.unit.media.detection.scenes import BLACK, WHITE, Pictures, blended, scene

ANYTHING = -30.0


def find(*parts: Pictures, rate: int = 25) -> list[Boundary]:
    finder = RuleFinder(rate=Fraction(rate))
    found = finder.push(scenes.strip(parts))
    return found + finder.finish()


def by_mixed_frames(*parts: Pictures, least: float = 0.0) -> list[Cut]:
    """What the rule finds by itself."""
    frames = Frames(0)
    frames.append(flat(scenes.strip(parts)))
    step = steps(frames, 0, frames.stop)
    return find_blended_cuts(frames, step, 0, frames.stop, 1, least)


@pytest.mark.parametrize("seed", [1, 11, 21])
@pytest.mark.parametrize(("share", "at"), [(0.3, 40), (0.45, 40), (0.55, 39), (0.7, 39)])
def test_a_mixed_frame_belongs_to_the_shot_it_shows_more_of(
    seed: int, share: float, at: int
) -> None:
    joined = blended(scene(seed, 40), scene(seed + 1, 40), share)
    assert [cut.at for cut in by_mixed_frames(joined)] == [at]
    assert [(boundary.kind, boundary.start) for boundary in find(joined)] == [(Kind.CUT, at)]


@pytest.mark.parametrize("speed", [0.0, 1.0])
@pytest.mark.parametrize("seed", [3, 7])
def test_shots_that_move_or_stand(speed: float, seed: int) -> None:
    old, new = scene(seed, 40, speed=speed), scene(seed + 1, 40, speed=speed)
    assert len(by_mixed_frames(blended(old, new))) == 1


def test_short_shots_one_after_the_other() -> None:
    film = scene(1, 40)
    for seed in range(2, 7):
        film = blended(film, scene(seed, 9), 0.45)
    film = blended(film, scene(8, 40), 0.45)
    assert [boundary.start for boundary in find(film)] == [40, 49, 58, 67, 76, 85]


def test_the_same_at_twice_the_rate() -> None:
    joined = blended(scene(1, 90, speed=0.15), scene(2, 90, speed=0.15), 0.4)
    assert [boundary.start for boundary in find(joined, rate=50)] == [90]


def test_a_clean_cut_has_no_mixed_frame() -> None:
    assert by_mixed_frames(scene(1, 40), scene(2, 40), least=ANYTHING) == []


def test_a_mixed_frame_next_to_the_ends_is_not_looked_at() -> None:
    joined = blended(scene(1, 40), scene(2, 40))
    assert by_mixed_frames(joined[38:], least=ANYTHING) == []
    assert by_mixed_frames(joined[:41], least=ANYTHING) == []


def flash(shot: Pictures) -> Pictures:
    shot[40] = shot[40] * 0.3 + WHITE * 0.7
    return shot


def flash_with_mixed_edges(shot: Pictures) -> Pictures:
    shot[40] = WHITE
    for number in (39, 41):
        shot[number] = (shot[number] + WHITE) / 2
    return shot


def longer_flash(shot: Pictures) -> Pictures:
    shot[40:44] = WHITE
    for number in (39, 44):
        shot[number] = (shot[number] + WHITE) / 2
    return shot


def other_frame_shown_through(shot: Pictures) -> Pictures:
    shot[40] = (shot[40] + scene(99, 1)[0]) / 2
    return shot


def light(shot: Pictures) -> Pictures:
    for number, share in ((40, 0.5), *((number, 0.2) for number in range(41, len(shot)))):
        shot[number] = BLACK + (shot[number] - BLACK) * share
    return shot


def camera(shot: Pictures, ways: list[int], *, blur: bool) -> Pictures:
    """It is swung so many pixels aside from frame 40 on, smearing what it shows."""
    wide = np.concatenate([shot[0], shot[0, :, ::-1], shot[0]], axis=1)
    at = 0
    for number in range(40, len(shot)):
        way = ways[number - 40] if number - 40 < len(ways) else 0
        smeared = cv2.blur(wide, (way, 1)) if blur and way > 1 else wide
        # Smeared over the way that is gone within the frame.
        middle = at + way // 2 if blur else at + way
        shot[number] = smeared[:, middle : middle + 64]
        at += way
    shot[:40] = shot[0]
    return shot


@pytest.mark.parametrize(
    "what",
    [flash, flash_with_mixed_edges, longer_flash, other_frame_shown_through, light],
)
@pytest.mark.parametrize("seed", [21, 22, 23, 24])
def test_light_within_a_shot_is_no_cut(what: Callable[[Pictures], Pictures], seed: int) -> None:
    assert by_mixed_frames(what(scene(seed, 90))) == []


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("ways", [[9, 9], [16], [5, 11, 5], [12, 12, 12, 12]])
@pytest.mark.parametrize("seed", [21, 22, 23, 24])
def test_a_camera_that_is_swung_makes_no_cut(seed: int, ways: list[int], blur: bool) -> None:
    assert by_mixed_frames(camera(scene(seed, 90), ways, blur=blur)) == []


@pytest.mark.parametrize("frames", [6, 8, 12, 30])
@pytest.mark.parametrize("seed", [7, 8, 9])
def test_a_fast_pan_makes_no_cut(seed: int, frames: int) -> None:
    for blur in (False, True):
        assert by_mixed_frames(scenes.pan(seed, frames, blur=blur)) == []
