from __future__ import annotations

import copy
import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scenedetect import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    SceneManager,
    ThresholdDetector,
)
from scenedetect.backends.pyav import VideoStreamAv
from scenedetect.detector import SceneDetector

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.shot_settings import (
    AdaptiveSettings,
    ContentSettings,
    DetectorSettings,
    HashSettings,
    HistogramSettings,
    ShotSettings,
    ThresholdSettings,
    Weights,
)
from reelsplit_server.media.shots import Shot, Transition, detect_shots
from tests.clips import make_clip
from tests.media import real

CONTENT = ContentSettings()


def adaptive(**settings: Any) -> ShotSettings:
    return ShotSettings(detector=AdaptiveSettings(), **settings)


def shots_of(path: Path, settings: ShotSettings | None = None, threads: int = 0) -> list[Shot]:
    shots: list[Shot] = []
    with path.open("rb") as file:
        detect_shots(file, settings or adaptive(), shots.append, threads=threads)
    return shots


def frames_of(shots: list[Shot]) -> list[tuple[int, int]]:
    return [(shot.start_frame, shot.end_frame) for shot in shots]


def library_frames(
    path: Path,
    detector: SceneDetector,
    crop: tuple[int, int, int, int] | None = None,
    downscale: int | None = None,
) -> list[tuple[int, int]]:
    """The library's own answer, through its own PyAV backend."""
    manager = SceneManager()
    manager.add_detector(detector)
    if crop is not None:
        left, top, width, height = crop
        manager.crop = (left, top, left + width - 1, top + height - 1)
    if downscale is not None:
        manager.auto_downscale = False
        manager.downscale = downscale
    manager.detect_scenes(VideoStreamAv(str(path)))
    scenes = manager.get_scene_list(start_in_scene=True)
    return [(start.frame_num, end.frame_num) for start, end in scenes]


SAME: list[tuple[DetectorSettings, SceneDetector]] = [
    (AdaptiveSettings(), AdaptiveDetector()),
    (AdaptiveSettings(threshold=2.0, window_width=3), AdaptiveDetector(2.0, window_width=3)),
    (CONTENT, ContentDetector()),
    (
        ContentSettings(weights=Weights(edges=1.0), threshold=20.0, kernel_size=5),
        ContentDetector(
            20.0, weights=ContentDetector.Components(1.0, 1.0, 1.0, 1.0), kernel_size=5
        ),
    ),
    (
        ThresholdSettings(threshold=40.0, add_final_scene=True, fade_bias=0.3),
        ThresholdDetector(40.0, add_final_scene=True, fade_bias=0.3),
    ),
    (HashSettings(), HashDetector()),
    (HistogramSettings(), HistogramDetector()),
]


@pytest.mark.parametrize(
    "clip", ["traits/bbb_h264_2997_ac3.mov", "real/bbb_trailer_vp8_vorbis.webm"]
)
@pytest.mark.parametrize("number", range(len(SAME)))
def test_every_detector_finds_what_the_library_finds(clip: str, number: int) -> None:
    path = real(clip)
    settings, _ = SAME[number]
    # A detector is good for one run.
    detector = _fresh(number)
    assert frames_of(shots_of(path, ShotSettings(detector=settings))) == library_frames(
        path, detector
    )


def _fresh(number: int) -> SceneDetector:
    return copy.deepcopy(SAME[number][1])


def test_crop_scale_and_least_length_are_the_librarys() -> None:
    path = real("real/bbb_trailer_vp8_vorbis.webm")
    cropped = ShotSettings(detector=CONTENT, crop=(100, 30, 200, 150), min_shot=Fraction(1))
    assert frames_of(shots_of(path, cropped)) == library_frames(
        path, ContentDetector(min_scene_len=1.0), crop=(100, 30, 200, 150)
    )
    scaled = ShotSettings(detector=ContentSettings(luma_only=True), downscale=3)
    assert frames_of(shots_of(path, scaled)) == library_frames(
        path, ContentDetector(luma_only=True), downscale=3
    )


def test_shots_tile_the_source(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=96, shots=[24, 60], bframes=2)
    shots = shots_of(path)
    assert frames_of(shots) == [(0, 24), (24, 60), (60, 96)]
    assert [(shot.start, shot.end) for shot in shots] == [
        (0, 1),
        (1, Fraction(5, 2)),
        (Fraction(5, 2), 4),
    ]
    assert [shot.transition for shot in shots] == [
        Transition.START,
        Transition.CUT,
        Transition.CUT,
    ]
    for before, after in pairwise(shots):
        assert before.end_pts == after.start_pts


def test_av1_works(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, codec="libsvtav1", frames=60, shots=[30])
    assert frames_of(shots_of(path)) == [(0, 30), (30, 60)]


def test_times_are_those_of_the_frames_at_a_variable_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    times = [40 * n if n < 30 else 3000 + 100 * (n - 30) for n in range(60)]
    make_clip(path, frames=60, times=times, time_base=Fraction(1, 1000), shots=[30])
    shots = shots_of(path)
    assert frames_of(shots) == [(0, 30), (30, 60)]
    assert shots[0].end == shots[1].start == 3


@pytest.mark.parametrize(
    ("bias", "frames"),
    [
        (-1.0, [(0, 20), (20, 60)]),
        (0.0, [(0, 5), (5, 30), (30, 60)]),
        (1.0, [(0, 10), (10, 40), (40, 60)]),
    ],
)
def test_fades_are_cut_by_frames_at_a_variable_rate(
    tmp_path: Path, bias: float, frames: list[tuple[int, int]]
) -> None:
    # Dark, bright, dark, bright. The library's own sum at the average rate lands elsewhere.
    path = tmp_path / "clip.mkv"
    times = [40 * n if n < 30 else 3000 + 100 * (n - 30) for n in range(60)]
    make_clip(path, frames=60, times=times, time_base=Fraction(1, 1000), shots=[10, 20, 40])
    detector = ThresholdSettings(threshold=100.0, fade_bias=bias)
    assert (
        frames_of(shots_of(path, ShotSettings(detector=detector, min_shot=Fraction(0)))) == frames
    )


def test_a_source_without_a_cut_is_one_shot(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=30)
    assert frames_of(shots_of(path)) == [(0, 30)]


def test_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=1)
    for settings, _ in SAME:
        shots = shots_of(path, ShotSettings(detector=settings))
        assert frames_of(shots) == [(0, 1)]
        assert shots[0].end == Fraction(1, 24)


def test_a_shot_is_told_while_decoding_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=200, shots=[24], gop=24)
    order: list[str] = []
    with path.open("rb") as file:
        detect_shots(
            file,
            adaptive(),
            lambda shot: order.append("shot"),
            lambda frames, position: order.append("progress"),
        )
    # Told two frames after the cut, with most of the source still to come.
    assert order.index("shot") <= 2
    assert order[-1] == "progress"
    assert order.count("shot") == 2


def test_progress_counts_frames_and_time(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=48)
    told: list[tuple[int, Fraction]] = []
    with path.open("rb") as file:
        scan = detect_shots(file, adaptive(), lambda shot: None, lambda *step: told.append(step))
    assert told == sorted(told)
    assert told[-1] == (48, Fraction(2))
    assert (scan.frame_count, scan.end, scan.shot_count) == (48, Fraction(2), 1)


def test_long_shots_are_split_evenly(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=96, shots=[72])
    shots = shots_of(path, adaptive(max_shot=Fraction(4, 3)))
    assert frames_of(shots) == [(0, 24), (24, 48), (48, 72), (72, 96)]
    assert [shot.transition for shot in shots] == [
        Transition.START,
        Transition.SPLIT,
        Transition.SPLIT,
        Transition.CUT,
    ]


@pytest.mark.parametrize(
    "longest", [Fraction(1, 3), Fraction(7, 10), Fraction(1), Fraction(41, 24)]
)
def test_no_part_is_longer_than_allowed(tmp_path: Path, longest: Fraction) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=50)
    shots = shots_of(path, adaptive(max_shot=longest))
    assert max(shot.end - shot.start for shot in shots) <= longest
    assert shots[-1].end_frame == 50


def test_a_part_of_the_source_is_analysed(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=96, shots=[24, 60])
    settings = adaptive(start=Fraction(1, 4), end=Fraction(3))
    shots = shots_of(path, settings)
    assert frames_of(shots) == [(6, 24), (24, 60), (60, 72)]
    assert (shots[0].start, shots[-1].end) == (Fraction(1, 4), Fraction(3))


def test_a_part_beyond_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=24)
    with pytest.raises(MediaError) as caught:
        shots_of(path, adaptive(start=Fraction(5)))
    assert caught.value.reason == "RANGE_OUTSIDE_SOURCE"


def test_a_crop_outside_the_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=4)
    with pytest.raises(MediaError) as caught:
        shots_of(path, adaptive(crop=(400, 0, 50, 50)))
    assert caught.value.reason == "CROP_OUTSIDE_SOURCE"


def test_settings_that_the_library_refuses_are_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=4)
    with pytest.raises(MediaError, match="window_width") as caught:
        shots_of(path, ShotSettings(detector=AdaptiveSettings(window_width=0)))
    assert caught.value.reason == "DETECTOR_REFUSED"


def test_what_a_callback_raises_ends_the_analysis(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=100)

    def cancel(frames: int, position: Fraction) -> None:
        raise InterruptedError(f"after {frames}")

    with path.open("rb") as file, pytest.raises(InterruptedError, match="after 16"):
        detect_shots(file, adaptive(), lambda shot: None, cancel)


def test_threads_do_not_change_the_result(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=96, shots=[24, 60], bframes=3)
    assert shots_of(path, threads=1) == shots_of(path, threads=4)


def test_a_picture_that_changes_its_size_is_followed(tmp_path: Path) -> None:
    small, large = tmp_path / "small.ts", tmp_path / "large.ts"
    make_clip(small, frames=40, shots=[20], size=(320, 180))
    make_clip(large, frames=40, shots=[20], size=(480, 270))
    shots: list[Shot] = []
    joined = io.BytesIO(small.read_bytes() + large.read_bytes())
    scan = detect_shots(joined, adaptive(), shots.append)
    assert scan.frame_count == 80
    assert {20, 60} <= {shot.start_frame for shot in shots}


def test_a_corrupt_stretch_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=100, shots=[50], container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 400] = bytes(range(200)) * 2
    shots: list[Shot] = []
    scan = detect_shots(io.BytesIO(data), adaptive(), shots.append)
    assert scan.damaged
    assert shots[-1].end_frame == scan.frame_count
