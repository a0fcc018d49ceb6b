"""The fast effort through a real server: exact where it reports a cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit import Client, JobState, Output, SegmentState, shots
from reelsplit.types.spec import Effort, ReelsplitDetector
from tests.clips import make_clip, read_numbers, write_number
from tests.server import ServerProcess

SHOTS = [30, 66, 110, 150]
FRAMES = 190


def picture(number: int) -> NDArray[np.uint8]:
    """A texture of its own in each shot, and the frame's number."""
    chance = np.random.default_rng(sum(cut <= number for cut in SHOTS))
    coarse = chance.integers(0, 256, (9, 16, 3)).astype(np.uint8)
    drawn = np.ascontiguousarray(coarse.repeat(20, axis=0).repeat(20, axis=1))
    write_number(drawn, number)
    return drawn


@pytest.mark.parametrize("workers", [1, 3])
def test_segments_begin_at_the_cuts(tmp_path: Path, workers: int) -> None:
    server = ServerProcess(tmp_path, "--workers", str(workers))
    make_clip(
        server.root / "clip.mp4",
        frames=FRAMES,
        bframes=3,
        picture=picture,
        options={"x264-params": "keyint=120:min-keyint=12:scenecut=40", "sc_threshold": "40"},
    )
    with server, Client(server.address, timeout=60) as client:
        output = Output(uri_template=f"{server.root}/out/{{index}}.mp4")
        detector = ReelsplitDetector(effort=Effort.FAST)
        handle = client.submit(str(server.root / "clip.mp4"), shots(detector), output)
        job = handle.result(timeout=120)
        assert job.state is JobState.SUCCEEDED
        found = list(handle.segments())
        assert job.source is not None
        assert job.source.frame_count == FRAMES
    assert all(segment.state is SegmentState.PUBLISHED for segment in found)
    borders = [0, *SHOTS, FRAMES]
    for segment, (first, stop) in zip(found, pairwise(borders), strict=True):
        path = server.root / "out" / f"{segment.index}.mp4"
        assert read_numbers(path) == list(range(first, stop))
