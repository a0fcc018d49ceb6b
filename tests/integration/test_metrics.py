"""What Prometheus reads of a running server."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reelsplit import (
    Client,
    JobState,
    NotFoundError,
    Output,
    VideoCodec,
    VideoEncoding,
    every,
    ranges,
)
from tests.clips import make_clip
from tests.server import ServerProcess, wait_for, workers_of

QUICK = VideoEncoding(codec=VideoCodec.H264, preset="ultrafast")
SLOW = VideoEncoding(codec=VideoCodec.H264, preset="placebo", crf=1)
# Those that the library itself brings, with the names that Prometheus' own clients all have.
_FOREIGN = ("process_", "python_")


def _made(folder: Path) -> ServerProcess:
    flags = ("--workers", "2", "--grace", "0", "--metrics-listen", "127.0.0.1:0")
    made = ServerProcess(folder, *flags)
    make_clip(made.root / "film.mp4", frames=240)
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with _made(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with _made(tmp_path_factory.mktemp("shared")) as made:
        yield made


def _address(server: ServerProcess) -> str:
    told = [line for line in server.lines if line.get("event") == "serving_metrics"]
    return str(told[-1]["address"])


def _scrape(server: ServerProcess) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels, in the order of their names."""
    url = f"http://{_address(server)}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    return {
        (
            sample.name.removeprefix("reelsplit_"),
            *dict(sorted(sample.labels.items())).values(),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_a_job_did_is_counted(server: ServerProcess) -> None:
    with Client(server.address) as client:
        output = Output(uri_template=f"{server.root}/a/{{index}}.mp4", video=QUICK)
        job = client.submit(f"{server.root}/film.mp4", every(5), output).result(timeout=90)
        with pytest.raises(NotFoundError):
            client.get("0" * 32)
        failed = client.submit(f"{server.root}/none.mp4", ranges((0, 1))).wait(timeout=90)
    assert (job.state, failed.state) == (JobState.SUCCEEDED, JobState.FAILED)
    expected: dict[tuple[str, ...], float] = {
        ("jobs", "SUCCEEDED"): 1,
        ("jobs", "FAILED"): 1,
        ("jobs", "PENDING"): 0,
        ("jobs", "RUNNING"): 0,
        ("jobs_submitted_total",): 2,
        ("jobs_ended_total", "SUCCEEDED"): 1,
        ("jobs_ended_total", "FAILED"): 1,
        ("job_duration_seconds_count", "SUCCEEDED"): 1,
        ("queue_age_seconds",): 0,
        ("unit_duration_seconds_count", "analyse", "done"): 1,
        ("unit_duration_seconds_count", "analyse", "failed"): 1,
        ("unit_duration_seconds_count", "render", "done"): 2,
        ("frames_total", "encoded"): 240,
        ("frames_total", "copied"): 0,
        ("segments_total", "encoded"): 2,
        ("segments_total", "failed"): 0,
        ("segments_verified_total",): 2,
        ("workers",): 2,
        ("workers_busy",): 0,
        ("store_available",): 1,
        ("commits_failed_total",): 0,
        ("calls_total", "OK", "grpc", "SubmitJob"): 2,
        ("call_duration_seconds_count", "grpc", "SubmitJob"): 2,
        ("calls_total", "NOT_FOUND", "grpc", "GetJob"): 1,
        ("watchers_limit",): 4096,
        ("worker_deaths_total", "killed"): 0,
    }
    # Some of it is counted a moment after the caller has its answer.
    with suppress(AssertionError):
        wait_for(lambda: expected.items() <= _scrape(server).items())
    found = _scrape(server)
    assert {name: found.get(name) for name in expected} == expected
    made = sum(path.stat().st_size for path in (server.root / "a").iterdir())
    assert found["published_bytes_total", "segment"] == made
    size = (server.root / "film.mp4").stat().st_size
    assert size <= found["source_read_bytes_total",] < 20 * size
    assert found["commit_writes_sum",] >= found["commit_duration_seconds_count",] > 0


def test_jobs_by_state_are_right_after_restarts_and_deletes(server: ServerProcess) -> None:
    with Client(server.address) as client:
        source = f"{server.root}/film.mp4"
        done = [client.submit(source, ranges((0, 1))) for _ in range(3)]
        for handle in done:
            handle.result(timeout=90)
        output = Output(uri_template=f"{server.root}/b/{{index}}.mp4", video=SLOW)
        for _ in range(4):
            client.submit(source, every(1), output)
        wait_for(lambda: _scrape(server)["jobs", "RUNNING"] >= 1)
        client.delete(done[0].job_id)
    before = _scrape(server)
    assert before["jobs", "SUCCEEDED"] == 2
    assert before["jobs", "RUNNING"] + before["jobs", "PENDING"] == 4
    server.kill()
    server.start()

    def waits_or_runs() -> bool:
        found = _scrape(server)
        return not found["jobs", "PENDING"] or found["queue_age_seconds",] > 0

    wait_for(lambda: _scrape(server)["workers_busy",] > 0)
    after = _scrape(server)
    assert after["jobs", "SUCCEEDED"] == 2
    assert after["jobs", "RUNNING"] + after["jobs", "PENDING"] == 4
    wait_for(waits_or_runs)


def test_a_dead_worker_and_the_second_try_are_counted(server: ServerProcess) -> None:
    with Client(server.address) as client:
        output = Output(uri_template=f"{server.root}/c/{{index}}.mp4", video=SLOW)
        handle = client.submit(f"{server.root}/film.mp4", ranges((0, 10)), output)
        wait_for(lambda: (found := handle.get().progress) is not None and found.percent > 2)
        for pid in workers_of(server.pid):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: _scrape(server).get(("unit_retries_total", "render")) == 1)
        found = _scrape(server)
        assert found["worker_deaths_total", "killed"] == 1
        assert found["unit_duration_seconds_count", "render", "died"] == 1
        handle.cancel()


def test_watchers_are_counted_as_long_as_they_watch(shared: ServerProcess) -> None:
    with Client(shared.address) as client:
        stream = client.watch_jobs()
        wait_for(lambda: _scrape(shared).get(("watchers", "WatchJobs")) == 1)
        stream.close()
        wait_for(lambda: _scrape(shared)["watchers", "WatchJobs"] == 0)
    cancelled = ("calls_total", "CANCELLED", "grpc", "WatchJobs")
    wait_for(lambda: _scrape(shared).get(cancelled) == 1)


def test_labels_have_few_values(shared: ServerProcess) -> None:
    """None names a job, a caller or a place."""
    url = f"http://{_address(shared)}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    ours = [family for family in families if not family.name.startswith(_FOREIGN)]
    assert ours
    for sample in (sample for family in ours for sample in family.samples):
        assert set(sample.labels) <= {
            "state",
            "kind",
            "outcome",
            "cause",
            "work",
            "face",
            "method",
            "code",
            "le",
        }


def test_scrapers_that_hang_hold_up_no_others(shared: ServerProcess) -> None:
    host, _, port = _address(shared).rpartition(":")
    hanging = [socket.create_connection((host, int(port))) for _ in range(6)]
    try:
        assert _scrape(shared)["workers",] == 2
    finally:
        for connection in hanging:
            connection.close()
