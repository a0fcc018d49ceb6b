"""The tables of the detection benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from detection import Row, accuracy_table, labelled, run, timelines, video_table
from detection_scoring import Boundary, Labels, score

CUT = Boundary("cut", 10, 10, optional=False)
FADE = Boundary("fade_black", 30, 40, optional=False)
DOUBT = Boundary("cut", 70, 70, optional=True)


def test_videos_with_the_same_boundaries_are_one_timeline() -> None:
    videos = {
        Path("a.mp4"): Labels(90, (CUT, FADE)),
        Path("b.webm"): Labels(90, (CUT, FADE)),
        Path("c.mp4"): Labels(90, (CUT,)),
        Path("calm.mp4"): Labels(90, ()),
        Path("doubtful.mp4"): Labels(90, (DOUBT,)),
    }
    assert timelines(videos) == [[Path("a.mp4"), Path("b.webm")], [Path("c.mp4")]]


def test_the_mean_is_of_timelines_and_the_sum_of_all_files() -> None:
    videos = {
        Path("a.mp4"): Labels(90, (CUT, FADE)),
        Path("b.webm"): Labels(90, (CUT, FADE)),
        Path("c.mp4"): Labels(90, (CUT,)),
    }
    found = {"a.mp4": [10, 35], "b.webm": [10, 35], "c.mp4": [50]}
    row = Row(frames=270, wall=2, cpu=1.5, peak=80)
    for video, labels in videos.items():
        row.scores[video] = score(
            labels.boundaries, [(frame, "cut") for frame in found[video.name]]
        )
    cells = accuracy_table({"exact": row}, videos).splitlines()[2].split(" | ")
    assert cells[0] == "| reelsplit exact"
    assert cells[1] == "0.500"
    assert cells[4:7] == ["0.800", "0.800", "0.800"]
    assert cells[7:12] == ["0.667", "0.800", "", "1.000", ""]
    assert cells[12:] == ["4", "1", "1", "135", "1.5", "80 |"]


def test_a_detector_that_could_not_run_says_so() -> None:
    videos = {Path("a.mp4"): Labels(90, (CUT,))}
    row = Row(scores={Path("a.mp4"): score([CUT], [])}, errors=["ImportError: no torch"])
    assert "ImportError: no torch" in accuracy_table({"transnet": row}, videos)
    assert "TransNetV2" not in video_table({"transnet": row}, videos)


def test_false_ones_are_counted_where_nothing_is_to_be_found() -> None:
    videos = {Path("x/calm.mp4"): Labels(90, (DOUBT,))}
    row = Row(scores={Path("x/calm.mp4"): score([DOUBT], [(5, "cut"), (70, "cut")])})
    assert video_table({"exact": row}, videos).splitlines()[2] == "| x/calm.mp4 | 0 | 1 false |"


def test_a_process_that_ends_early_is_an_error_of_each_video(tmp_path: Path) -> None:
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    told = run("no-such-tool", 1, videos, sys.executable)
    assert [each["video"] for each in told] == [str(video) for video in videos]
    assert all("no tool is called no-such-tool" in each["error"] for each in told)


def test_a_video_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    told = run("adaptive", 1, [broken, tmp_path / "missing.mp4"], sys.executable)
    assert len(told) == 2
    assert all("error" in each for each in told)


def test_videos_are_found_by_their_labels(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    for name in ("a.mp4", "gone.mp4"):
        entry = {"type": "cut", "start_frame": 10, "end_frame": 10, "optional": False}
        labels = {"n_frames": 90, "boundaries": [entry]}
        (tmp_path / f"{name}.labels.json").write_text(json.dumps(labels))
    assert labelled([tmp_path]) == {tmp_path / "a.mp4": Labels(90, (CUT,))}
