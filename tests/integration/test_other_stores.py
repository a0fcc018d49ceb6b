"""Whole jobs from and to Google Cloud Storage, and from web servers."""

from __future__ import annotations

import hashlib
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reelsplit import Client, InvalidRequestError, JobState, every, ranges, shots
from tests.gcs_service import GcsService, gcs_service
from tests.server import Served, served
from tests.unit.storage.site import Answer, Asked, Sender, Site, file_answer, redirect

# --- Google Cloud Storage --------------------------------------------------------------------


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsService]:
    with gcs_service(tmp_path_factory.mktemp("gcs")) as made:
        made.make_bucket("rushes")
        yield made


def put(service: GcsService, key: str, body: bytes) -> None:
    name = urllib.parse.quote(key, safe="")
    url = f"{service.endpoint}/upload/storage/v1/b/rushes/o?uploadType=media&name={name}"
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "video/mp4"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def get(service: GcsService, key: str) -> bytes:
    name = urllib.parse.quote(key, safe="")
    url = f"{service.endpoint}/download/storage/v1/b/rushes/o/{name}?alt=media"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


def store(service: GcsService) -> Mapping[str, Any]:
    endpoint = service.endpoint
    return {"kind": "gcs", "endpoint": endpoint, "anonymous": True, "buckets": ["rushes"]}


def test_from_and_to_gcs(tmp_path: Path, gcs: GcsService, clip: Path) -> None:
    put(gcs, "in/a clip.mp4", clip.read_bytes())
    with (
        served(tmp_path, stores={"google": store(gcs)}) as server,
        Client(server.address, timeout=60) as client,
    ):
        job = client.submit(
            "gs://rushes/in/a clip.mp4", every(5), "gs://rushes/out/{stem}_{index}.mp4"
        )
        assert job.wait(timeout=240).state is JobState.SUCCEEDED, job.get().error
        for segment in job.segments():
            assert segment.uri == f"gs://rushes/out/a clip_{segment.index}.mp4"
            data = get(gcs, segment.uri.removeprefix("gs://rushes/"))
            assert segment.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
        again = client.submit(
            "gs://rushes/in/a clip.mp4", ranges((0, 1)), "gs://rushes/out/{stem}_{index}.mp4"
        )
        assert again.wait(timeout=240).state is JobState.FAILED
        (segment,) = again.segments()
        assert segment.error is not None
        assert segment.error.reason == "OUTPUT_EXISTS"
        assert job.delete(delete_outputs=True) == 2


# --- Web servers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that reads from loopback by one of its addresses only."""
    with served(
        tmp_path_factory.mktemp("web"),
        http_hosts=["127.0.0.2:*", "localhost:*"],
        allow_networks=["127.0.0.2/32"],
        storage_patience=2,
        tries=2,
    ) as made:
        yield made


@pytest.fixture
def client(web: Served) -> Iterator[Client]:
    with Client(web.address, timeout=60) as made:
        yield made


def test_a_web_file_is_read_in_ranges(client: Client, web: Served, clip: Path) -> None:
    with Site(file_answer(clip.read_bytes())) as site:
        job = client.submit(
            site.url("/film.mp4?signature=secret"), ranges((4, 5)), f"{web.root}/w_{{index}}.mp4"
        )
        done = job.wait(timeout=240)
        assert done.state is JobState.SUCCEEDED, done.error
        (segment,) = job.segments()
    assert segment.frame_count == 24
    assert all(asked.range for asked in site.asked)
    assert all(asked.target == "/film.mp4?signature=secret" for asked in site.asked)
    assert "secret" not in repr(done)


def test_a_file_without_ranges_is_fetched_once_for_all_units(
    client: Client, web: Served, clip: Path
) -> None:
    bodies = 0
    plain = file_answer(clip.read_bytes(), ranges=False)

    def answer(asked: Asked, send: Sender) -> None:
        nonlocal bodies
        # The question for the first byte is answered with the whole too, and given up.
        bodies += "range" not in asked.headers
        plain(asked, send)

    with Site(answer) as site:
        job = client.submit(site.url(), every(1), f"{web.root}/once_{{index}}.mp4")
        assert job.wait(timeout=240).state is JobState.SUCCEEDED, job.get().error
        assert len(list(job.segments())) == 10
    assert bodies == 1
    assert not (web.data / "scratch" / job.job_id).exists()


def _breaks_off(data: bytes) -> Answer:
    """Sends the first half of the file, and then nothing but errors."""
    good = file_answer(data)

    def answer(asked: Asked, send: Sender) -> bool | None:
        start = asked.range[0] if asked.range else 0
        if start > len(data) // 2:
            send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            return None
        return good(asked, send)

    return answer


def test_a_file_that_breaks_off_ends_no_shot(client: Client, clip: Path) -> None:
    """What cannot be read looks like the end of the file, and must not become a segment's end."""
    with Site(_breaks_off(clip.read_bytes())) as site:
        job = client.submit(site.url(), shots())
        done = job.wait(timeout=240)
        ends = {s.bounds.end_frame for s in job.segments() if s.bounds is not None}
    assert done.state is JobState.FAILED
    assert done.error is not None
    assert done.error.reason == "SOURCE_UNAVAILABLE"
    assert site.url().rpartition("?")[0] in done.error.message
    assert ends <= {72, 168}


def test_what_is_not_allowed_is_not_reached(client: Client, clip: Path) -> None:
    """By name at submit; by address, and behind a redirect, when it is connected to."""
    answer = file_answer(clip.read_bytes())
    with Site(answer, address="127.0.0.1") as secret, Site(redirect(secret.url())) as open_site:
        with pytest.raises(InvalidRequestError, match="--http-hosts"):
            client.submit(secret.url(), every(1))
        for url in (secret.url(host="localhost"), open_site.url()):
            done = client.submit(url, every(1)).wait(timeout=240)
            assert done.state is JobState.FAILED
            assert done.error is not None
            assert done.error.reason == "SOURCE_FORBIDDEN"
        assert secret.accepted == 0
