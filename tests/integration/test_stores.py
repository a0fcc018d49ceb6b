"""Whole jobs from store to store, with a real server, real stores, and both of them killed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reelsplit import (
    AdaptiveDetector,
    Client,
    CutMode,
    InvalidRequestError,
    Job,
    JobHandle,
    JobState,
    Output,
    OverwritePolicy,
    ReportKind,
    Segment,
    SegmentChanged,
    SegmentState,
    every,
    ranges,
    shots,
)
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.proxy import proxied
from tests.server import Served, ServerProcess, served, wait_for, workers_of
from tests.services import Service

IN, OUT = "footage", "pieces"


class Bucket:
    """What tests look at in a store, with all rights."""

    def __init__(self, service: Service, name: str) -> None:
        self.name, self._service = name, service
        self._client = service.client()
        with contextlib.suppress(self._client.exceptions.ClientError):
            self._client.create_bucket(Bucket=name)

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        with self._client.get_object(Bucket=self.name, Key=key)["Body"] as body:
            return bytes(body.read())

    def keys(self, prefix: str = "") -> list[str]:
        found = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def uploads(self, prefix: str = "") -> list[str]:
        found = self._client.list_multipart_uploads(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Uploads", ())]

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def footage(seaweed: Service, clip: Path) -> Iterator[Bucket]:
    bucket = Bucket(seaweed, IN)
    bucket.put("films/clip.mp4", clip.read_bytes())
    yield bucket
    bucket.close()


@pytest.fixture(scope="module")
def pieces(seaweed: Service) -> Iterator[Bucket]:
    bucket = Bucket(seaweed, OUT)
    yield bucket
    bucket.close()


@pytest.fixture(scope="module")
def remote(
    tmp_path_factory: pytest.TempPathFactory, seaweed: Service, footage: Bucket, pieces: Bucket
) -> Iterator[Served]:
    """A server that uses SeaweedFS."""
    aliases = {"oss://old": f"s3://{IN}"}
    with served(
        tmp_path_factory.mktemp("remote"), stores=stores(seaweed), bucket_aliases=aliases
    ) as made:
        yield made


@pytest.fixture
def far(remote: Served) -> Iterator[Client]:
    with Client(remote.address, timeout=60) as made:
        yield made


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Where the test's own objects lie."""
    return "".join(c if c.isalnum() else "_" for c in request.node.name)


def stores(service: Service, endpoint: str | None = None) -> dict[str, Any]:
    return {"main": service.settings(IN, OUT, endpoint=endpoint)}


def environment(stores: Mapping[str, Mapping[str, Any]], **settings: str) -> dict[str, str]:
    """The same for a process of its own."""
    return {"REELSPLIT_STORES": json.dumps(stores), **settings}


def _over(template: str) -> Output:
    return Output(uri_template=template, overwrite_policy=OverwritePolicy.REPLACE)


def finished(job: JobHandle) -> Job:
    job.wait(timeout=240)
    return job.get()


def succeeded(job: JobHandle) -> Sequence[Segment]:
    done = finished(job)
    assert done.state is JobState.SUCCEEDED, done.error
    return list(job.segments())


def test_pieces_of_an_object_become_objects(
    far: Client, pieces: Bucket, prefix: str, tmp_path: Path
) -> None:
    template = f"s3://{OUT}/{prefix}/{{stem}}_{{index:02d}}.mp4"
    job = far.submit(f"s3://{IN}/films/clip.mp4", ranges((1, 2), (4, 6.5)), template)
    segments = succeeded(job)
    assert [segment.uri for segment in segments] == [
        f"s3://{OUT}/{prefix}/clip_00.mp4",
        f"s3://{OUT}/{prefix}/clip_01.mp4",
    ]
    for segment, frames in zip(segments, (24, 60), strict=True):
        data = pieces.get(segment.uri.removeprefix(f"s3://{OUT}/"))
        assert len(data) == segment.size_bytes
        assert segment.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
        path = tmp_path / f"{segment.index}.mp4"
        path.write_bytes(data)
        assert len(read_numbers(path)) == segment.frame_count == frames
    assert pieces.uploads(prefix) == []


def test_a_bucket_has_other_names(far: Client, remote: Served) -> None:
    """As whoever moves away from OSS names it, by all of its forms."""
    for uri in ("oss://old/films/clip.mp4", "https://old.oss-cn-x.example.com/films/clip.mp4"):
        job = far.submit(uri, every(5))
        assert len(succeeded(job)) == 2


def test_what_lies_there_is_kept_or_replaced_as_asked(
    far: Client, pieces: Bucket, prefix: str
) -> None:
    source = f"s3://{IN}/films/clip.mp4"
    template = f"s3://{OUT}/{prefix}/{{index}}.mp4"
    pieces.put(f"{prefix}/0.mp4", b"precious")
    job = far.submit(source, ranges((0, 1)), template)
    assert finished(job).state is JobState.FAILED
    (segment,) = job.segments()
    assert segment.error is not None
    assert (segment.error.reason, segment.error.metadata) == (
        "OUTPUT_EXISTS",
        {"uri": f"s3://{OUT}/{prefix}/0.mp4"},
    )
    assert pieces.get(f"{prefix}/0.mp4") == b"precious"
    succeeded(far.submit(source, ranges((0, 1)), _over(template)))
    assert pieces.get(f"{prefix}/0.mp4") != b"precious"


def test_a_source_is_never_written_over(far: Client, footage: Bucket) -> None:
    footage.put("0.mp4", b"x")
    job = far.submit(f"s3://{IN}/0.mp4", ranges((0, 1)), _over(f"s3://{IN}/{{index}}.mp4"))
    finished(job)
    assert footage.get("0.mp4") == b"x"


def test_deleting_a_job_deletes_what_is_still_its_own(
    far: Client, pieces: Bucket, prefix: str
) -> None:
    job = far.submit(f"s3://{IN}/films/clip.mp4", every(2), f"s3://{OUT}/{prefix}/{{index}}.mp4")
    assert len(succeeded(job)) == 5
    pieces.put(f"{prefix}/3.mp4", b"another's")
    assert job.delete(delete_outputs=True) == 4
    assert pieces.keys(prefix) == [f"{prefix}/3.mp4"]


def test_reports_become_objects(far: Client, pieces: Bucket, prefix: str) -> None:
    kinds = [kind for kind in ReportKind if kind is not ReportKind.UNSPECIFIED]
    mode, folder = shots(detector=AdaptiveDetector()), f"s3://{OUT}/{prefix}"
    source = f"s3://{IN}/films/clip.mp4"
    job = far.submit(source, mode, f"{folder}/{{index}}.mp4", reports=kinds)
    segments, done = succeeded(job), job.get()
    assert len(segments) == 3
    assert [report.kind for report in done.reports] == kinds
    for report in done.reports:
        assert report.uri.startswith(f"{folder}/clip.")
        data = pieces.get(report.uri.removeprefix(f"s3://{OUT}/"))
        assert len(data) == report.size_bytes
        assert report.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
        if report.kind is ReportKind.HTML:
            assert data.count(b"<img") == 3
    assert pieces.uploads(prefix) == []
    # What is there already is kept.
    again = finished(far.submit(source, mode, f"{folder}/x{{index}}.mp4", reports=kinds))
    assert again.error is not None
    assert again.error.reason == "OUTPUT_EXISTS"
    assert job.delete(delete_outputs=True) == 9
    assert pieces.keys(prefix) == []


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"s3://{IN}/films/none.mp4", "SOURCE_NOT_FOUND"),
        (f"s3://{OUT}-none/none.mp4", None),
    ],
)
def test_what_is_not_there_is_said(far: Client, uri: str, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(InvalidRequestError, match="may not use"):
            far.submit(uri, every(1))
        return
    done = finished(far.submit(uri, every(1)))
    assert done.error is not None
    assert (done.error.reason, done.error.metadata) == (reason, {"uri": uri})
    assert uri in done.error.message


def test_a_source_that_changes_fails_the_job(
    tmp_path: Path, seaweed: Service, footage: Bucket, pieces: Bucket, clip: Path, prefix: str
) -> None:
    data = clip.read_bytes()
    footage.put(f"{prefix}.mp4", data)
    with (
        served(tmp_path, stores=stores(seaweed), workers=1) as server,
        Client(server.address, timeout=60) as client,
    ):
        job = client.submit(
            f"s3://{IN}/{prefix}.mp4", every(0.5), f"s3://{OUT}/{prefix}/{{index}}.mp4"
        )
        for event in job.watch():
            match event.event:
                case SegmentChanged(segment=segment) if segment.state is SegmentState.PUBLISHED:
                    footage.put(f"{prefix}.mp4", data + b"\0")
                    break
        done = finished(job)
        published = [s for s in job.segments() if s.state is SegmentState.PUBLISHED]
    assert done.state is JobState.FAILED
    assert done.error is not None
    assert done.error.reason == "SOURCE_CHANGED"
    assert published
    assert sorted(pieces.keys(prefix)) == sorted(
        segment.uri.removeprefix(f"s3://{OUT}/") for segment in published
    )


def test_workers_have_no_credentials(remote: Served, seaweed: Service) -> None:
    secret = seaweed.secret_key.encode()
    for worker in workers_of(os.getpid()):
        assert secret not in Path(f"/proc/{worker}/environ").read_bytes()
        assert secret not in _memory(worker)


def _memory(pid: int) -> bytes:
    """The private memory of a process."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            low, high = (int(end, 16) for end in span.split("-"))
            if rights.startswith("rw") and high - low < 2**28:
                memory.seek(low)
                with contextlib.suppress(OSError):
                    found.append(memory.read(high - low))
    return b"".join(found)


def test_the_command_reaches_what_its_user_reaches(
    seaweed: Service, footage: Bucket, pieces: Bucket, prefix: str, tmp_path: Path
) -> None:
    """With the variables by which the tools of the cloud are told."""
    told = {
        "AWS_ENDPOINT_URL": seaweed.endpoint,
        "AWS_ACCESS_KEY_ID": seaweed.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweed.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    template = f"s3://{OUT}/{prefix}/{{stem}}_{{index}}.mp4"
    command = [sys.executable, "-m", "reelsplit.cli.main", "split"]
    done = subprocess.run(
        [*command, f"s3://{IN}/films/clip.mp4", template, "--every", "5", "--json"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(pieces.keys(prefix)) == [f"{prefix}/clip_{n}.mp4" for n in range(2)]
    assert seaweed.secret_key not in done.stdout + done.stderr


# --- Bad weather -----------------------------------------------------------------------------


def test_a_store_that_is_killed_and_restarted_costs_nothing(
    tmp_path: Path, own_seaweed: Service, clip: Path
) -> None:
    bucket, target = Bucket(own_seaweed, IN), Bucket(own_seaweed, OUT)
    bucket.put("clip.mp4", clip.read_bytes())
    with (
        served(tmp_path, stores=stores(own_seaweed), storage_patience=90) as server,
        Client(server.address, timeout=60) as client,
    ):
        job = client.submit(f"s3://{IN}/clip.mp4", every(0.5), f"s3://{OUT}/{{index}}.mp4")
        for event in job.watch():
            match event.event:
                case SegmentChanged(segment=segment) if segment.state is SegmentState.PUBLISHED:
                    break
        own_seaweed.kill()
        time.sleep(1)
        own_seaweed.restart()
        segments = succeeded(job)
    assert len(segments) == 20
    for segment in segments:
        data = target.get(segment.uri.removeprefix(f"s3://{OUT}/"))
        assert segment.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
    assert target.uploads() == []
    bucket.close()
    target.close()


def part_upload(line: str) -> bool:
    return line.startswith("PUT ") and "partNumber=" in line


def test_uploads_of_a_killed_server_are_given_up_when_it_starts_again(
    tmp_path: Path, seaweed: Service, footage: Bucket, pieces: Bucket, prefix: str
) -> None:
    with proxied(seaweed.endpoint.partition("://")[2]) as proxy:
        server = ServerProcess(
            tmp_path,
            environment=environment(stores(seaweed, proxy.endpoint)),
        ).start()
        try:
            proxy.holds = part_upload
            template = f"s3://{OUT}/{prefix}/{{index}}.mp4"
            with Client(server.address, timeout=60) as client:
                job = client.submit(f"s3://{IN}/films/clip.mp4", ranges((0, 1)), template)
                assert proxy.held.wait(120)
                assert pieces.uploads(prefix) == [f"{prefix}/0.mp4"]
                server.kill()
                assert pieces.uploads(prefix) == [f"{prefix}/0.mp4"]
                proxy.holds = lambda line: False
                proxy.release.set()
                server.start()
                (segment,) = succeeded(job)
            assert segment.attempt == 2
        finally:
            server.kill()
    assert pieces.uploads(prefix) == []
    data = pieces.get(f"{prefix}/0.mp4")
    assert segment.checksum == "sha256:" + hashlib.sha256(data).hexdigest()


def test_cancelling_leaves_no_upload_behind(
    tmp_path: Path, seaweed: Service, footage: Bucket, pieces: Bucket, prefix: str
) -> None:
    with proxied(seaweed.endpoint.partition("://")[2]) as proxy:
        proxy.holds = part_upload
        with (
            served(tmp_path, stores=stores(seaweed, proxy.endpoint)) as server,
            Client(server.address, timeout=60) as client,
        ):
            job = client.submit(
                f"s3://{IN}/films/clip.mp4", ranges((0, 1)), f"s3://{OUT}/{prefix}/{{index}}.mp4"
            )
            assert proxy.held.wait(120)
            assert pieces.uploads(prefix) == [f"{prefix}/0.mp4"]
            assert job.cancel().state is JobState.CANCELLED
            wait_for(lambda: pieces.uploads(prefix) == [])
    assert pieces.keys(prefix) == []


def completion(line: str) -> bool:
    return line.startswith("POST ") and "uploadId=" in line


def test_a_segment_that_appears_after_its_server_was_killed_is_listed_by_the_next(
    tmp_path: Path, seaweed: Service, footage: Bucket, pieces: Bucket, prefix: str
) -> None:
    with proxied(seaweed.endpoint.partition("://")[2]) as proxy:
        server = ServerProcess(tmp_path, environment=environment(stores(seaweed, proxy.endpoint)))
        with server:
            proxy.holds = completion
            template = f"s3://{OUT}/{prefix}/{{index}}.mp4"
            with Client(server.address, timeout=60) as client:
                job = client.submit(f"s3://{IN}/films/clip.mp4", ranges((0, 1)), template)
                assert proxy.held.wait(120)
                server.kill()
                proxy.holds = lambda line: False
                proxy.release.set()
                wait_for(lambda: pieces.keys(prefix) == [f"{prefix}/0.mp4"])
                server.start()
                (segment,) = succeeded(job)
            assert segment.attempt == 2
            assert pieces.keys(prefix) == [f"{prefix}/0.mp4"]
            assert pieces.uploads(prefix) == []
            assert job_folders(tmp_path) == []


def job_folders(folder: Path) -> list[str]:
    """What jobs left among the server's working files."""
    return [each.name for each in (folder / "data" / "scratch").iterdir() if each.is_dir()]


def test_a_store_that_hangs_holds_up_neither_a_cancel_nor_the_end_of_the_server(
    tmp_path: Path, seaweed: Service, footage: Bucket, pieces: Bucket, prefix: str
) -> None:
    with proxied(seaweed.endpoint.partition("://")[2]) as proxy:
        told = environment(
            stores(seaweed, proxy.endpoint),
            REELSPLIT_STORAGE_TIMEOUT="600",
            REELSPLIT_STORAGE_PATIENCE="600",
            REELSPLIT_GRACE="0",
        )
        with (
            ServerProcess(tmp_path, environment=told) as server,
            Client(server.address, timeout=60) as client,
        ):
            proxy.holds = lambda line: True
            template = f"s3://{OUT}/{prefix}/{{index}}.mp4"
            job = client.submit(f"s3://{IN}/films/clip.mp4", ranges((0, 1)), template)
            other = client.submit(f"s3://{IN}/films/clip.mp4", ranges((0, 1)), template)
            assert proxy.held.wait(120)
            assert job.cancel().state is JobState.CANCELLED
            assert job_folders(tmp_path) == []
            wait_for(lambda: other.get().state is JobState.RUNNING)
            assert server.terminate() == 0
        assert "never retrieved" not in server.log
        assert "Traceback" not in server.log


def test_a_store_that_is_down_at_first_is_tried_again(
    tmp_path: Path, seaweed: Service, pieces: Bucket, prefix: str, clip: Path
) -> None:
    with proxied("127.0.0.1:1") as proxy:
        settings = {"storage_patience": 0.1, "tries": 10}
        with (
            served(tmp_path, stores=stores(seaweed, proxy.endpoint), **settings) as server,
            Client(server.address, timeout=60) as client,
        ):
            (server.root / "clip.mp4").write_bytes(clip.read_bytes())
            template = f"s3://{OUT}/{prefix}/{{index}}.mp4"
            job = client.submit(str(server.root / "clip.mp4"), ranges((0, 1)), template)
            for event in job.watch():
                match event.event:
                    case SegmentChanged(segment=segment) if segment.attempt >= 2:
                        break
            proxy.aim(seaweed.endpoint.partition("://")[2])
            (segment,) = succeeded(job)
    assert segment.attempt >= 2
    assert pieces.keys(prefix) == [f"{prefix}/0.mp4"]


def test_a_source_that_stays_away_is_named(tmp_path: Path, seaweed: Service) -> None:
    with proxied("127.0.0.1:1") as proxy:
        settings = {"storage_patience": 0.1, "tries": 2}
        with (
            served(tmp_path, stores=stores(seaweed, proxy.endpoint), **settings) as server,
            Client(server.address, timeout=60) as client,
        ):
            uri = f"s3://{IN}/films/clip.mp4"
            done = finished(client.submit(uri, every(1)))
    assert done.error is not None
    assert (done.error.reason, done.error.metadata) == ("SOURCE_UNAVAILABLE", {"uri": uri})
    assert uri in done.error.message


def test_a_restart_with_other_settings_says_what_is_no_longer_allowed(
    tmp_path: Path, seaweed: Service, footage: Bucket, pieces: Bucket, prefix: str
) -> None:
    with proxied(seaweed.endpoint.partition("://")[2]) as proxy:
        server = ServerProcess(tmp_path, environment=environment(stores(seaweed, proxy.endpoint)))
        with server:
            proxy.holds = part_upload
            template = f"s3://{OUT}/{prefix}/{{index}}.mp4"
            with Client(server.address, timeout=60) as client:
                job = client.submit(f"s3://{IN}/films/clip.mp4", ranges((0, 1)), template)
                assert proxy.held.wait(120)
                server.kill()
                fewer = {"main": seaweed.settings(OUT)}
                server.environment = environment(fewer)
                server.start()
                assert finished(job).state is JobState.FAILED
                (segment,) = job.segments()
                assert segment.error is not None
                assert segment.error.reason == "SOURCE_FORBIDDEN"
                server.kill()
                server.environment = environment({})
                server.start()
                job.retry()
                assert finished(job).state is JobState.FAILED
                (segment,) = job.segments()
                assert segment.error is not None
                assert segment.error.reason == "SOURCE_FORBIDDEN"


def test_a_local_source_that_is_touched_fails_the_job_and_its_retry(
    tmp_path: Path, clip: Path
) -> None:
    with (
        served(tmp_path, workers=1) as server,
        Client(server.address, timeout=60) as client,
    ):
        film = server.root / "clip.mp4"
        film.write_bytes(clip.read_bytes())
        job = client.submit(str(film), every(0.5), f"{server.root}/{{index}}.mp4")
        for event in job.watch():
            match event.event:
                case SegmentChanged(segment=segment) if segment.state is SegmentState.PUBLISHED:
                    os.truncate(film, film.stat().st_size - 100)
                    break
        for _ in range(2):
            done = finished(job)
            assert done.error is not None
            assert (done.error.reason, done.error.metadata) == (
                "SOURCE_CHANGED",
                {"uri": str(film)},
            )
            job.retry()
        finished(job)
        listed = {s.uri for s in job.segments() if s.state is SegmentState.PUBLISHED}
        assert listed == {str(path) for path in server.root.glob("[0-9]*.mp4")}
        assert job_folders(tmp_path) == []


# --- Other stores ----------------------------------------------------------------------------


def test_another_dialect_of_s3(tmp_path: Path, rclone: Service, clip: Path) -> None:
    bucket, target = Bucket(rclone, IN), Bucket(rclone, OUT)
    bucket.put("clip.mp4", clip.read_bytes())
    with (
        served(tmp_path, stores=stores(rclone)) as server,
        Client(server.address, timeout=60) as client,
    ):
        job = client.submit(f"s3://{IN}/clip.mp4", every(5), f"s3://{OUT}/{{index}}.mkv")
        segments = succeeded(job)
        for segment in segments:
            data = target.get(segment.uri.removeprefix(f"s3://{OUT}/"))
            assert segment.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
        assert job.delete(delete_outputs=True) == 2
    assert target.keys() == []
    bucket.close()
    target.close()


# --- What is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_cut_reads_its_index_and_what_it_touches(
    tmp_path: Path, seaweed: Service, footage: Bucket, ending: str
) -> None:
    """Counted at the store, over a whole job: analysis and cut."""
    film = tmp_path / f"big.{ending}"
    # A minute of 6 Mbit/s, with a key frame every two seconds.
    options = {"x264-params": "nal-hrd=cbr:bitrate=6000:vbv-maxrate=6000:vbv-bufsize=6000"}
    make_clip(film, frames=720, rate=12, gop=24, audio=[AudioTrack()], options=options)
    size = film.stat().st_size
    assert size > 30_000_000
    footage.put(film.name, film.read_bytes())
    with (
        proxied(seaweed.endpoint.partition("://")[2]) as proxy,
        served(tmp_path, stores=stores(seaweed, proxy.endpoint)) as server,
        Client(server.address, timeout=60) as client,
    ):
        modes = [CutMode.AUTO, CutMode.KEYFRAME, CutMode.ENCODE]
        for mode in modes if ending == "mkv" else [*modes, CutMode.EDIT_LIST]:
            before = proxy.sent
            output = Output(uri_template=f"{server.root}/{mode}-{{index}}.{ending}", cut_mode=mode)
            succeeded(client.submit(f"s3://{IN}/{film.name}", ranges((31, 33)), output))
            # Two of thirty GOPs are touched; the index is the smaller part of the rest.
            assert proxy.sent - before <= 1.2 * size * 2 / 30 + 2_000_000, mode


def test_detection_reads_each_byte_once(
    tmp_path: Path, seaweed: Service, footage: Bucket, clip: Path
) -> None:
    with (
        proxied(seaweed.endpoint.partition("://")[2]) as proxy,
        # Each worker that helped would open the source by itself.
        served(tmp_path, workers=1, stores=stores(seaweed, proxy.endpoint)) as server,
        Client(server.address, timeout=60) as client,
    ):
        succeeded(client.submit(f"s3://{IN}/films/clip.mp4", shots()))
        heads = 1000 * len(proxy.requests)
        assert proxy.sent <= clip.stat().st_size + heads
