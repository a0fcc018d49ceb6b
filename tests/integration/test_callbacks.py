"""Callbacks of a running server: signed by the key that submitted, and not lost by a kill."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from reelsplit import Client, InvalidRequestError, Output, RetryPolicy, every
from reelsplit.cli.main import main as command
from tests.keys import new_key
from tests.receiver import Receiver
from tests.server import ServerProcess, served, wait_for

ONCE = RetryPolicy(attempts=1)
INSIDE = "127.0.0.0/8"


def test_a_job_is_told_as_it_goes(tmp_path: Path, clip: Path) -> None:
    key = new_key(tmp_path / "data", "alice")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "clip.mp4").write_bytes(clip.read_bytes())
    with (
        Receiver() as receiver,
        Receiver() as default,
        served(
            tmp_path,
            workers=1,
            callback_networks=[INSIDE],
            callback_url=default.url,
            callback_secret="our own",
        ) as server,
        Client(server.address, token=key.token, timeout=60) as client,
    ):
        output = Output(uri_template=f"{server.root}/out/{{index}}.mp4")
        film = str(server.root / "clip.mp4")
        job = client.submit(
            film,
            every(4),
            output,
            notify_url=receiver.url,
            notify_segments=True,
            user_data={"a": 1},
        )
        done = job.wait(timeout=90)
        # Where the address may hold a secret, nobody is shown it.
        assert done.spec is not None
        assert done.spec.notify_url == receiver.url.partition("?")[0]
        told = receiver.wait(4)
        (ended,) = default.wait(1)
    names = [call.json["EventType"] for call in told]
    assert names == ["SegmentPublished"] * 3 + ["SegmentationComplete"]
    assert sorted(call.json["MessageBody"]["Index"] for call in told[:3]) == [0, 1, 2]
    assert told[-1].body == ended.body
    assert json.loads(told[-1].json["MessageBody"]["UserData"]) == {"a": 1}
    for call, url, secret in (
        (told[-1], receiver.url, key.secret),
        (ended, default.url, "our own"),
    ):
        timestamp = call.headers["x-ice-timestamp"]
        covered = f"{url}|{timestamp}|{secret}".encode()
        assert call.headers["x-ice-signature"] == hashlib.md5(covered).hexdigest()
        signed = f"{timestamp}.".encode() + call.body
        found = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        assert call.headers["x-reelsplit-signature"] == f"sha256={found}"


def test_addresses_inside_are_refused_at_once(tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        served(tmp_path, workers=1) as server,
        Client(server.address, retry=ONCE) as client,
    ):
        film = str(server.root / "film.mp4")
        for url in (receiver.url, "http://169.254.169.254/latest", "file:///etc/passwd"):
            with pytest.raises(InvalidRequestError) as caught:
                client.submit(film, every(1), notify_url=url)
            assert [item.field for item in caught.value.violations] == ["spec.notify_url"]
        # A name is judged when it is looked up, at each try.
        client.submit(film, every(1), notify_url=receiver.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(InvalidRequestError):
            client.submit(film, every(1), notify_segments=True)
        wait_for(lambda: b"may not be called" in _kept(server.data))
        assert receiver.calls == []


def test_a_killed_server_tells_everything_when_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver().start()
    receiver.stop()
    with ServerProcess(tmp_path, "--workers", "1", "--callback-networks", INSIDE) as process:
        film = str(process.root / "missing.mp4")
        with Client(process.address, timeout=60) as client:
            jobs = [client.submit(film, every(1), notify_url=receiver.url) for _ in range(3)]
            for job in jobs:
                job.wait(timeout=60)
        process.kill()
        waiting = _listed(process, capsys, "--waiting")
        assert {entry["job"] for entry in waiting} == {job.job_id for job in jobs}
        assert _listed(process, capsys) == []
        receiver.start()
        process.start()
        told = receiver.wait(len(waiting))
        wait_for(lambda: not _listed(process, capsys, "--waiting"))
        receiver.stop()
    assert sorted(call.json["MessageBody"]["JobId"] for call in told) == sorted(
        job.job_id for job in jobs
    )
    assert {call.json["MessageBody"]["ErrorCode"] for call in told} <= {"SOURCE_NOT_FOUND"}


def test_what_is_given_up_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Receiver(lambda _: 500) as receiver:
        process = ServerProcess(
            tmp_path, "--workers", "1", "--callback-networks", INSIDE, "--callback-retries", "quick"
        )
        with process, Client(process.address, timeout=60) as client:
            film = str(process.root / "missing.mp4")
            job = client.submit(film, every(1), notify_url=receiver.url)
            wait_for(lambda: _listed(process, capsys))
            (entry,) = _listed(process, capsys)
        assert len(receiver.calls) == 3
    assert (entry["job"], entry["tries"]) == (job.job_id, 3)
    assert entry["error"] == "the answer was 500, and only 200 confirms"
    assert entry["url"] == receiver.url.partition("?")[0]
    assert "callback_given_up" in process.log


def _listed(
    process: ServerProcess, capsys: pytest.CaptureFixture[str], *flags: str
) -> list[dict[str, object]]:
    capsys.readouterr()
    data = ["--data-dir", str(process.folder / "data")]
    assert command(["callbacks", "list", "--json", *data, *flags]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _kept(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data.glob("reelsplit.db*"))
