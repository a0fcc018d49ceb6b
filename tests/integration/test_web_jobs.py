"""Whole jobs from web servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reelsplit import Client, InvalidRequestError, JobState, every, ranges, shots
from tests.server import Served, served
from tests.unit.storage.site import Answer, Asked, Sender, Site, file_answer, redirect


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
