"""An encoder that would take the machine for itself does not get it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
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


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="a policy of Linux")
@pytest.mark.parametrize("name", ["SCHED_IDLE", "SCHED_BATCH", "SCHED_OTHER"])
def test_whoever_yields_to_all_others_goes_on_to(name: str) -> None:
    """A server may be started so, and has no right to leave it."""
    text = f"""
import os
from reelsplit_server.work.priority import forgo_real_time
os.sched_setscheduler(0, os.{name}, os.sched_param(0))
forgo_real_time()
forgo_real_time()
assert os.sched_getscheduler(0) == os.{name}
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="a policy of Linux")
@pytest.mark.parametrize("flags", ["0", "os.SCHED_RESET_ON_FORK"])
def test_whoever_was_started_as_real_time_does_not_stay_so(flags: str) -> None:
    text = f"""
import os
from reelsplit_server.work.priority import forgo_real_time
os.sched_setscheduler(0, os.SCHED_FIFO | {flags}, os.sched_param(1))
forgo_real_time()
assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
"""
    able = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
    if subprocess.run([sys.executable, "-c", able], capture_output=True).returncode != 0:
        pytest.skip("nothing may become real-time here")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
