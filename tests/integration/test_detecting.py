"""Shots found by several workers of a real server, some of which are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from reelsplit import (
    Client,
    JobState,
    Output,
    SegmentState,
    TransitionPolicy,
    TransitionType,
    shots,
)
from reelsplit.types.segment import Segment
from reelsplit.types.spec import ReelsplitDetector, ShotDetection
from reelsplit_server.media.detection.search import search_shots
from reelsplit_server.media.probe import probe
from reelsplit_server.media.shot_settings import ShotSettings
from tests.clips import make_clip, read_numbers
from tests.server import ServerProcess, wait_for, workers_of

_LOOPS = 12


def looped(clip: Path, path: Path, times: int) -> None:
    """The clip's video so many times, one after the other, without encoding anything."""
    with av.open(str(clip)) as before, av.open(str(path), "w") as after:
        video = before.streams.video[0]
        stream = after.add_stream_from_template(video, opaque=True)
        assert video.duration is not None
        for loop in range(times):
            before.seek(0)
            for packet in before.demux(video):
                if packet.size and packet.pts is not None and packet.dts is not None:
                    packet.pts += loop * video.duration
                    packet.dts += loop * video.duration
                    packet.stream = stream
                    after.mux(packet)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some minutes in which the picture changes every two seconds and more."""
    folder = tmp_path_factory.mktemp("film")
    make_clip(
        folder / "clip.mp4", frames=240, gop=24, bframes=2, size=(320, 180), shots=[60, 132, 180]
    )
    looped(folder / "clip.mp4", folder / "film.mp4", _LOOPS)
    return folder / "film.mp4"


@pytest.fixture(scope="module")
def expected(film: Path) -> list[tuple[int, int]]:
    """The shots as one process finds them that decodes from the beginning to the end."""
    found: list[tuple[int, int]] = []
    with film.open("rb") as file:
        search_shots(
            file,
            probe(file),
            ShotSettings(),
            lambda shot: found.append((shot.start_frame, shot.end_frame)),
            threads=2,
        )
    assert len(found) > 3 * _LOOPS
    return found


@pytest.fixture(scope="module", params=[1, 3], ids=["alone", "helped"])
def process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, film: Path
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    made = ServerProcess(folder, "--workers", str(request.param), "--grace", "1")
    (made.root / "film.mp4").write_bytes(film.read_bytes())
    with made:
        yield made


def frames_of(segments: Iterator[Segment]) -> list[tuple[int, int]]:
    return [(s.bounds.start_frame, s.bounds.end_frame) for s in segments if s.bounds]


def test_any_number_of_workers_finds_the_same(
    process: ServerProcess, expected: list[tuple[int, int]]
) -> None:
    with Client(process.address, timeout=60) as client:
        handle = client.submit(str(process.root / "film.mp4"), shots())
        job = handle.result(timeout=120)
        assert frames_of(handle.segments()) == expected
        assert job.source is not None
        assert job.source.frame_count == 240 * _LOOPS
        assert isinstance(job.spec.mode, ShotDetection)
        assert isinstance(job.spec.mode.detector, ReelsplitDetector)
        first, second, *_ = handle.segments()
        assert first.transition is not None
        assert second.transition is not None
        assert first.transition.type is TransitionType.START
        assert second.transition.type is TransitionType.CUT
        assert second.transition.confidence
        assert not job.notices
    scans = process.log.count('"unit": "scan"')
    assert bool(scans) == (process.flags[1] != "1")
    # Nothing is left of what was shared.
    assert not list((process.folder / "data" / "scratch").glob("*/share-*"))


def test_workers_that_are_killed_cost_no_shot(
    process: ServerProcess, expected: list[tuple[int, int]]
) -> None:
    with Client(process.address, timeout=60) as client:
        handle = client.submit(str(process.root / "film.mp4"), shots())
        for count in (1, _LOOPS):
            wait_for(lambda count=count: len(list(handle.segments())) >= count)
            for worker in workers_of(process.pid):
                os.kill(worker, signal.SIGKILL)
        assert handle.result(timeout=120).state is JobState.SUCCEEDED
        assert frames_of(handle.segments()) == expected


def test_a_cancelled_job_ends_all_its_workers(process: ServerProcess) -> None:
    with Client(process.address, timeout=60) as client:
        handle = client.submit(str(process.root / "film.mp4"), shots())
        wait_for(lambda: list(handle.segments()))
        assert handle.cancel().state is JobState.CANCELLED
        assert not list((process.folder / "data" / "scratch").glob("*/share-*"))


def test_segments_appear_while_others_are_sought(process: ServerProcess) -> None:
    output = Output(uri_template=f"{process.root}/out/{{index:03d}}.mp4")
    mode = shots(transitions=TransitionPolicy.START, end=20)
    with Client(process.address, timeout=60) as client:
        handle = client.submit(str(process.root / "film.mp4"), mode, output)
        assert handle.result(timeout=120).state is JobState.SUCCEEDED
        segments = list(handle.segments())
    assert {segment.state for segment in segments} == {SegmentState.PUBLISHED}
    shown = [
        number
        for segment in segments
        for number in read_numbers(process.root / "out" / f"{segment.index:03d}.mp4")
    ]
    assert shown == list(range(240)) * 2
