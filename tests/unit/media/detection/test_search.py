"""The whole search: settings, sources of every kind, and what is told of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit_server.media.detection import efforts, search, stretches
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.search import search_shots
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.probe import probe
from reelsplit_server.media.shot_settings import BorderPolicy, OwnSettings, ShotSettings
from reelsplit_server.media.shots import ShotScan
from reelsplit_server.media.tiling import Shot, Transition
from tests.clips import make_clip
from tests.media import real
from tests.unit.media.broken import remuxed, samples
from tests.unit.media.detection.looking import borders_of

DISSOLVE = Boundary(kind=Kind.DISSOLVE, start=20, end=30, confidence=0.5)
CUT = Boundary(kind=Kind.CUT, start=48, end=48, confidence=0.9)


class Scripted:
    """A finder that answers what it was told to, as late as it may."""

    found: Sequence[Boundary] = (DISSOLVE, CUT)

    def __init__(self, *, rate: Fraction, on_scores: Any = None, **_: object) -> None:
        self._on_scores = on_scores
        self._left = list(self.found)
        self.certain = 0
        self.next: int | None = None

    def push(self, strip: Strip) -> list[Boundary]:
        assert self.next is None or strip.first == self.next
        self.next = strip.stop
        if self._on_scores is not None and len(strip):
            self._on_scores(strip.first, np.arange(strip.first, strip.stop, dtype=np.float32))
        self.certain = max(self.certain, strip.stop - 10)
        found = [each for each in self._left if each.start < self.certain]
        self._left = self._left[len(found) :]
        return found

    def finish(self) -> list[Boundary]:
        return self._left


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    monkeypatch.setattr(efforts, "RuleFinder", Scripted)
    return Scripted


def searched(path: Path, **settings: Any) -> tuple[list[Shot], ShotScan]:
    shots: list[Shot] = []
    with path.open("rb") as file:
        scan = search_shots(file, probe(file), ShotSettings(**settings), shots.append)
    assert scan.shot_count == len(shots)
    return shots, scan


def frames_of(shots: Sequence[Shot]) -> list[tuple[int, int]]:
    return [(shot.start_frame, shot.end_frame) for shot in shots]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")

    def made(name: str) -> Path:
        path = folder / name
        if not path.exists():
            make_clip(path, frames=72, size=(160, 96), bframes=2, gop=12, shots=[36])
        return path

    return made


SOURCES = ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"]
"""Two with an index and two without."""


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("policy", "frames"),
    [
        (BorderPolicy.MIDDLE, [(0, 25), (25, 48), (48, 72)]),
        (BorderPolicy.START, [(0, 20), (20, 48), (48, 72)]),
        (BorderPolicy.END, [(0, 30), (30, 48), (48, 72)]),
        (BorderPolicy.DROP, [(0, 20), (30, 48), (48, 72)]),
    ],
)
def test_borders_lie_where_the_policy_says(
    clip: Callable[[str], Path],
    name: str,
    policy: BorderPolicy,
    frames: list[tuple[int, int]],
) -> None:
    shots, scan = searched(clip(name), policy=policy)
    assert frames_of(shots) == frames
    assert [shot.transition for shot in shots] == [
        Transition.START,
        Transition.DISSOLVE,
        Transition.CUT,
    ]
    assert [(shot.transition_start, shot.transition_end) for shot in shots[1:]] == [
        (20, 30),
        (48, 48),
    ]
    assert [shot.confidence for shot in shots] == [None, 0.5, 0.9]
    assert [(shot.start, shot.end) for shot in shots] == [
        (Fraction(a, 24), Fraction(b, 24)) if name != "clip.mkv" else (shot.start, shot.end)
        for shot, (a, b) in zip(shots, frames, strict=True)
    ]
    assert (scan.frame_count, scan.damaged, scan.restarts) == (72, False, False)
    assert abs(scan.end - 3) <= Fraction(1, 1000)


@pytest.mark.usefixtures("scripted")
def test_shots_that_are_too_short_or_too_long(clip: Callable[[str], Path]) -> None:
    path = clip("clip.mp4")
    shots, _ = searched(path, min_shot=Fraction(1))
    assert frames_of(shots) == [(0, 48), (48, 72)]
    shots, _ = searched(path, min_shot=Fraction(25, 24))
    assert frames_of(shots) == [(0, 25), (25, 72)]
    shots, _ = searched(path, max_shot=Fraction(1, 2))
    assert frames_of(shots)[:4] == [(0, 9), (9, 17), (17, 25), (25, 37)]
    assert shots[1].transition is Transition.SPLIT


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("name", SOURCES)
def test_frames_keep_their_numbers_in_a_part(
    clip: Callable[[str], Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    shots, scan = searched(clip(name), start=Fraction(3, 4), end=Fraction(5, 2))
    assert frames_of(shots) == [(18, 25), (25, 48), (48, 60)]
    assert abs(scan.end - Fraction(5, 2)) <= Fraction(1, 1000)
    assert scan.frame_count == 42


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("name", SOURCES)
def test_a_part_outside_the_source_is_refused(clip: Callable[[str], Path], name: str) -> None:
    for part in ({"start": Fraction(5)}, {"start": Fraction(1), "end": Fraction(1)}):
        with pytest.raises(MediaError) as caught:
            searched(clip(name), **part)
        assert caught.value.reason == "RANGE_OUTSIDE_SOURCE"


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_scores_come_with_the_times_of_their_frames(clip: Callable[[str], Path], name: str) -> None:
    told: list[tuple[int, int, float]] = []

    def measured(first: int, ticks: Sequence[int], columns: Mapping[str, Sequence[float]]) -> None:
        numbers = range(first, first + len(ticks))
        told.extend(zip(numbers, ticks, columns["score"], strict=True))

    with clip(name).open("rb") as file:
        facts = probe(file)
        settings = ShotSettings(start=Fraction(1, 2))
        search_shots(file, facts, settings, lambda shot: None, measured=measured)
    step = round(1 / 24 / facts.video.time_base)
    assert told == [(n, facts.video.start_pts + n * step, n) for n in range(12, 72)]


@pytest.mark.usefixtures("scripted")
def test_progress_counts_frames_and_reaches_the_end(clip: Callable[[str], Path]) -> None:
    told: list[tuple[int, Fraction]] = []

    def on_progress(frames: int, position: Fraction) -> None:
        told.append((frames, position))

    for name in ("clip.mp4", "clip.ts"):
        told.clear()
        with clip(name).open("rb") as file:
            search_shots(file, probe(file), ShotSettings(), lambda shot: None, on_progress)
        assert told == sorted(told)
        assert told[-1] == (72, Fraction(3))


def test_what_a_callback_raises_comes_through(clip: Callable[[str], Path]) -> None:
    def cancel(frames: int, position: Fraction) -> None:
        raise InterruptedError

    for name in ("clip.mp4", "clip.ts"):
        with clip(name).open("rb") as file, pytest.raises(InterruptedError):
            search_shots(file, probe(file), ShotSettings(), lambda shot: None, cancel)


# --- What is looked at ------------------------------------------------------------------------


def boxed(index: int) -> NDArray[np.uint8]:
    """Noise between bars: 20 rows above, 12 below, and 16 columns on the left."""
    picture = np.zeros((120, 160, 3), np.uint8)
    chance = np.random.default_rng(index)
    picture[20:108, 16:] = chance.integers(60, 256, (88, 144, 3), np.uint8)
    return picture


def viewed(path: Path, **settings: Any) -> View:
    """What of the source would be looked at."""
    views: list[View] = []

    def share(view: View, _: object) -> None:
        views.append(view)

    with path.open("rb") as file:
        search_shots(file, probe(file), ShotSettings(**settings), lambda shot: None, share=share)
    return views[0]


def test_bars_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "boxed.mp4"
    make_clip(path, frames=60, size=(160, 120), picture=boxed, options={"crf": "10"})
    assert viewed(path).crop == (0, 20, 160, 88)
    assert viewed(path, crop=(0, 10, 100, 60)).crop == (0, 10, 100, 60)
    assert viewed(path, skip_letterbox=False).crop is None
    assert viewed(path, skip_letterbox=True).crop == (16, 20, 144, 88)
    assert viewed(path, skip_letterbox=True, crop=(0, 10, 100, 60)).crop == (16, 20, 84, 50)
    # A part without any: bars cannot be told from a picture that is cropped beside them.
    assert viewed(path, skip_letterbox=True, crop=(40, 40, 60, 40)).crop == (40, 40, 60, 40)


def test_a_title_on_black_has_no_bars(tmp_path: Path) -> None:
    path = tmp_path / "title.mp4"
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[40:80, 50:110] = 255
    make_clip(path, frames=24, size=(160, 120), picture=lambda index: picture)
    assert viewed(path).crop is None
    assert viewed(path, skip_letterbox=True).crop == (50, 40, 60, 40)


@pytest.mark.parametrize("level", [0, 20])
def test_dark_pictures_have_no_bars(tmp_path: Path, level: int) -> None:
    path = tmp_path / "dark.mp4"
    make_clip(
        path,
        frames=24,
        size=(160, 96),
        picture=lambda index: np.full((96, 160, 3), level, np.uint8),
    )
    assert viewed(path, skip_letterbox=True).crop is None
    shots, _ = searched(path, skip_letterbox=True)
    assert frames_of(shots) == [(0, 24)]


def test_a_crop_outside_the_picture_is_refused(clip: Callable[[str], Path]) -> None:
    for name in ("clip.mp4", "clip.ts"):
        with pytest.raises(MediaError) as caught:
            searched(clip(name), crop=(400, 0, 50, 50))
        assert caught.value.reason == "CROP_OUTSIDE_SOURCE"


# --- Odd and bad sources, with the real rules -------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_cut_is_found(clip: Callable[[str], Path], name: str) -> None:
    shots, _ = searched(clip(name))
    assert frames_of(shots) == [(0, 36), (36, 72)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_one_frame(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"one.{ending}"
    make_clip(path, frames=1)
    shots, scan = searched(path)
    assert frames_of(shots) == [(0, 1)]
    assert abs(shots[0].end - Fraction(1, 24)) <= Fraction(1, 1000)
    assert scan.frame_count == 1


def test_a_picture_that_changes_its_size_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    data = b""
    for size in ((160, 96), (320, 180)):
        make_clip(tmp_path / "part.ts", frames=48, shots=[24], size=size)
        data += (tmp_path / "part.ts").read_bytes()
    path.write_bytes(data)
    shots, scan = searched(path)
    assert (scan.frame_count, scan.restarts, scan.damaged) == (96, True, True)
    assert {24, 48, 72} <= {shot.start_frame for shot in shots}


def test_what_is_broken_is_named_with_its_place(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.ts"):
        path = tmp_path / name
        make_clip(
            path,
            frames=240,
            size=(320, 180),
            gop=24,
            shots=[60, 180],
            container_options={"movflags": "faststart"} if name == "clip.mp4" else {},
        )
        data = bytearray(path.read_bytes())
        place, _, _ = samples(path)[120]
        data[place + 8 : place + 600] = random.Random(1).randbytes(592)
        path.write_bytes(data)
        shots, scan = searched(path)
        assert scan.damaged
        assert scan.detail
        assert scan.places
        assert all(4 < at < 7 for at in scan.places)
        starts = {shot.start_frame for shot in shots}
        assert 60 in starts
        lost = 240 - scan.frame_count
        assert 180 - lost in starts
        assert shots[-1].end_frame == scan.frame_count


def test_a_truncated_file_is_seen_up_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    make_clip(path, frames=96, size=(320, 180), shots=[36])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    shots, scan = searched(path)
    assert 36 < scan.frame_count < 96
    assert scan.truncated
    assert scan.detail is not None
    assert "lacks its last" in scan.detail
    assert not searched(path, end=Fraction(1))[1].truncated
    assert frames_of(shots) == [(0, 36), (36, scan.frame_count)]


def test_a_file_without_a_usable_index_is_seen_all_the_same(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    path = remuxed(clip("clip.mp4"), tmp_path / "cueless.mkv", lambda packets: packets)
    data = bytearray(path.read_bytes())
    at = data.rfind(bytes.fromhex("1c53bb6b"))
    data[at : at + 4] = bytes.fromhex("ec000000")
    path.write_bytes(data)
    assert frames_of(searched(path)[0]) == [(0, 36), (36, 72)]


@pytest.mark.parametrize(
    "name",
    [
        "traits/bbb_vfr_pause.mkv",
        "traits/bbb_h264_editlist.mp4",
        "traits/bbb_h264_intrarefresh.mp4",
        "traits/bbb_h264_fmp4.mp4",
        "traits/bbb_h264_interlaced_tff.ts",
        "traits/bbb_mpeg2_interlaced_ps.mpg",
        "traits/bbb_h264_ts_offset.ts",
        "traits/bbb_truncated.mkv",
    ],
)
def test_real_oddities_are_seen_as_by_one_decoder(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = real(name)
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    found = searched(path)
    monkeypatch.setattr(search, "read_index", lambda *_: None)
    assert searched(path) == found


def test_the_settings_of_the_library_are_not_ours() -> None:
    assert ShotSettings().detector == OwnSettings()
