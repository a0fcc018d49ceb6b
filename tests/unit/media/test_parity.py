"""PySceneDetect's detectors against PySceneDetect itself: its manager on its own PyAV backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from scenedetect import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    SceneManager,
    StatsManager,
    ThresholdDetector,
)
from scenedetect.backends.pyav import VideoStreamAv
from scenedetect.detector import FlashFilter, SceneDetector

from reelsplit_server.media.shot_settings import (
    AdaptiveSettings,
    ContentSettings,
    DetectorSettings,
    FadeMethod,
    HashSettings,
    HistogramSettings,
    ShotSettings,
    ThresholdSettings,
    Weights,
)
from reelsplit_server.media.shots import Shot, detect_shots
from tests.clips import make_clip

SIZE = (226, 126)
"""Odd where chroma is halved twice."""
CUTS = [20, 31, 36, 40, 60, 80]
FRAMES = 100
SUPPRESS = FlashFilter.Mode.SUPPRESS
EDGES = ContentDetector.Components(1.0, 0.5, 2.0, 0.3)

Case = tuple[DetectorSettings, Callable[[float | int], SceneDetector]]
CASES: dict[str, Case] = {
    "adaptive": (AdaptiveSettings(), lambda least: AdaptiveDetector(min_scene_len=least)),
    "adaptive-all": (
        AdaptiveSettings(
            threshold=1.5,
            min_content_val=8.0,
            window_width=4,
            weights=Weights(hue=1.0, saturation=0.5, luma=2.0, edges=0.3),
            kernel_size=7,
        ),
        lambda least: AdaptiveDetector(1.5, least, 4, 8.0, weights=EDGES, kernel_size=7),
    ),
    "adaptive-luma": (
        AdaptiveSettings(luma_only=True, threshold=2.0),
        lambda least: AdaptiveDetector(2.0, least, luma_only=True),
    ),
    "content": (ContentSettings(), lambda least: ContentDetector(min_scene_len=least)),
    "content-all": (
        ContentSettings(
            threshold=12.0,
            weights=Weights(hue=1.0, saturation=0.5, luma=2.0, edges=0.3),
            kernel_size=3,
        ),
        lambda least: ContentDetector(12.0, least, EDGES, kernel_size=3),
    ),
    "content-luma": (
        ContentSettings(threshold=40.0, luma_only=True),
        lambda least: ContentDetector(40.0, least, luma_only=True),
    ),
    "content-suppress": (
        ContentSettings(suppresses=True),
        lambda least: ContentDetector(min_scene_len=least, filter_mode=SUPPRESS),
    ),
    "threshold": (
        ThresholdSettings(threshold=100.0),
        lambda least: ThresholdDetector(100.0, least),
    ),
    "threshold-all": (
        ThresholdSettings(
            threshold=128.0,
            fade_bias=-0.5,
            add_final_scene=True,
            method=FadeMethod.CEILING,
            min_out=Fraction(1, 2),
        ),
        lambda least: ThresholdDetector(
            128.0, least, -0.5, True, ThresholdDetector.Method.CEILING, min_out_length=0.5
        ),
    ),
    "hash": (HashSettings(), lambda least: HashDetector(min_scene_len=least)),
    "hash-all": (
        HashSettings(threshold=0.2, size=16, lowpass=3),
        lambda least: HashDetector(0.2, 16, 3, least),
    ),
    "histogram": (HistogramSettings(), lambda least: HistogramDetector(min_scene_len=least)),
    "histogram-all": (
        HistogramSettings(threshold=0.05, bins=256),
        lambda least: HistogramDetector(0.05, 256, least),
    ),
}


@dataclass(frozen=True)
class Clip:
    path: Path
    steady: bool


@pytest.fixture(scope="module", params=["mp4", "ts", "vfr.mkv"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Bursts of shots: at a steady rate, at one that is not, and in a file that starts late."""
    path = tmp_path_factory.mktemp("parity") / f"clip.{request.param}"
    steady = request.param != "vfr.mkv"
    times, base = None, None
    if not steady:
        base = Fraction(1, 1000)
        times = [40 * n if n < 40 else 1600 + 70 * (n - 40) + n % 3 * 9 for n in range(FRAMES)]
    make_clip(
        path,
        frames=FRAMES,
        rate=Fraction(30_000, 1001) if steady else 25,
        size=SIZE,
        shots=CUTS,
        times=times,
        time_base=base,
        bframes=2,
    )
    return Clip(path=path, steady=steady)


def ours(path: Path, settings: ShotSettings) -> list[Shot]:
    shots: list[Shot] = []
    with path.open("rb") as file:
        detect_shots(file, settings, shots.append)
    return shots


def theirs(path: Path, detector: SceneDetector, stats: StatsManager | None = None) -> list[float]:
    """Where the library's scenes begin, in seconds."""
    manager = SceneManager(stats)
    manager.add_detector(detector)
    manager.detect_scenes(VideoStreamAv(str(path)))
    return [start.seconds for start, _ in manager.get_scene_list(start_in_scene=True)]


@pytest.mark.parametrize("name", CASES)
def test_shots_begin_where_the_librarys_scenes_do(clip: Clip, name: str) -> None:
    if not clip.steady and name.startswith("threshold"):
        pytest.skip("at a variable rate the library takes frames for others; see test_shots")
    check(clip, name, None)


@pytest.mark.parametrize("least", [Fraction(0), Fraction(1)], ids=["0s", "1s"])
@pytest.mark.parametrize("name", ["adaptive", "content-suppress", "threshold", "hash", "histogram"])
def test_the_shortest_shot_is_the_librarys_shortest_scene(
    clip: Clip, name: str, least: Fraction
) -> None:
    if clip.path.suffix != ".mp4":
        pytest.skip("one file is enough")
    check(clip, name, least)


def check(clip: Clip, name: str, least: Fraction | None) -> None:
    settings, make = CASES[name]
    found = ours(clip.path, ShotSettings(detector=settings, min_shot=least))
    expected = theirs(clip.path, make(15 if least is None else float(least)))
    assert [float(shot.start) for shot in found] == pytest.approx(expected, abs=1e-6)


def test_the_cases_tell_settings_apart(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=FRAMES, size=SIZE, shots=CUTS)
    found = {
        name: tuple(shot.start_frame for shot in ours(path, ShotSettings(detector=settings)))
        for name, (settings, _) in CASES.items()
    }
    assert found["content"] != found["content-suppress"]
    assert found["threshold"] != found["threshold-all"]
    assert min(map(len, found.values())) > 1, found


@pytest.mark.parametrize("name", CASES)
def test_measures_are_those_of_the_librarys_statistics(clip: Clip, name: str) -> None:
    settings, make = CASES[name]
    told: dict[str, list[float]] = {}
    frames: list[int] = []
    ticks: list[int] = []

    def measured(first: int, pts: Sequence[int], columns: Mapping[str, Sequence[float]]) -> None:
        assert first == len(frames)
        frames.extend(range(first, first + len(pts)))
        ticks.extend(pts)
        for column, values in columns.items():
            told.setdefault(column, []).extend(values)

    plain = ours(clip.path, ShotSettings(detector=settings))
    shots: list[Shot] = []
    with clip.path.open("rb") as file:
        detect_shots(file, ShotSettings(detector=settings), shots.append, measured=measured)
    assert shots == plain
    assert frames == list(range(FRAMES))
    assert ticks == sorted(ticks)
    assert ticks[0] == shots[0].start_pts
    stats = StatsManager()
    detector = make(15)
    theirs(clip.path, detector, stats)
    assert list(told) == detector.get_metrics()
    if clip.steady:
        # The library keeps them by numbers that a variable rate makes ambiguous.
        for column, values in told.items():
            library = [stats.get_metrics(n, [column])[0] for n in range(FRAMES)]
            library = [math.nan if value is None else float(value) for value in library]
            assert values == pytest.approx(library, nan_ok=True), column
