"""Small files that claim, or turn to, what would fill the memory or the time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from reelsplit_server.media.container import most_pixels
from reelsplit_server.media.shot_settings import AdaptiveSettings, ShotSettings
from reelsplit_server.media.shots import Shot, detect_shots
from reelsplit_server.media.timeline import read_timeline
from tests.clips import make_clip


def test_pictures_that_turn_larger_than_allowed_are_not_decoded(tmp_path: Path) -> None:
    small, large = tmp_path / "small.h264", tmp_path / "large.h264"
    make_clip(small, frames=12, size=(64, 64), format="h264")
    make_clip(large, frames=3, size=(640, 640), format="h264")
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    token = most_pixels.set(320 * 320)
    try:
        with both.open("rb") as file:
            timeline = read_timeline(file)
    finally:
        most_pixels.reset(token)
    assert timeline.frame_count == 12
    assert timeline.damaged


@pytest.fixture
def pause(tmp_path: Path) -> Path:
    """Ten frames with a pause of years between the sixth and the seventh."""
    path = tmp_path / "pause.mkv"
    times = [Fraction(n, 25) + (90_000_000 if n > 5 else 0) for n in range(10)]
    make_clip(path, frames=10, size=(128, 96), bframes=0, times=times)
    return path


def test_a_pause_of_years_makes_no_more_parts_than_there_are_frames(pause: Path) -> None:
    shots: list[Shot] = []
    with pause.open("rb") as file:
        settings = ShotSettings(detector=AdaptiveSettings(), max_shot=Fraction(1, 10))
        detect_shots(file, settings, shots.append)
    assert len(shots) <= 10
    assert sum(shot.end_frame - shot.start_frame for shot in shots) == 10
