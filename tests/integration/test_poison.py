"""Segments that harm each worker that makes them: a bounded number of tries, a reason that says
what happened, and nothing of it in other jobs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reelsplit import Client, Error, JobHandle, JobState, Output, VideoEncoding, every
from tests.server import ServerProcess, alive, wait_for, workers_of

SLOW = VideoEncoding(preset="placebo")


@contextmanager
def harmed(server: ServerProcess, job: JobHandle, number: signal.Signals) -> Iterator[list[int]]:
    """Whatever worker makes a segment of the job gets a signal soon; gives those that did."""
    harmed: list[int] = []
    done = threading.Event()

    def harm() -> None:
        while not done.wait(0.05):
            for pid in workers_of(server.pid):
                if pid not in harmed and _makes(pid, job.job_id):
                    harmed.append(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)

    thread = threading.Thread(target=harm)
    thread.start()
    try:
        yield harmed
    finally:
        done.set()
        thread.join()


def _makes(pid: int, job_id: str) -> bool:
    """Whether a process has a segment of the job open."""
    with suppress(OSError):
        for file in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if job_id in os.readlink(f"/proc/{pid}/fd/{file}"):
                    return True
    return False


@contextmanager
def serving(folder: Path, clip: Path, *flags: str) -> Iterator[ServerProcess]:
    """A server with two workers; ``film.mp4`` lies in its root."""
    made = ServerProcess(folder, "--workers", "2", *flags)
    (made.root / "film.mp4").write_bytes(clip.read_bytes())
    with made:
        yield made


def _check(server: ServerProcess, number: signal.Signals) -> Error:
    with Client(server.address, timeout=60) as client:
        film = str(server.root / "film.mp4")
        large = Output(uri_template=f"{server.root}/bad/{{index}}.mp4", video=SLOW, width=1920)
        bad = client.submit(film, every(10), large)
        small = Output(uri_template=f"{server.root}/good/{{index}}.mp4", width=160)
        with harmed(server, bad, number) as pids:
            good = client.submit(film, every(1), small)
            assert bad.wait(timeout=120).state is JobState.FAILED
            assert good.wait(timeout=120).state is JobState.SUCCEEDED
        assert {segment.attempt for segment in good.segments()} == {1}
        (segment,) = bad.segments()
        assert segment.attempt == 3
        assert len(pids) == 3
        assert segment.error is not None
        assert segment.error.metadata["tries"] == "3"
        assert not (server.root / "bad").exists()
        after = client.submit(film, every(5), f"{server.root}/after/{{index}}.mp4")
        assert after.wait(timeout=120).state is JobState.SUCCEEDED
        wait_for(lambda: not any(alive(pid) for pid in pids))
        return segment.error


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_segment_that_crashes_its_workers(
    tmp_path: Path, clip: Path, number: signal.Signals
) -> None:
    with serving(tmp_path, clip) as server:
        error = _check(server, number)
    assert (error.reason, error.metadata["signal"]) == ("WORKER_DIED", number.name)
    assert number.name in error.message


def test_a_segment_that_makes_its_workers_hang(tmp_path: Path, clip: Path) -> None:
    # Longer than a worker that works is silent on a busy machine.
    flags = ("--stall-timeout", "8", "--storage-timeout", "1.5")
    with serving(tmp_path, clip, *flags) as server:
        error = _check(server, signal.SIGSTOP)
    assert (error.reason, error.metadata["timeout"]) == ("WORKER_STALLED", "8s")


def test_a_segment_that_takes_too_much_memory(tmp_path: Path, clip: Path) -> None:
    with (
        ServerProcess(tmp_path, "--workers", "1", "--max-worker-memory", str(2**28)) as server,
        Client(server.address, timeout=60) as client,
    ):
        film = server.root / "film.mp4"
        film.write_bytes(clip.read_bytes())
        large = Output(uri_template=f"{server.root}/bad/{{index}}.mp4", video=SLOW, width=3840)
        bad = client.submit(str(film), every(10), large)
        assert bad.wait(timeout=120).state is JobState.FAILED
        (segment,) = bad.segments()
        assert segment.error is not None
        assert segment.error.reason == "WORKER_OUT_OF_MEMORY"
        assert segment.error.metadata == {"tries": "3", "limit": str(2**28)}
        small = Output(uri_template=f"{server.root}/good/{{index}}.mp4", width=160)
        assert client.submit(str(film), every(5), small).wait(timeout=120).state is (
            JobState.SUCCEEDED
        )
