"""How many jobs may wait and run, and one client token at one moment, over gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from reelsplit import (
    AlreadyExistsError,
    Client,
    JobState,
    Output,
    ResourceExhaustedError,
    RetryPolicy,
    ranges,
)
from tests.server import ServerProcess, wait_for

ONCE = RetryPolicy(attempts=1)
TOKENS = {"alice": "alice-" + "a" * 20, "bob": "bob-" + "b" * 20}
# Nobody answers there, so that the job which runs goes on running.
STORE = {"kind": "s3", "endpoint": "http://127.0.0.1:9", "region": "x", "buckets": ["films"]}
ENVIRONMENT = {
    "REELSPLIT_STORES": json.dumps({"films": STORE}),
    "REELSPLIT_TOKENS": json.dumps(TOKENS),
    "REELSPLIT_STORAGE_PATIENCE": "3600",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}
LIMITS = ("--max-running", "1", "--max-queued", "4", "--max-queued-per-caller", "3")


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[ServerProcess]:
    flags = ("--workers", "2", *LIMITS)
    with ServerProcess(tmp_path, *flags, environment=ENVIRONMENT) as server:
        yield server


def _client(server: ServerProcess, name: str) -> Client:
    return Client(server.address, token=TOKENS[name], retry=ONCE, allow_insecure_token=True)


def _submit(client: Client, token: str | None = None, *, end: int = 2) -> str:
    output = Output(uri_template="s3://films/out/{job_id}/{index}.mp4")
    return client.submit("s3://films/a.mp4", ranges((1, end)), output, client_token=token).job_id


def _refusal(client: Client) -> ResourceExhaustedError:
    with pytest.raises(ResourceExhaustedError) as caught:
        _submit(client)
    assert caught.value.retry_after is not None
    return caught.value


def test_jobs_beyond_the_limits_wait_or_are_refused_with_a_reason(narrow: ServerProcess) -> None:
    with _client(narrow, "alice") as alice, _client(narrow, "bob") as bob:
        running = _submit(alice)
        wait_for(lambda: alice.get(running).state is JobState.RUNNING)
        waiting = [_submit(alice) for _ in range(3)]
        full = _refusal(alice)
        assert (full.reason, full.metadata) == ("TOO_MANY_JOBS_OF_CALLER", {"limit": "3"})
        _submit(bob)
        full = _refusal(bob)
        assert (full.reason, full.metadata) == ("TOO_MANY_JOBS", {"limit": "4"})
        # There is room for a second worker, but for no second job.
        assert [job.job_id for job in alice.list(states=[JobState.RUNNING])] == [running]
        assert {alice.get(job).state for job in waiting} == {JobState.PENDING}
        # What is retried waits, too.
        alice.cancel(waiting[0])
        _submit(bob)
        with pytest.raises(ResourceExhaustedError):
            alice.retry(waiting[0])
        # The counts are those of the database.
        narrow.kill()
        narrow.start()
    with _client(narrow, "alice") as alice, _client(narrow, "bob") as bob:
        assert _refusal(bob).reason == "TOO_MANY_JOBS"
        alice.cancel(waiting[1])
        _submit(alice)
        assert _refusal(alice).reason == "TOO_MANY_JOBS"


def test_one_token_at_one_moment_makes_one_job(narrow: ServerProcess) -> None:
    count = 16
    clients = [_client(narrow, "alice") for _ in range(count)]
    barrier = Barrier(count)

    def submit(client: Client) -> str:
        barrier.wait(60)
        return _submit(client, "the-same")

    with ThreadPoolExecutor(count) as pool:
        ids = set(pool.map(submit, clients))
    assert len(ids) == 1
    assert len(list(clients[0].list())) == 1
    with pytest.raises(AlreadyExistsError) as caught:
        _submit(clients[1], "the-same", end=3)
    assert caught.value.metadata["job_id"] in ids
    for client in clients:
        client.close()
