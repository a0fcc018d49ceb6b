"""What the reports of an analysis are made of."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from reelsplit import Input, JobSpec, ReportKind, ReportOptions, every, ranges, shots
from reelsplit.types.job import SourceInfo, VideoInfo
from reelsplit.types.segment import Segment, SegmentBounds, Transition, TransitionType
from reelsplit_server.app.resolution import resolve
from reelsplit_server.storage.checksums import digest
from reelsplit_server.storage.grants import Placed
from reelsplit_server.storage.template import KINDS
from reelsplit_server.work.asks import ReportFinished
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.reporting import Reporting, _stretch
from reelsplit_server.work.units import Analyse
from tests.clips import make_clip
from tests.unit.app.specs import BOUNDS

BASE = Fraction(1, 1000)


def unit(folder: Path, *kinds: ReportKind, mode: Any = None) -> Analyse:
    reports = ReportOptions(kinds=kinds, uri_template="/o/{stem}.{kind}") if kinds else None
    spec = JobSpec(
        input=Input(uri="https://cdn.example.com/a/film.mp4?token=secret"),
        mode=mode or shots(),
        reports=reports,
    )
    return Analyse(
        job_id="1",
        spec=resolve(spec, BOUNDS),
        pin=None,
        folder=folder,
        threads=1,
        most_segments=100,
        most_pixels=10**7,
    )


def bounds(start: int, stop: int, *, counted: bool = True) -> SegmentBounds:
    """Frames of 25 a second, of a source that begins at tick 500."""
    times = Fraction(start, 25), Fraction(stop, 25)
    return SegmentBounds(
        start_offset=times[0],
        end_offset=times[1],
        start_frame=start if counted else 0,
        end_frame=stop if counted else 0,
        start_pts=500 + round(times[0] / BASE) if counted else 0,
        end_pts=500 + round(times[1] / BASE) if counted else 0,
        time_base=BASE,
    )


def source() -> SourceInfo:
    video = VideoInfo(width=64, height=36, frame_rate=25, time_base=BASE, start_pts=500)
    return SourceInfo(duration=4, frame_count=100, video=video)


class Server:
    """Publishes what is finished, by reading it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: dict[ReportKind, str] = {}

    def ask(self, ask: ReportFinished) -> Placed:
        path = self._folder / f"report-{ask.report.name.lower()}"
        with path.open("rb") as file:
            assert digest(file) == ask.checksum
        assert path.stat().st_size == ask.size_bytes
        self.made[ask.report] = path.read_text()
        return Placed()


def test_without_reports_nothing_is_done() -> None:
    idle = Reporting(unit(Path("/nowhere")))
    assert not idle.wants_scores
    idle.add([Segment(bounds=bounds(0, 5))])
    idle.score(0, [1], {"score": [1.0]})
    idle.score(0, [1], {"other": [1.0]})
    idle.publish(cast(Any, None), source(), cast(Channel, None))


@pytest.mark.parametrize(
    ("kind", "wants"),
    [(kind, kind in (ReportKind.HTML, ReportKind.SCORES_CSV)) for kind in KINDS],
)
def test_scores_are_gathered_only_for_reports_that_tell_them(kind: ReportKind, wants: bool) -> None:
    assert Reporting(unit(Path("/nowhere"), kind)).wants_scores is wants


def test_what_was_found_is_written_in_order_and_left_nowhere(tmp_path: Path) -> None:
    kinds = [ReportKind.SCORES_CSV, ReportKind.SHOTS_JSON]
    at_work, server = Reporting(unit(tmp_path, *kinds)), Server(tmp_path)
    # As an earlier attempt left it: what is published may be this very file.
    (tmp_path / "report-shots_json").write_text("x" * 10_000)
    published = tmp_path / "published"
    published.hardlink_to(tmp_path / "report-shots_json")
    at_work.score(0, [500, 540], {"score": [0.0, 1.0]})
    at_work.add([Segment(index=0, bounds=bounds(0, 50)), Segment(index=1)])
    at_work.add([Segment(index=2, bounds=bounds(50, 100))])
    at_work.publish(io.BytesIO(), source(), cast(Channel, server))
    assert list(server.made) == kinds
    told = json.loads(server.made[ReportKind.SHOTS_JSON])
    assert [shot["index"] for shot in told["shots"]] == [0, 2]
    assert told["source"]["uri"] == "https://cdn.example.com/a/film.mp4"
    assert server.made[ReportKind.SCORES_CSV].splitlines()[2] == "1,0.040000,1"
    assert [path.name for path in tmp_path.iterdir()] == ["published"]
    assert len(published.read_text()) == 10_000


def test_the_method_is_said_in_words(tmp_path: Path) -> None:
    said = []
    for mode in (shots(), every(2.5), ranges((0, 1))):
        at_work = Reporting(unit(tmp_path, ReportKind.SHOTS_JSON, mode=mode))
        server = Server(tmp_path)
        at_work.publish(io.BytesIO(), source(), cast(Channel, server))
        said.append(json.loads(server.made[ReportKind.SHOTS_JSON])["method"])
    assert said[0].startswith("shots, by ")
    assert said[1:] == ["intervals of 2.5 s", "ranges that were asked for"]


def test_a_page_has_a_picture_of_each_segment(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    times = [500 + 40 * n for n in range(100)]
    make_clip(clip, frames=100, rate=25, shots=[50], times=times, time_base=BASE)
    at_work, server = Reporting(unit(tmp_path, ReportKind.HTML)), Server(tmp_path)
    at_work.add([Segment(index=0, bounds=bounds(0, 50))])
    at_work.add([Segment(index=1, bounds=bounds(50, 100, counted=False))])
    with clip.open("rb") as file:
        at_work.publish(file, source(), cast(Channel, server))
    assert server.made[ReportKind.HTML].count("<img") == 2


def test_a_picture_shows_nothing_of_the_shot_before() -> None:
    change = Transition(type=TransitionType.DISSOLVE, start_frame=40, end_frame=60)
    made = Segment(bounds=bounds(50, 100), transition=change)
    stretch = _stretch(made, BASE, 0)
    assert stretch is not None
    assert (stretch.start, stretch.end) == (500 + 60 * 40, 500 + 100 * 40)
    # A dissolve that is longer than the shot leaves no such frame.
    change = Transition(type=TransitionType.DISSOLVE, start_frame=40, end_frame=100)
    stretch = _stretch(Segment(bounds=bounds(50, 100), transition=change), BASE, 0)
    assert stretch is not None
    assert stretch.start == 500 + 50 * 40
    bare = _stretch(Segment(bounds=bounds(50, 100, counted=False)), BASE, 500)
    assert bare is not None
    assert (bare.start, bare.end) == (2500, 4500)
