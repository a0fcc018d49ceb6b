"""What compose.yaml starts, without containers: the same commands with the same variables."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from reelsplit import Client, JobState, every
from tests.compose import services
from tests.ports import free_ports
from tests.server import served, wait_for
from tests.services import binary

BIN = Path(sys.executable).parent


@contextmanager
def seaweedfs(service: dict[str, Any], folder: Path, s3: int) -> Iterator[tuple[int, int]]:
    """The store of the file, on other ports; gives those of its master and its filer."""
    master, volume, filer = free_ports(3)
    # Tests are reached from this machine only.
    other = {"-dir=/data": f"-dir={folder}", "-s3.ip.bind=0.0.0.0": "-s3.ip.bind=127.0.0.1"}
    other["-s3.port=8333"] = f"-s3.port={s3}"
    assert set(other) <= set(service["command"])
    command = [binary("weed"), *(other.get(word, word) for word in service["command"])]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    # What the container's own folder would be.
    environment = {**service["environment"], "HOME": str(folder), "PATH": os.environ["PATH"]}
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = service["healthcheck"]["test"][-1].replace(":8333/", f":{s3}/")

        def healthy() -> bool:
            assert process.poll() is None, (folder / "weed.log").read_text()[-4000:]
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return bool(answer.status == 200)
            except urllib.error.HTTPError as error:
                error.close()
                return False
            except OSError:
                return False

        wait_for(healthy)
        yield master, filer
    finally:
        process.kill()
        process.wait(60)


def make_buckets(service: dict[str, Any], master: int, filer: int, folder: Path) -> None:
    (script,) = service["command"]
    assert ":9333" in script
    assert ":8888" in script
    script = script.replace(":9333", f":{master}").replace(":8888", f":{filer}")
    done = subprocess.run(
        [*service["entrypoint"], script],
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_video_is_split_from_bucket_to_bucket(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (s3,) = free_ports(1)
    (tmp_path / "weed").mkdir()
    (tmp_path / "server").mkdir()
    read = services()
    with seaweedfs(read["seaweedfs"], tmp_path / "weed", s3) as (master, filer):
        # Starting again must find all in order.
        for _ in range(2):
            make_buckets(read["buckets"], master, filer, tmp_path)
        given = read["reelsplit"]["environment"]
        endpoint = f"http://127.0.0.1:{s3}"
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=given["REELSPLIT_STORES__MAIN__REGION"],
            aws_access_key_id=given["REELSPLIT_STORES__MAIN__ACCESS_KEY_ID"],
            aws_secret_access_key=given["REELSPLIT_STORES__MAIN__SECRET_ACCESS_KEY"],
        )
        client.put_object(Bucket="footage", Key="clip.mp4", Body=clip.read_bytes())
        for name in [name for name in os.environ if name.startswith("REELSPLIT_")]:
            monkeypatch.delenv(name)
        for name, value in given.items():
            monkeypatch.setenv(name, value.replace("http://seaweedfs:8333", endpoint))
        with served(tmp_path / "server", root=[]) as made, Client(made.address) as reelsplit:
            handle = reelsplit.submit(
                "s3://footage/clip.mp4", every(5), "s3://pieces/clip/{index}.mp4"
            )
            handle.wait(timeout=200)
            job = handle.get()
        assert job.state is JobState.SUCCEEDED, job.error
        made_keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="pieces")["Contents"]]
        client.close()
    assert made_keys == ["clip/0.mp4", "clip/1.mp4"]
