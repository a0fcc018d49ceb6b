"""Whole jobs on Google Cloud Storage, as its emulator has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from reelsplit import Client, JobState, Output, OverwritePolicy, SegmentState, ranges
from reelsplit_server.storage.gcs import GcsConfig, GcsStore
from tests.clips import read_numbers
from tests.gcs_service import GcsService, gcs_service
from tests.server import served


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[GcsService]:
    """An emulator with the clip in a bucket."""
    with gcs_service(tmp_path_factory.mktemp("gcs") / "data") as made:
        for name in ("footage", "pieces"):
            made.make_bucket(name)
        url = f"{made.endpoint}/upload/storage/v1/b/footage/o?uploadType=media&name=clip.mp4"
        with urllib3.PoolManager() as http:
            assert http.request("POST", url, body=clip.read_bytes()).status == 200
        yield made


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, service: GcsService) -> Iterator[Client]:
    """A client of a server that uses the emulator."""
    store = {
        "kind": "gcs",
        "endpoint": service.endpoint,
        "anonymous": True,
        "buckets": ["footage", "pieces"],
    }
    folder = tmp_path_factory.mktemp("server")
    with served(folder, stores={"google": store}) as made, Client(made.address) as found:
        yield found


def test_pieces_of_an_object_become_objects(
    client: Client, service: GcsService, tmp_path: Path
) -> None:
    job = client.submit(
        "gs://footage/clip.mp4", ranges((1, 2), (4, 6.5)), "gs://pieces/{stem} ä/{index:02d}.mp4"
    )
    job.wait(timeout=200)
    assert job.get().state is JobState.SUCCEEDED, job.get().error
    store = GcsStore(GcsConfig(endpoint=service.endpoint, anonymous=True))
    with urllib3.PoolManager() as http:
        for segment, frames in zip(job.segments(), (24, 60), strict=True):
            key = segment.uri.removeprefix("gs://pieces/")
            found = store.stat("pieces", key, segment.uri)
            assert found.checksum == segment.checksum
            request, _ = store.read("pieces", key, segment.uri, found.pin)
            data = http.request("GET", request.url).data
            assert segment.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
            path = tmp_path / f"{segment.index}.mp4"
            path.write_bytes(data)
            assert len(read_numbers(path)) == segment.frame_count == frames
    store.close()


def test_what_lies_there_is_kept_or_replaced_as_asked(client: Client) -> None:
    template = "gs://pieces/twice/{index}.mp4"
    states = []
    for policy in (OverwritePolicy.REFUSE, OverwritePolicy.REFUSE, OverwritePolicy.REPLACE):
        output = Output(uri_template=template, overwrite_policy=policy)
        job = client.submit("gs://footage/clip.mp4", ranges((0, 1)), output)
        job.wait(timeout=200)
        (segment,) = job.segments()
        states.append((segment.state, segment.error and segment.error.reason))
    assert states == [
        (SegmentState.PUBLISHED, None),
        (SegmentState.FAILED, "OUTPUT_EXISTS"),
        (SegmentState.PUBLISHED, None),
    ]


def test_outputs_are_deleted_with_their_job(client: Client, service: GcsService) -> None:
    job = client.submit("gs://footage/clip.mp4", ranges((0, 1)), "gs://pieces/gone/{index}.mp4")
    job.wait(timeout=200)
    (segment,) = job.segments()
    store = GcsStore(GcsConfig(endpoint=service.endpoint, anonymous=True))
    assert store.find("pieces", "gone/0.mp4", segment.uri) is not None
    client.delete(job.job_id, delete_outputs=True)
    assert store.find("pieces", "gone/0.mp4", segment.uri) is None
    store.close()
