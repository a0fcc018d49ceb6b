"""Bad weather over whole jobs: what passes is waited for, what does not has a stable reason that
names the place and no secret, and what was published stays."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit import (
    Client,
    CutMode,
    Job,
    JobState,
    Output,
    Segment,
    SegmentState,
    every,
    ranges,
)
from tests.clips import make_clip
from tests.disks import small_disk
from tests.server import ServerProcess
from tests.services import Service
from tests.unit.storage.recorder import Recorder, Reply, Sent, error, recording
from tests.unit.storage.site import Answer, Asked, Sender, Site, file_answer, whole

IN, OUT, NONE = "skies", "weather", "no-such-bucket"
CALLERS, TOKEN = "sekret-of-the-caller", "sekret-session-token"
_PATIENCE = 240

Trouble = Callable[[Sent], Reply | None]
"""Answers a request wrongly, or leaves it to the store."""


# --- A store in front of the store ---------------------------------------------------------------


@dataclass(slots=True)
class Front:
    """Passes requests on to a real store, but for those in whose path a row's name stands."""

    recorder: Recorder
    troubles: dict[str, Trouble]
    over: threading.Event = field(default_factory=threading.Event)
    """Ends all silences."""

    def of(self, name: str) -> list[Sent]:
        """The requests of one row."""
        return [sent for sent in self.recorder.sent if f"/{name}" in sent.path]


@contextmanager
def fronting(target: str) -> Iterator[Front]:
    """A front for the store at ``host:port``; alone where that is empty."""

    def answer(sent: Sent) -> Reply:
        # A session of GCS is begun with the name in its body.
        named = sent.path + (sent.body.decode() if "json" in str(sent.headers) else "")
        for name, trouble in front.troubles.items():
            if name in named and (reply := trouble(sent)) is not None:
                return silence(front.over) if reply is SILENCE else reply
        return forward(target, sent) if target else error(404, "NoSuchKey")

    with recording(answer) as recorder:
        front = Front(recorder, {})
        try:
            yield front
        finally:
            front.over.set()


def forward(target: str, sent: Sent) -> Reply:
    """What the real store says."""
    connection = http.client.HTTPConnection(target, timeout=60)
    with contextlib.closing(connection):
        # The host is signed: it stays that of the front.
        connection.putrequest(sent.method, sent.path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.headers.items():
            if name not in ("connection", "transfer-encoding", "content-length"):
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(sent.body)))
        connection.endheaders(sent.body)
        response = connection.getresponse()
        body = response.read()
        headers = {name.title(): value for name, value in response.getheaders()}
        for name in ("Connection", "Transfer-Encoding", "Date", "Server"):
            headers.pop(name, None)
        return Reply(response.status, body, headers)


SILENCE = Reply(lost=True)


def silence(over: threading.Event) -> Reply:
    over.wait()
    return SILENCE


def head(sent: Sent) -> bool:
    """The server looks at an object, by HEAD or by GET to be told more of an error."""
    return sent.method == "HEAD" or (sent.method == "GET" and "authorization" in sent.headers)


def read(sent: Sent) -> bool:
    """A worker reads a range."""
    return sent.method == "GET" and "range" in sent.headers and "Signature" in sent.path


def begin(sent: Sent) -> bool:
    return sent.method == "POST" and "uploads" in sent.path


def part(sent: Sent) -> bool:
    return sent.method == "PUT" and "partNumber" in sent.path


def finish(sent: Sent) -> bool:
    return sent.method == "POST" and "uploadId" in sent.path


def always(which: Callable[[Sent], bool], reply: Reply | Trouble) -> Trouble:
    def trouble(sent: Sent) -> Reply | None:
        if not which(sent):
            return None
        return reply(sent) if callable(reply) else reply

    return trouble


def at_first(which: Callable[[Sent], bool], *replies: Reply | Trouble) -> Trouble:
    """Only the first requests go wrong, one for each reply."""
    left = list(replies)
    lock = threading.Lock()

    def trouble(sent: Sent) -> Reply | None:
        with lock:
            if not which(sent) or not left:
                return None
            reply = left.pop(0)
        return reply(sent) if callable(reply) else reply

    return trouble


# --- What fails ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What is wrong, and how it has to be told. An output row's first segment has good weather."""

    name: str
    reason: str
    trouble: Trouble | None = None
    says: str = ""
    uri: str = ""
    """The source, or for outputs the template; by default an object at the front."""
    endpoint: str | None = None
    output: bool = False
    stays: bool = True
    """Whether the first segment of an output row is published."""

    def __str__(self) -> str:
        return self.name


EXPIRED = error(400, "ExpiredToken", f"<Token-0>{TOKEN}</Token-0>")
SLOW_DOWN = error(503, "SlowDown")
MOVED = error(301, "PermanentRedirect", "<Region>eu-west-9</Region><Endpoint>x</Endpoint>")
DENIED = error(403, "AccessDenied")
LOST = Reply(lost=True)
RESET = Reply(reset=True)


def ignoring(data: bytes) -> Reply:
    return Reply(200, data, {"ETag": etag(data)})


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def lying(data: bytes, sent: Sent, **changed: str) -> Reply:
    """A range whose headers or bytes are not as they should be."""
    first, last = (int(n) for n in sent.headers["range"].removeprefix("bytes=").split("-"))
    body = data[first : last + 1]
    headers = {"ETag": etag(data), "Content-Range": f"bytes {first}-{last}/{len(data)}"}
    return Reply(206, body, headers | {n.replace("_", "-"): v for n, v in changed.items()})


def rows(data: bytes) -> list[Row]:
    def object_of(name: str, trouble: Trouble, reason: str, says: str = "") -> Row:
        return Row(name, reason, trouble, says)

    def piece_of(name: str, trouble: Trouble, reason: str, says: str = "") -> Row:
        return Row(name, reason, trouble, says, output=True)

    unavailable, forbidden = "SOURCE_UNAVAILABLE", "SOURCE_FORBIDDEN"
    untaken, unallowed = "OUTPUT_UNAVAILABLE", "OUTPUT_FORBIDDEN"
    source_at = f"s3://{IN}/clip.mp4"
    piece_at = f"s3://{OUT}/{{name}}/{{{{index}}}}.mp4"
    return [
        # The server looks at the source.
        Row("none", "SOURCE_NOT_FOUND", says="no such object", uri=f"s3://{IN}/none.mp4"),
        Row("no-bucket", "SOURCE_NOT_FOUND", says=f"no bucket {NONE}", uri=f"s3://{NONE}/a.mp4"),
        Row("bad-key", forbidden, says="InvalidAccessKeyId", uri=source_at, endpoint="key.test"),
        Row("bad-secret", forbidden, says="access key", uri=source_at, endpoint="secret.test"),
        Row("no-port", unavailable, says="endpoint", uri=source_at, endpoint="port.test"),
        Row("no-host", unavailable, says="endpoint", uri=source_at, endpoint="host.test"),
        Row("no-keys", forbidden, says="no credentials", uri=source_at, endpoint="keys.test"),
        Row("no-tls", unavailable, says="endpoint", uri=source_at, endpoint="tls.test"),
        Row("bad-ca", unavailable, says="the CA", uri=source_at, endpoint="ca.test"),
        object_of("denied", always(head, DENIED), forbidden, "s3:GetObject"),
        object_of("expired", always(head, EXPIRED), forbidden, "have expired"),
        object_of("moved", always(head, MOVED), unavailable, "eu-west-9"),
        object_of("skewed", always(head, error(403, "RequestTimeTooSkewed")), forbidden, "clocks"),
        object_of("slowed", always(head, SLOW_DOWN), unavailable, "for the moment (503)"),
        object_of("many", always(head, Reply(429)), unavailable, "fewer requests"),
        object_of("ill", always(head, error(500, "InternalError")), unavailable, "moment (500)"),
        object_of("lost", always(head, LOST), unavailable, "cannot be reached"),
        object_of("reset", always(head, RESET), unavailable, "cannot be reached"),
        object_of("silent", always(head, SILENCE), unavailable, "did not answer"),
        object_of("garbled", always(head, Reply(400, b"<" * 99)), unavailable),
        object_of("broken", always(head, Reply(403, DENIED.body, cut=True)), forbidden, "(403)"),
        # A worker reads it.
        object_of("read-denied", always(read, DENIED), forbidden, "403"),
        object_of("read-slowed", always(read, SLOW_DOWN), unavailable, "503"),
        object_of("read-gone", always(read, error(404, "NoSuchKey")), "SOURCE_CHANGED"),
        object_of("read-lost", always(read, LOST), unavailable),
        object_of("read-silent", always(read, SILENCE), unavailable, "no answer"),
        object_of("whole", always(read, ignoring(data)), unavailable, "ignores ranges"),
        object_of(
            "short",
            always(read, lambda sent: lying(data, sent, Content_Length="99999999")),
            unavailable,
            "another length",
        ),
        object_of(
            "early",
            always(read, lambda sent: Reply(206, b"", {**lying(data, sent).headers})),
            unavailable,
            "another length",
        ),
        object_of(
            "elsewhere",
            always(read, lambda sent: lying(data, sent, Content_Range=f"bytes 5-9/{len(data)}")),
            unavailable,
            "another range",
        ),
        object_of(
            "grown",
            always(read, lambda sent: lying(data, sent, Content_Range=f"bytes 0-9/{9**9}")),
            "SOURCE_CHANGED",
        ),
        object_of(
            "exchanged",
            always(read, lambda sent: lying(data, sent, ETag='"another"')),
            "SOURCE_CHANGED",
        ),
        # The segments have nowhere to go.
        Row(
            "read-only",
            unallowed,
            says="s3:PutObject",
            uri=piece_at.format(name="read-only"),
            endpoint="reader.test",
            output=True,
            stays=False,
        ),
        Row(
            "put-no-bucket",
            untaken,
            says=f"no bucket {NONE}",
            uri=f"s3://{NONE}/{{index}}.mp4",
            output=True,
            stays=False,
        ),
        piece_of("look-denied", always(head, DENIED), unallowed, "s3:PutObject"),
        piece_of("look-slowed", always(head, SLOW_DOWN), untaken, "for the moment (503)"),
        piece_of("begin-denied", always(begin, DENIED), unallowed, "s3:PutObject"),
        piece_of("begin-expired", always(begin, EXPIRED), unallowed, "have expired"),
        piece_of("begin-moved", always(begin, MOVED), untaken, "eu-west-9"),
        piece_of("begin-lost", always(begin, LOST), untaken, "be reached"),
        piece_of("begin-silent", always(begin, SILENCE), untaken, "did not answer"),
        piece_of("part-denied", always(part, DENIED), unallowed, "403 AccessDenied"),
        piece_of("part-expired", always(part, EXPIRED), unallowed, "have expired"),
        piece_of("part-slowed", always(part, SLOW_DOWN), untaken, "503"),
        piece_of("part-gone", always(part, error(404, "NoSuchUpload")), untaken, "NoSuchUpload"),
        piece_of("part-lost", always(part, LOST), untaken),
        piece_of("part-silent", always(part, SILENCE), untaken, "no answer"),
        piece_of("part-full", always(part, error(507, "InsufficientStorage")), untaken, "507"),
        piece_of("no-tag", always(part, Reply(200)), untaken, "what it received"),
        piece_of("end-denied", always(finish, DENIED), unallowed),
        piece_of("end-ill", always(finish, error(200, "InternalError")), untaken, "InternalError"),
        piece_of("end-lost", always(finish, LOST), untaken, "be reached"),
        piece_of("end-taken", always(finish, error(412, "PreconditionFailed")), "OUTPUT_EXISTS"),
        # Google Cloud Storage.
        *gcs_rows(),
    ]


def gcs_rows() -> list[Row]:
    """The front of GCS has no store behind it: all that it says stands here."""

    def session(name: str, reply: Reply) -> Trouble:
        def trouble(sent: Sent) -> Reply | None:
            if sent.method == "POST":
                host = sent.headers["host"]
                place = f"http://{host}/{name}1.?upload_id={TOKEN}"
                return Reply(200, headers={"Location": place})
            return reply if sent.method == "PUT" else None

        return trouble

    def looked(sent: Sent) -> bool:
        return sent.method == "GET"

    def begun(sent: Sent) -> bool:
        return sent.method == "POST"

    def source(name: str, status: int, reason: str, says: str = "") -> Row:
        return Row(
            name, f"SOURCE_{reason}", always(looked, Reply(status)), says, f"gs://{IN}/{name}.mp4"
        )

    def output(name: str, trouble: Trouble, reason: str, says: str = "") -> Row:
        uri = f"gs://{OUT}/{name}{{index}}.mp4"
        return Row(name, f"OUTPUT_{reason}", trouble, says, uri, output=True, stays=False)

    return [
        Row("gs-no-keys", "SOURCE_FORBIDDEN", says="credentials", uri=f"gs://{NONE}/a.mp4"),
        source("gs-none", 404, "NOT_FOUND"),
        source("gs-unknown", 401, "FORBIDDEN", "credentials"),
        source("gs-denied", 403, "FORBIDDEN", "storage.objects.get"),
        source("gs-slowed", 429, "UNAVAILABLE", "fewer requests"),
        source("gs-ill", 503, "UNAVAILABLE", "503"),
        Row(
            "gs-lost",
            "SOURCE_UNAVAILABLE",
            always(looked, LOST),
            "cannot be reached",
            f"gs://{IN}/gs-lost.mp4",
        ),
        output("gs-put-denied", always(begun, Reply(403)), "FORBIDDEN", "storage.objects.create"),
        output("gs-put-slowed", always(begun, Reply(429)), "UNAVAILABLE", "fewer requests"),
        output("gs-part-denied", session("gs-part-denied", Reply(403)), "FORBIDDEN", "403"),
        output("gs-part-gone", session("gs-part-gone", Reply(410)), "UNAVAILABLE", "410"),
        output("gs-part-ill", session("gs-part-ill", Reply(503)), "UNAVAILABLE", "503"),
        output("gs-part-taken", session("gs-part-taken", Reply(412)), "EXISTS"),
    ]


# The rows' names must be known before there is a clip.
NAMES = [row.name for row in rows(b"")]


@dataclass(frozen=True, slots=True)
class End:
    """How the job of a row ended."""

    row: Row
    uri: str
    job: Job
    segments: Sequence[Segment]
    told: str
    """All that a caller can see of it."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How all ended, and what the server wrote meanwhile."""

    of: Mapping[str, End]
    log: str


def stores_of(seaweed: Service, front: Front, gcs: Front, bad_ca: Path) -> dict[str, Any]:
    main = seaweed.settings(IN, OUT, NONE, endpoint=front.recorder.endpoint)
    reader, secret = seaweed.reader
    real = {**main, "endpoint": seaweed.endpoint}
    keyless = {name: value for name, value in real.items() if not name.endswith("access_key")}
    del keyless["access_key_id"]
    others: dict[str, dict[str, Any]] = {
        "reader": {**real, "access_key_id": reader, "secret_access_key": secret},
        "key": {**real, "access_key_id": "AKIAUNKNOWN"},
        "secret": {**real, "secret_access_key": "sekret-that-is-wrong"},
        "port": {**main, "endpoint": f"http://127.0.0.1:{unused_port()}"},
        "host": {**main, "endpoint": "http://nowhere.invalid"},
        "keys": {**keyless, "endpoint": seaweed.endpoint},
        "tls": {**real, "endpoint": seaweed.tls_endpoint.replace("https:", "http:")},
        "ca": {**real, "endpoint": seaweed.tls_endpoint, "ca": str(bad_ca)},
    }
    return {
        "main": main,
        "gcs": {
            "kind": "gcs",
            "endpoint": gcs.recorder.endpoint,
            "anonymous": True,
            "buckets": [IN, OUT],
        },
        "google": {"kind": "gcs", "buckets": [NONE]},
        **{name: {**one, "endpoint_aliases": [f"{name}.test"]} for name, one in others.items()},
    }


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def environment(stores: Mapping[str, Any], **settings: object) -> dict[str, str]:
    """The settings of a process, which finds no credentials of ours elsewhere."""
    given = {f"REELSPLIT_{name.upper()}": str(value) for name, value in settings.items()}
    names = ("HOME", "AWS_CONFIG_FILE", "GOOGLE_APPLICATION_CREDENTIALS")
    bare = {"AWS_EC2_METADATA_DISABLED": "true", **dict.fromkeys(names, "/nowhere")}
    return {"REELSPLIT_STORES": json.dumps(stores), **bare, **given}


@pytest.fixture(scope="module")
def front(seaweed: Service, clip: Path) -> Iterator[Front]:
    for name in (IN, OUT):
        seaweed.bucket(name)
    seaweed.api.put_object(Bucket=IN, Key="clip.mp4", Body=clip.read_bytes())
    with fronting(seaweed.endpoint.partition("://")[2]) as made:
        yield made


@pytest.fixture(scope="module")
def ends(
    tmp_path_factory: pytest.TempPathFactory, seaweed: Service, front: Front, clip: Path
) -> Iterator[Ends]:
    """All rows at once, since most of the time they wait."""
    folder, data = tmp_path_factory.mktemp("weather"), clip.read_bytes()
    every_row = rows(data)
    bad_ca = folder / "ca.pem"
    bad_ca.write_text("no certificate")
    with fronting("") as gcs:
        for row in every_row:
            if row.trouble is not None:
                home = gcs if row.uri.startswith("gs:") else front
                # Of outputs the second one; GCS escapes the slash in its paths.
                second = "/1." if row.output and home is front else "1." if row.output else "."
                home.troubles[f"{'' if home is gcs else '/'}{row.name}{second}"] = row.trouble
            if not row.uri and not row.output:
                seaweed.api.put_object(Bucket=IN, Key=f"{row.name}.mp4", Body=data)
        settings = environment(
            stores_of(seaweed, front, gcs, bad_ca),
            storage_timeout=3,
            storage_patience=0.2,
            tries=1,
            workers=8,
        )
        with (
            ServerProcess(folder, environment=settings) as server,
            Client(server.address, timeout=60) as client,
        ):
            jobs = {row.name: client.submit(*_request(row)) for row in every_row}
            of: dict[str, End] = {}
            for row in every_row:
                job = jobs[row.name]
                done = job.wait(timeout=_PATIENCE)
                segments = list(job.segments())
                told = repr((done, segments, list(job.watch())))
                of[row.name] = End(row, _uri(row), done, segments, told)
            server.terminate()
            yield Ends(of, server.log)


def _request(row: Row) -> tuple[Any, ...]:
    from reelsplit import Input

    if not row.output:
        return Input(uri=_uri(row), endpoint=row.endpoint), every(20)
    template = row.uri or f"s3://{OUT}/{row.name}/{{index}}.mp4"
    output = Output(uri_template=template, endpoint=row.endpoint)
    return f"s3://{IN}/clip.mp4", ranges((0, 0.5), (1, 1.5)), output


def _uri(row: Row) -> str:
    """The place that has to be named."""
    if row.output:
        return (row.uri or f"s3://{OUT}/{row.name}/{{index}}.mp4").format(index=1)
    return row.uri or f"s3://{IN}/{row.name}.mp4"


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_pass_has_a_reason_that_names_the_place(name: str, ends: Ends) -> None:
    end = ends.of[name]
    row, job = end.row, end.job
    assert job.state is JobState.FAILED
    assert job.error is not None
    told = job.error
    if row.output:
        assert job.error.reason == "SEGMENTS_FAILED"
        assert end.segments[1].error is not None
        told = end.segments[1].error
    assert told.reason == row.reason, told
    assert told.metadata == {"uri": end.uri}
    assert end.uri in told.message
    assert row.says in told.message, told.message
    assert told.message.endswith(".")


@pytest.mark.parametrize("name", [row.name for row in rows(b"") if row.output])
def test_what_was_published_stays_and_nothing_else_is_there(
    name: str, ends: Ends, seaweed: Service
) -> None:
    end = ends.of[name]
    states = [segment.state for segment in end.segments]
    first = SegmentState.PUBLISHED if end.row.stays else SegmentState.FAILED
    assert states == [first, SegmentState.FAILED]
    if not end.row.stays:
        return
    found = seaweed.api.list_objects_v2(Bucket=OUT, Prefix=f"{name}/")["Contents"]
    assert [each["Key"] for each in found] == [f"{name}/0.mp4"]
    with seaweed.api.get_object(Bucket=OUT, Key=f"{name}/0.mp4")["Body"] as body:
        checksum = hashlib.sha256(body.read()).hexdigest()
    assert end.segments[0].checksum == f"sha256:{checksum}"
    uploads = seaweed.api.list_multipart_uploads(Bucket=OUT, Prefix=f"{name}/")
    assert uploads.get("Uploads", []) == []


def secrets(seaweed: Service) -> list[str]:
    """What stands nowhere; the third is how stores write errors."""
    mine = [seaweed.secret_key, seaweed.reader[1], "secret-of-the-store", "sekret", TOKEN]
    return [*mine, CALLERS, "Signature=", "X-Amz-"]


def test_no_secret_is_told(ends: Ends, seaweed: Service) -> None:
    for name, end in ends.of.items():
        assert [each for each in secrets(seaweed) if each in end.told] == [], name
    assert "s3_refused" in ends.log
    assert [each for each in secrets(seaweed) if each in ends.log] == []
    assert "Traceback" not in ends.log


def test_what_cannot_change_is_not_repeated(ends: Ends, front: Front) -> None:
    for name, most in (("denied", 2), ("expired", 2), ("skewed", 2), ("moved", 4)):
        # A HEAD, what it was about, and for another region both once more.
        assert len(front.of(f"{name}.mp4")) <= most, name
    for name in ("slowed", "lost", "ill"):
        assert len(front.of(f"{name}.mp4")) > 1, name


# --- What passes ---------------------------------------------------------------------------------


def swallowed(target: str) -> Trouble:
    """Done, but the answer is lost."""

    def trouble(sent: Sent) -> Reply:
        forward(target, sent)
        return LOST

    return trouble


def clearing(target: str) -> dict[str, Trouble]:
    """What goes wrong once or twice, by name; sources first."""
    renewed = error(403, "AccessDenied", "<Message>Request has expired</Message>")

    def half(sent: Sent) -> Reply:
        reply = forward(target, sent)
        return Reply(reply.status, reply.body, reply.headers, cut=True)

    return {
        "ok-slowed": at_first(head, SLOW_DOWN, Reply(429)),
        "ok-lost": at_first(head, LOST, RESET, LOST),
        "ok-broken": at_first(head, Reply(403), Reply(503, DENIED.body, cut=True)),
        "ok-silent": at_first(head, SILENCE),
        "ok-read-cut": at_first(read, half, half),
        "ok-read-reset": at_first(read, RESET, LOST),
        "ok-read-slowed": at_first(read, SLOW_DOWN, Reply(500)),
        "ok-read-silent": at_first(read, SILENCE),
        "ok-read-expired": at_first(read, renewed),
        "ok-put-look": at_first(head, SLOW_DOWN, LOST),
        "ok-put-begin": at_first(begin, LOST, error(500, "InternalError")),
        "ok-put-part": at_first(part, SLOW_DOWN, RESET, error(400, "BadDigest")),
        "ok-put-cut": at_first(part, half, swallowed(target)),
        "ok-put-silent": at_first(part, SILENCE),
        "ok-put-expired": at_first(part, renewed),
        "ok-put-gone": at_first(part, error(404, "NoSuchUpload")),
        "ok-put-end": at_first(finish, error(200, "InternalError"), LOST),
        "ok-put-ended": at_first(finish, swallowed(target)),
        "ok-put-whole": at_first(finish, SILENCE, error(400, "InvalidPart")),
    }


def test_what_passes_is_waited_for(
    tmp_path: Path, seaweed: Service, front: Front, clip: Path
) -> None:
    troubles = clearing(seaweed.endpoint.partition("://")[2])
    front.troubles |= troubles
    main = stores_of(seaweed, front, front, tmp_path)["main"]
    settings = environment({"main": main}, storage_timeout=3, storage_patience=60, workers=8)
    with (
        ServerProcess(tmp_path, environment=settings) as server,
        Client(server.address, timeout=60) as client,
    ):
        jobs = {}
        for name in troubles:
            source = "clip" if "put" in name else name
            if source == name:
                seaweed.api.put_object(Bucket=IN, Key=f"{name}.mp4", Body=clip.read_bytes())
            jobs[name] = client.submit(
                f"s3://{IN}/{source}.mp4",
                ranges((0, 0.5), (5, 5.5)),
                f"s3://{OUT}/{name}/{{index}}.mp4",
            )
        for name, job in jobs.items():
            done = job.wait(timeout=_PATIENCE)
            assert done.state is JobState.SUCCEEDED, (name, done.error, server.log)
            for segment in job.segments():
                key = segment.uri.removeprefix(f"s3://{OUT}/")
                with seaweed.api.get_object(Bucket=OUT, Key=key)["Body"] as body:
                    checksum = hashlib.sha256(body.read()).hexdigest()
                assert segment.checksum == f"sha256:{checksum}", name
        server.terminate()
        assert "Traceback" not in server.log
        assert [each for each in secrets(seaweed) if each in server.log] == []
    uploads = seaweed.api.list_multipart_uploads(Bucket=OUT, Prefix="ok-")
    assert uploads.get("Uploads", []) == []


# --- Web servers ---------------------------------------------------------------------------------


def say(status: int) -> Answer:
    return lambda asked, send: send(whole(status, {}, b"secret-of-the-store"))


def web_answers(data: bytes) -> dict[str, tuple[Answer, str, str]]:
    """The weather of each path, and what is told of it."""
    good = file_answer(data)

    def hang_up(asked: Asked, send: Sender) -> bool:
        send.reset()
        return False

    def cut(asked: Asked, send: Sender) -> bool:
        if asked.range == (0, 0):
            good(asked, send)
            return True
        assert asked.range is not None
        first, last = asked.range
        place = f"bytes {first}-{last}/{len(data)}"
        send(whole(206, {"ETag": '"one"', "Content-Range": place}, data[first:])[:300])
        return False

    def lie(asked: Asked, send: Sender) -> None:
        if asked.range == (0, 0):
            good(asked, send)
        else:
            place = f"bytes 7-8/{len(data)}"
            send(whole(206, {"ETag": '"one"', "Content-Range": place}, data[7:9]))

    def change(asked: Asked, send: Sender) -> None:
        file_answer(data, {"ETag": f'"{asked.number}"'})(asked, send)

    return {
        "none": (say(404), "SOURCE_NOT_FOUND", "no file"),
        "denied": (say(403), "SOURCE_FORBIDDEN", "time may have run out"),
        "unknown": (say(401), "SOURCE_FORBIDDEN", "401"),
        "slowed": (say(429), "SOURCE_UNAVAILABLE", "429"),
        "ill": (say(503), "SOURCE_UNAVAILABLE", "503"),
        "reset": (hang_up, "SOURCE_UNAVAILABLE", "connection broke"),
        "cut": (cut, "SOURCE_UNAVAILABLE", ""),
        "lie": (lie, "SOURCE_UNAVAILABLE", "another range"),
        "change": (change, "SOURCE_CHANGED", ""),
        "whole": (file_answer(data, ranges=False), "SOURCE_TOO_LARGE", "range requests"),
        "silent": (lambda asked, send: asked.number < 0, "SOURCE_UNAVAILABLE", ""),
    }


def test_web_servers_fail_with_their_reasons_too(tmp_path: Path, clip: Path) -> None:
    answers = web_answers(clip.read_bytes())

    def answer(asked: Asked, send: Sender) -> bool | None:
        name = asked.target.partition(".")[0].strip("/")
        if name == "silent":
            site.wait(_PATIENCE)
            return False
        return answers[name][0](asked, send)

    settings = environment(
        {},
        http_hosts='["127.0.0.2:*"]',
        allow_networks='["127.0.0.2/32"]',
        max_spool_bytes=1000,
        storage_timeout=3,
        storage_patience=0,
        tries=1,
        workers=4,
    )
    with (
        Site(answer) as site,
        ServerProcess(tmp_path, environment=settings) as server,
        Client(server.address, timeout=60) as client,
    ):
        jobs = {
            name: client.submit(site.url(f"/{name}.mp4?Signature={CALLERS}"), every(20))
            for name in answers
        }
        for name, job in jobs.items():
            done = job.wait(timeout=_PATIENCE)
            assert done.error is not None, name
            _, reason, says = answers[name]
            assert done.error.reason == reason, (name, done.error)
            assert site.url(f"/{name}.mp4") in done.error.message
            assert says in done.error.message
            assert CALLERS not in repr((done, list(job.watch()))), name
        server.terminate()
        assert CALLERS not in server.log
        assert "Traceback" not in server.log


# --- A full disk ---------------------------------------------------------------------------------


def noise(number: int) -> NDArray[np.uint8]:
    """A picture that takes as many bytes as an encoder may spend."""
    return np.random.default_rng(number).integers(0, 256, (180, 320, 3), np.uint8)


def copied(template: str) -> Output:
    """Segments as large as what they are cut from."""
    return Output(uri_template=template, cut_mode=CutMode.KEYFRAME)


def test_a_full_disk_of_outputs_fails_what_does_not_fit(tmp_path: Path) -> None:
    options = {"x264-params": "bitrate=4000:vbv-maxrate=4000:vbv-bufsize=4000"}
    root = tmp_path / "root"
    root.mkdir()
    make_clip(root / "film.mp4", frames=240, options=options, picture=noise)
    assert (root / "film.mp4").stat().st_size > 4_500_000
    with (
        small_disk(root / "out", "size=2m"),
        ServerProcess(tmp_path) as server,
        Client(server.address, timeout=60) as client,
    ):
        film, template = str(root / "film.mp4"), f"{root}/out/{{index}}.mp4"
        job = client.submit(film, ranges((0, 1), (1, 10), (2, 3)), copied(template))
        job.wait(timeout=_PATIENCE)
        segments = list(job.segments())
        assert [segment.state for segment in segments] == [
            SegmentState.PUBLISHED,
            SegmentState.FAILED,
            SegmentState.PUBLISHED,
        ]
        assert segments[1].error is not None
        assert segments[1].error.reason == "DISK_FULL"
        assert "retry" in segments[1].error.message
        assert sorted(os.listdir(root / "out")) == ["0.mp4", "2.mp4"]
        assert client.submit(film, ranges((4, 5)), copied(f"{root}/out/more{{index}}.mp4")).wait(
            timeout=_PATIENCE
        ).state is (JobState.SUCCEEDED)


def test_a_full_disk_of_working_files_fails_segments_and_no_server(
    tmp_path: Path, clip: Path
) -> None:
    """No file can be made any more, while the database, which is there, goes on."""
    with (
        small_disk(tmp_path / "data", "size=64m,nr_inodes=200") as data,
        ServerProcess(tmp_path) as server,
        Client(server.address, timeout=60) as client,
    ):
        film = server.root / "film.mp4"
        film.write_bytes(clip.read_bytes())
        first = client.submit(str(film), ranges((0, 1)), f"{server.root}/a{{index}}.mp4")
        assert first.wait(timeout=_PATIENCE).state is JobState.SUCCEEDED
        ballast = data / "ballast"
        ballast.mkdir()
        made = []
        with contextlib.suppress(OSError):
            for n in range(1000):
                (ballast / str(n)).touch()
                made.append(ballast / str(n))
        # The folders of the job and of its segment.
        for path in made[-2:]:
            path.unlink()
        second = client.submit(str(film), ranges((0, 1)), f"{server.root}/b{{index}}.mp4")
        assert second.wait(timeout=_PATIENCE).state is JobState.FAILED
        (segment,) = second.segments()
        assert segment.error is not None
        assert segment.error.reason == "DISK_FULL"
        assert (server.root / "a0.mp4").exists()
        shutil.rmtree(ballast)
        third = client.submit(str(film), ranges((0, 1)), f"{server.root}/c{{index}}.mp4")
        assert third.wait(timeout=_PATIENCE).state is JobState.SUCCEEDED
        assert server.terminate() == 0


def test_segments_that_fill_the_data_folder_fail_and_leave_room(tmp_path: Path) -> None:
    """The database lies on the same disk, and must be able to say so."""
    options = {"x264-params": "bitrate=8000:vbv-maxrate=8000:vbv-bufsize=8000"}
    with (
        small_disk(tmp_path / "data", "size=6m"),
        # One after the other: whatever shares a full disk fails with it.
        ServerProcess(tmp_path, "--workers", "1") as server,
        Client(server.address, timeout=60) as client,
    ):
        film = server.root / "film.mp4"
        make_clip(film, frames=240, options=options, picture=noise)
        assert film.stat().st_size > 9_000_000
        template = f"{server.root}/{{index}}.mp4"
        job = client.submit(str(film), ranges((0, 10), (0, 1), (0.5, 10)), copied(template))
        done = job.wait(timeout=_PATIENCE)
        segments = list(job.segments())
        assert done.state is JobState.FAILED
        assert [segment.state for segment in segments] == [
            SegmentState.FAILED,
            SegmentState.PUBLISHED,
            SegmentState.FAILED,
        ]
        assert [s.error.reason for s in segments if s.error is not None] == ["DISK_FULL"] * 2
        assert [path.name for path in server.root.glob("[0-9].mp4")] == ["1.mp4"]
        small = client.submit(str(film), ranges((1, 2)), copied(f"{server.root}/n{{index}}.mp4"))
        assert small.wait(timeout=_PATIENCE).state is JobState.SUCCEEDED
