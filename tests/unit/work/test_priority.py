"""An encoder that would take the machine for itself does not get it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import av
import pytest
from pebble import ProcessPool

from reelsplit_server.work import entry


def encode_av1(path: str) -> list[int]:
    """How the threads are scheduled while SVT-AV1 is open."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libsvtav1", rate=24, width=64, height=64, pix_fmt="yuv420p")
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        found = {os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")}
        container.mux(stream.encode(None))
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads threads from /proc")
def test_no_encoder_makes_a_worker_real_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPool(max_workers=1, context=context, initializer=entry.prepare) as pool:
        found = pool.schedule(encode_av1, args=(str(tmp_path / "clip.mp4"),)).result(60)
    assert found == [os.SCHED_OTHER]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads threads from /proc")
def test_nor_this_process(tmp_path: Path) -> None:
    assert encode_av1(str(tmp_path / "clip.mp4")) == [os.SCHED_OTHER]
