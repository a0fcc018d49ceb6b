"""Every kind of boundary is found where it is, and what only looks like one is not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NoReturn

import av
import numpy as np
import pytest

from reelsplit_server.media.detection import cuts as finding
from reelsplit_server.media.detection import transitions
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.gradual import Windows
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.thumbs import StripBuilder, ThumbMaker
from reelsplit_server.media.detection.tuning import Footage
from tests import media
from tests.unit.media.detection import scenes
from tests.unit.media.detection.scenes import BLACK, WHITE, Pictures, scene

RATE = Fraction(25)


def find(
    *parts: Pictures,
    rate: Fraction = RATE,
    sensitivity: float = 0.5,
    footage: Footage = Footage.FILM,
) -> list[Boundary]:
    finder = RuleFinder(rate=rate, sensitivity=sensitivity, footage=footage)
    found = finder.push(scenes.strip(parts))
    return found + finder.finish()


def cuts(found: list[Boundary]) -> list[int]:
    assert all(boundary.kind is Kind.CUT for boundary in found), found
    return [boundary.start for boundary in found]


def test_cuts_are_exact_to_the_frame() -> None:
    shots = [scene(seed, frames) for seed, frames in enumerate((40, 31, 57, 25))]
    assert cuts(find(*shots)) == [40, 71, 128]


def test_a_burst_of_shots_of_three_frames_is_found() -> None:
    burst = [scene(seed, 3) for seed in range(10, 15)]
    found = find(scene(1, 40), *burst, scene(2, 40))
    assert cuts(found) == [40, 43, 46, 49, 52, 55]


def held(*shots: Pictures) -> Strip:
    """Each picture three times, without noise."""
    return scenes.strip([np.repeat(shot, 3, axis=0) for shot in shots], noise=0.0)


def steps_of(strip: Strip) -> list[int]:
    finder = RuleFinder(rate=RATE)
    return cuts(finder.push(strip) + finder.finish())


def test_what_moves_on_threes_is_no_row_of_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    shots = [held(scene(seed, 30, speed=3.5)) for seed in range(8)]
    assert sum(len(steps_of(shot)) for shot in shots) <= 1
    for seed in range(4):
        cut = held(scene(seed, 14, speed=3), scene(seed + 50, 14, speed=3))
        assert steps_of(cut) == [42]
    monkeypatch.setattr(finding, "released", lambda *window: None)
    assert sum(len(steps_of(shot)) for shot in shots) > 4


def test_a_burst_of_stills_is_found() -> None:
    stills = held(*(scene(seed, 1) for seed in range(10, 16)))
    whole = scenes.strip([scene(1, 40), np.zeros((18, 36, 64, 3), np.float32), scene(2, 40)])
    for name in "yuv":
        getattr(whole, name)[40:58] = getattr(stills, name)
    assert steps_of(whole) == [40, 43, 46, 49, 52, 55, 58]


def test_a_frame_of_another_shot_between_two_shots_is_one_boundary() -> None:
    found = find(scene(1, 40), scene(2, 1), scene(3, 40))
    assert len(found) == 1
    assert found[0].middle in (40, 41)


def test_a_cut_in_the_dark_is_found() -> None:
    dim = [16 + (scene(seed, 40) - 16) * 0.2 for seed in (4, 5)]
    assert cuts(find(*dim)) == [40]


def test_a_cut_between_standing_pictures_is_found() -> None:
    assert cuts(find(scene(1, 40, speed=0), scene(2, 40, speed=0))) == [40]


@pytest.mark.parametrize("length", [8, 14, 24, 40])
def test_a_dissolve(length: int) -> None:
    old, new = scene(1, 40 + length), scene(2, 40 + length)
    found = find(old[:40], scenes.dissolve(old[40:], new[:length]), new[length:])
    assert [boundary.kind for boundary in found] == [Kind.DISSOLVE]
    assert abs(found[0].start - 40) <= max(3, length // 4)
    assert abs(found[0].end - (40 + length)) <= max(3, length // 4)


@pytest.mark.parametrize(
    ("colour", "kind"), [(BLACK, Kind.FADE_BLACK), (WHITE, Kind.FADE_WHITE)], ids=["black", "white"]
)
@pytest.mark.parametrize("hold", [0, 6, 60])
def test_a_fade(colour: np.ndarray, kind: Kind, hold: int) -> None:
    old, new = scene(1, 50), scene(2, 50)
    found = find(
        old[:40],
        scenes.fade_out(old[40:], colour),
        scenes.plain(hold, colour),
        scenes.fade_in(new[:10], colour),
        new[10:],
    )
    assert [boundary.kind for boundary in found] == [kind]
    assert 38 <= found[0].start <= 48
    assert 52 + hold <= found[0].end <= 62 + hold
    # What stands for seconds belongs to the shot before.
    middle = 50 + hold // 2 if hold < 25 else 50 + hold
    assert abs(found[0].middle - middle) <= 3


@pytest.mark.parametrize("sudden", ["out", "in"])
def test_a_fade_that_is_a_cut_on_one_side_has_its_border_there(sudden: str) -> None:
    old, new = scene(1, 50), scene(2, 50)
    black = scenes.plain(12)
    if sudden == "out":
        found = find(old[:40], black, scenes.fade_in(new[:10]), new[10:])
    else:
        found = find(old[:40], scenes.fade_out(old[40:]), black, new)
    assert [boundary.kind for boundary in found] == [Kind.FADE_BLACK]
    assert found[0].middle == (40 if sudden == "out" else 62)
    assert found[0].end - found[0].start > 15


def test_a_scene_that_goes_down_while_a_few_words_come_up_is_left() -> None:
    words = scenes.plain(70)
    words[:, 15:17, 22:42:2] = 60.0, 128, 128
    scene_of_before = scene(1, 70)
    fading = scenes.fade_out(scene_of_before[40:])
    fading[20:] = np.maximum(fading[20:], words[:10])
    found = find(scene_of_before[:40], fading, words[10:])
    assert len(found) == 1
    assert 38 <= found[0].start <= 62
    assert found[0].end <= 90


@pytest.mark.parametrize("way", ["right", "down", "corner", "iris", "clock"])
def test_a_wipe(way: str) -> None:
    old, new = scene(3, 54), scene(4, 54)
    found = find(old[:40], scenes.wipe(old[40:], new[:14], way), new[14:])
    assert [boundary.kind for boundary in found] == [Kind.WIPE]
    assert 38 <= found[0].start <= 44
    assert 48 <= found[0].end <= 57


def test_a_push() -> None:
    old, new = scene(5, 52, speed=0.1), scene(6, 52, speed=0.1)
    found = find(old[:40], scenes.push(old[40:], new[:12]), new[12:])
    assert [boundary.kind for boundary in found] == [Kind.WIPE]
    assert 38 <= found[0].start <= found[0].end <= 55


def test_nothing_is_matched_for_a_push(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matching costs most of all measures, and none of it counts for a push."""
    known = transitions.find_windows

    def pushes_only(*arguments: Any) -> Windows:
        return dataclasses.replace(known(*arguments), mixed=[], parted=[])

    def matched(*_: object) -> NoReturn:
        raise AssertionError("matched")

    monkeypatch.setattr(transitions, "find_windows", pushes_only)
    monkeypatch.setattr(transitions, "match_measures", matched)
    test_a_push()


@pytest.mark.parametrize("seed", [3, 5, 9])
def test_a_push_between_shots_that_move(seed: int) -> None:
    old, new = scene(seed, 54, speed=1.0), scene(seed + 1, 54, speed=1.0)
    found = find(old[:40], scenes.push(old[40:], new[:14]), new[14:])
    assert [boundary.kind for boundary in found] == [Kind.WIPE]
    assert 36 <= found[0].start <= found[0].end <= 58


@pytest.mark.parametrize("way", ["corner", "iris"])
def test_a_wipe_between_shots_that_move(way: str) -> None:
    old, new = scene(7, 54, speed=1.0), scene(8, 54, speed=1.0)
    found = find(old[:40], scenes.wipe(old[40:], new[:14], way), new[14:])
    assert [boundary.kind for boundary in found] == [Kind.WIPE]
    assert found[0].confidence > 0.7
    assert 37 <= found[0].start <= found[0].end <= 57


def flash(shot: Pictures) -> Pictures:
    for number, share in ((40, 1.0), (41, 0.7), (42, 0.4), (43, 0.2)):
        shot[number] = shot[number] * (1 - share) + WHITE * share
    return shot


def strobe(shot: Pictures) -> Pictures:
    for number in range(30, 60):
        if number // 2 % 2:
            shot[number, ..., 0] = np.clip(shot[number, ..., 0] * 1.5 + 50, 16, 235)
    return shot


def slow_strobe(shot: Pictures) -> Pictures:
    for number in range(30, 66):
        if number // 9 % 2:
            shot[number] = BLACK + (shot[number] - BLACK) * 0.2
    return shot


def passing(shot: Pictures) -> Pictures:
    """Something wide goes by close to the camera."""
    random = np.random.default_rng(3)
    for number, left in zip(range(30, 40), np.linspace(-35, 59, 10).astype(int), strict=True):
        start, stop = max(0, left), min(64, left + 40)
        shot[number, :, start:stop] = 60, 128, 128
        shot[number, :, start:stop, 0] += random.normal(0, 8, (36, stop - start))
    return shot


def caption(shot: Pictures) -> Pictures:
    shot[30:60, 27:33, 6:58] = (40, 190, 110)
    shot[30:60, 29:31, 10:50:2] = WHITE
    return shot


def shake(shot: Pictures) -> Pictures:
    random = np.random.default_rng(1)
    for number in range(30, 50):
        down, across = random.integers(-3, 4, 2)
        shot[number] = np.roll(shot[number], (down, across), axis=(0, 1))
    return shot


def flicker(shot: Pictures) -> Pictures:
    random = np.random.default_rng(2)
    shot[..., 0] *= random.uniform(0.8, 1.15, len(shot))[:, None, None]
    return np.clip(shot, 16, 240)


def exposure(shot: Pictures) -> Pictures:
    gain = np.interp(np.arange(len(shot)), [30, 45], [1.0, 0.45])
    shot[..., 0] = 16 + (shot[..., 0] - 16) * gain[:, None, None]
    return shot


def dropout(shot: Pictures) -> Pictures:
    shot[40:42] = BLACK
    return shot


def freeze(shot: Pictures) -> Pictures:
    shot[30:40] = shot[30]
    return shot


@pytest.mark.parametrize(
    "what",
    [flash, strobe, slow_strobe, passing, caption, shake, flicker, exposure, dropout, freeze],
)
@pytest.mark.parametrize("seed", [21, 23, 24])
def test_what_happens_within_a_shot_is_no_boundary(
    what: Callable[[Pictures], Pictures], seed: int
) -> None:
    assert find(what(scene(seed, 90))) == []


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("frames", [12, 30, 90])
def test_a_pan_is_no_boundary(frames: int, blur: bool) -> None:
    assert find(scenes.pan(7, frames, blur=blur)) == []


def test_a_fade_in_at_the_beginning_and_out_at_the_end_are_no_boundaries() -> None:
    shot = scene(1, 80)
    found = find(
        scenes.plain(20),
        scenes.fade_in(shot[:15]),
        shot[15:65],
        scenes.fade_out(shot[65:]),
        scenes.plain(20),
    )
    assert found == []


@pytest.mark.parametrize("rate", [12, 50, 60])
def test_other_rates(rate: int) -> None:
    """The same seconds of film at another rate hold the same boundaries."""
    frames = rate * 2
    length = rate // 2
    shots = [scene(seed, frames + length, speed=7.5 / rate) for seed in (1, 2, 3)]
    found = find(
        shots[0][:frames],
        scenes.dissolve(shots[0][frames:], shots[1][:length]),
        shots[1][length:frames],
        shots[2],
        rate=Fraction(rate),
    )
    assert [boundary.kind for boundary in found] == [Kind.DISSOLVE, Kind.CUT]
    assert abs(found[0].middle - (frames + length // 2)) <= length // 2
    assert found[1].start == 2 * frames


def test_a_window_that_opens_is_no_shot_of_a_recorded_screen() -> None:
    screen, slide = (scene(seed, 40, speed=0) for seed in (1, 2))
    opened = screen.copy()
    opened[:, 8:30, 10:45] = scene(3, 40, speed=0)[:, 8:30, 10:45]
    assert cuts(find(screen, opened, slide, footage=Footage.SCREEN)) == [80]


def test_a_black_frame_at_the_very_beginning_is_no_shot() -> None:
    assert find(scenes.plain(3), scene(1, 60)) == []


def test_a_plain_colour_that_changes_is_no_boundary() -> None:
    colours = [np.array(colour, np.float32) for colour in ((90, 110, 150), (60, 150, 100), BLACK)]
    assert find(scene(1, 40), *(scenes.plain(8, colour) for colour in colours))[1:] == []


def test_a_pause_between_two_cuts_is_one_cut() -> None:
    assert cuts(find(scene(1, 40), scenes.plain(10), scene(2, 40))) == [50]


def test_more_sensitivity_never_finds_less() -> None:
    parts = [scene(1, 40), scene(1, 40, speed=0.6) * 0.9, caption(scene(2, 80)), scene(2, 30)]
    counts = [len(find(*parts, sensitivity=value)) for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert counts == sorted(counts)
    assert counts[0] >= 1


SPLICES = ("splices/dev_A_x264_g250_scenecut.mp4", "splices/dev_B_x264_g250_noscenecut.mp4")


@pytest.mark.parametrize("name", SPLICES)
def test_real_shots_with_every_transition_and_distractor(name: str) -> None:
    path = media.real(name)
    labels = json.loads(path.with_name(f"{path.name}.labels.json").read_text())
    builder = StripBuilder()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        maker = None
        for number, frame in enumerate(container.decode(stream)):
            maker = maker or ThumbMaker(frame)
            builder.add(number, maker.make(frame))
        finder = RuleFinder(rate=stream.average_rate or RATE)
    found = [b.middle for b in finder.push(builder.take()) + finder.finish()]
    hits = 0
    for label in labels["boundaries"]:
        low, high = label["start_frame"] - 1, label["end_frame"] + 1
        near = [frame for frame in found if low <= frame <= high]
        if near:
            found.remove(near[0])
            hits += not label["optional"]
    missed = sum(not label["optional"] for label in labels["boundaries"]) - hits
    assert 2 * hits / (2 * hits + missed + len(found)) > 0.96
