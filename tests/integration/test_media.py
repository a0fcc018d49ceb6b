"""Media assets over gRPC: the SDK and the command against a real server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from reelsplit import (
    AlreadyExistsError,
    AsyncClient,
    Client,
    Input,
    InvalidRequestError,
    JobSpec,
    Media,
    MediaState,
    NotFoundError,
    Output,
    SegmentState,
    ranges,
)
from tests.clips import read_numbers
from tests.server import Served, ServerProcess, served


def known(client: Client, media_id: str) -> Media:
    """An asset once its facts are known, or cannot be."""
    deadline = time.monotonic() + 60
    while True:
        media = client.get_media(media_id)
        if media.state in (MediaState.READY, MediaState.FAILED):
            return media
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_asset_is_registered_opened_and_found(client: Client, film: str) -> None:
    made = client.register_media(film, labels={"test": "found"}, user_data={"a": 1})
    assert made.state in (MediaState.PENDING, MediaState.PROBING)
    assert (made.title, made.uri, made.owner) == ("clip.mp4", film, "local")
    media = known(client, made.media_id)
    assert media.state is MediaState.READY
    assert media.source is not None
    assert media.source.container == "mp4"
    assert media.source.duration == Fraction(10)
    assert media.source.video is not None
    assert (media.source.video.codec, len(media.source.audio)) == ("h264", 1)
    assert json.loads(media.user_data) == {"a": 1}
    assert client.get_media(uri=film).media_id == made.media_id
    assert [m.media_id for m in client.list_media(labels={"test": "found"})] == [made.media_id]
    states = [MediaState.READY]
    assert made.media_id in [m.media_id for m in client.list_media(states=states, page_size=1)]


def test_an_asset_is_the_input_of_a_job(client: Client, film: str, out: Path) -> None:
    media_id = client.register_media(film).media_id
    job = client.submit(
        Input(media_id=media_id),
        ranges((1, 2)),
        Output(uri_template=f"{out}/{{stem}}_{{index}}.mp4", export_as_media=True),
    )
    done = job.result()
    assert done.spec is not None
    assert done.spec.input == Input(media_id=media_id)
    assert client.get(job.job_id).spec == done.spec
    (segment,) = client.segments(job.job_id)
    assert segment.uri == f"{out}/clip_0.mp4"
    exported = known(client, segment.media_id)
    assert (exported.uri, exported.job_id) == (segment.uri, job.job_id)
    assert exported.source is not None
    assert exported.source.duration == 1
    again = client.submit(
        Input(media_id=segment.media_id), ranges((0, 0.5)), f"{out}/again_{{index}}.mp4"
    )
    again.result()
    assert read_numbers(f"{out}/again_0.mp4") == list(range(24, 36))


def test_a_token_outlives_the_asset_of_its_job(client: Client, film: str, out: Path) -> None:
    media_id = client.register_media(film).media_id
    spec = JobSpec(
        input=Input(media_id=media_id),
        mode=ranges((0, 1)),
        output=Output(uri_template=f"{out}/{{index}}.mp4"),
    )
    first = client.submit_spec(spec, client_token="outlives")
    client.delete_media(media_id)
    assert client.submit_spec(spec, client_token="outlives").job_id == first.job_id
    first.result()
    with pytest.raises(NotFoundError):
        client.submit_spec(spec, client_token="another")


def test_without_being_asked_nothing_is_exported(client: Client, film: str, out: Path) -> None:
    job = client.submit(film, ranges((1, 2)), f"{out}/{{index}}.mp4")
    job.result()
    (segment,) = client.segments(job.job_id, states=[SegmentState.PUBLISHED])
    assert segment.media_id == ""


def test_what_cannot_be_opened_says_why(client: Client, server: Served) -> None:
    missing = known(client, client.register_media(str(server.root / "none.mp4")).media_id)
    assert missing.error is not None
    assert missing.error.reason == "SOURCE_NOT_FOUND"
    (server.root / "text.mp4").write_bytes(b"this is no film" * 100)
    wrong = known(client, client.register_media(str(server.root / "text.mp4")).media_id)
    assert (wrong.state, wrong.source) == (MediaState.FAILED, None)
    assert wrong.error is not None
    assert wrong.error.reason == "SOURCE_UNREADABLE"


def test_deleting(client: Client, server: Served, clip: Path) -> None:
    path = server.root / "deleted.mp4"
    path.write_bytes(clip.read_bytes())
    first, second = (client.register_media(str(path)).media_id for _ in range(2))
    assert first != second
    client.delete_media(first)
    assert path.exists()
    with pytest.raises(NotFoundError) as caught:
        client.get_media(first)
    assert caught.value.reason == "MEDIA_NOT_FOUND"
    with pytest.raises(NotFoundError):
        client.delete_media(first)
    client.delete_media(first, allow_missing=True)
    client.delete_media(second, delete_file=True)
    assert not path.exists()
    with pytest.raises(NotFoundError):
        client.get_media(uri=str(path))
    with pytest.raises(NotFoundError) as caught:
        client.submit(Input(media_id=second), ranges((0, 1)))
    assert caught.value.reason == "MEDIA_NOT_FOUND"


def test_tokens(client: Client, film: str) -> None:
    made = client.register_media(film, client_token="media-1")
    assert client.register_media(film, client_token="media-1").media_id == made.media_id
    with pytest.raises(AlreadyExistsError) as caught:
        client.register_media(film, client_token="media-1", title="another")
    assert caught.value.metadata["media_id"] == made.media_id


def test_wrong_fields_are_named(client: Client, server: Served) -> None:
    def fields(work: object) -> list[str]:
        assert callable(work)
        with pytest.raises(InvalidRequestError) as caught:
            work()
        return [item.field for item in caught.value.violations]

    film = str(server.root / "clip.mp4")
    assert fields(lambda: client.register_media("")) == ["uri"]
    assert fields(lambda: client.register_media("/etc/passwd")) == ["uri"]
    assert fields(lambda: client.register_media("s3://nobodys/film.mp4")) == ["uri"]
    assert fields(lambda: client.register_media(film, title="x" * 129)) == ["title"]
    assert fields(lambda: client.register_media(film, labels={"A": "b"})) == ["labels['A']"]
    assert fields(lambda: client.register_media(film, user_data="{")) == ["user_data"]
    assert fields(lambda: client.get_media("short")) == ["media_id"]
    assert fields(lambda: client.get_media(uri="")) == ["uri"]
    assert fields(lambda: client.submit(Input(media_id="short"), ranges((0, 1)))) == [
        "spec.input.media_id"
    ]
    assert fields(
        lambda: client.submit(Input(media_id="f" * 32, endpoint="e.com"), ranges((0, 1)))
    ) == ["spec.input.endpoint"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Served]:
    """A server of two principals, which may delete nothing on the web."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "root").mkdir()
    (folder / "root" / "clip.mp4").write_bytes(clip.read_bytes())
    tokens = {"me": "m" * 16, "you": "y" * 16}
    with served(folder, tokens=tokens, http_hosts=["media.example.com"]) as made:
        yield made


def test_others_learn_nothing(shared: Served) -> None:
    film = str(shared.root / "clip.mp4")
    insecure = {"allow_insecure_token": True, "timeout": 60.0}
    with (
        Client(shared.address, token="m" * 16, **insecure) as mine,  # type: ignore[arg-type]
        Client(shared.address, token="y" * 16, **insecure) as yours,  # type: ignore[arg-type]
    ):
        media_id = mine.register_media(film).media_id
        for work in (
            lambda: yours.get_media(media_id),
            lambda: yours.get_media(uri=film),
            lambda: yours.delete_media(media_id),
            lambda: yours.submit(Input(media_id=media_id), ranges((0, 1))),
        ):
            with pytest.raises(NotFoundError):
                work()
        assert list(yours.list_media()) == []
        assert mine.get_media(media_id).media_id == media_id


def test_secrets_of_locations_are_not_told(shared: Served) -> None:
    url = "https://media.example.com/film.mp4?Signature=sekret"
    with Client(shared.address, token="m" * 16, allow_insecure_token=True, timeout=60) as client:
        made = client.register_media(url)
        assert made.uri == "https://media.example.com/film.mp4"
        assert made.title == "film.mp4"
        with pytest.raises(InvalidRequestError) as caught:
            client.delete_media(made.media_id, delete_file=True)
        assert [item.field for item in caught.value.violations] == ["delete_file"]
        assert "sekret" not in str(caught.value)
        client.delete_media(made.media_id)


def test_assets_outlive_the_server(tmp_path: Path, clip: Path) -> None:
    process = ServerProcess(tmp_path, "--workers", "1")
    (process.root / "clip.mp4").write_bytes(clip.read_bytes())
    film = str(process.root / "clip.mp4")
    with process:
        with Client(process.address, timeout=60) as client:
            ids = [client.register_media(film).media_id for _ in range(3)]
        process.kill()
        process.start()
        with Client(process.address, timeout=60) as client:
            for media_id in ids:
                assert known(client, media_id).state is MediaState.READY


async def test_the_asynchronous_client(server: Served, film: str) -> None:
    async with AsyncClient(server.address, timeout=60) as client:
        made = await client.register_media(film, title="asynchronous")
        while (await client.get_media(made.media_id)).state is not MediaState.READY:
            await asyncio.sleep(0.05)
        titles = [media.title async for media in client.list_media()]
        assert "asynchronous" in titles
        await client.delete_media(made.media_id)


def test_the_command(server: Served, film: str, out: Path) -> None:
    start = "import sys; from reelsplit.cli.main import main; sys.exit(main(sys.argv[1:]))"

    def run(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-c", start, *arguments, "--server", server.address]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    made = json.loads(run("media", "register", film, "--label", "by=command", "--json"))
    media_id = made["mediaId"]
    with Client(server.address, timeout=60) as client:
        known(client, media_id)
    shown = run("media", "get", media_id)
    assert "h264" in shown
    assert "0:00:10.000" in shown
    assert json.loads(run("media", "get", film, "--json"))["mediaId"]
    listed = run("media", "list", "--label", "by=command", "--state", "ready")
    assert media_id in listed
    lines = run("media", "list", "--label", "by=command", "--json").splitlines()
    assert [json.loads(line)["mediaId"] for line in lines] == [media_id]
    job_id = run("submit", f"media:{media_id}", f"{out}/{{index}}.mp4", "--ranges", "0-1").strip()
    with Client(server.address, timeout=60) as client:
        spec = client.job(job_id).result().spec
        assert spec is not None
        assert spec.input == Input(media_id=media_id)
    assert "deleted" in run("media", "delete", media_id)
    run("media", "get", media_id, code=1)
