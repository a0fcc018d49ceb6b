"""What is really sent to OSS, over TLS: there is no emulator of OSS, so its rules are checked on
the wire, and the whole on SeaweedFS with virtual hosts."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import trustme
from botocore.config import Config

from reelsplit_server.storage.grants import Pin
from reelsplit_server.storage.s3 import S3Config, S3Store
from tests.services import Service
from tests.unit.storage.recorder import Recorder, Reply, Sent, error, recording
from tests.unit.storage.s3_help import (
    QUICK,
    body_of,
    failing,
    get,
    publish,
    put,
    send_all,
    store,
    target,
)

BODY = b"frames! " * 100
CREATED = (
    b"<InitiateMultipartUploadResult><UploadId>up-1</UploadId></InitiateMultipartUploadResult>"
)
COMPLETED = b'<CompleteMultipartUploadResult><ETag>"tag"</ETag></CompleteMultipartUploadResult>'
DELETED = b"<DeleteResult></DeleteResult>"


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below localhost lead to this machine, as a real name server has it."""
    look_up = socket.getaddrinfo

    def patched(host: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        local = isinstance(name, str) and name.endswith(".localhost")
        return look_up("127.0.0.1" if local else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", patched)


def oss(sent: Sent) -> Reply:
    """Enough of OSS that an upload and a removal pass."""
    query = urlsplit(sent.path).query
    match sent.method:
        case "HEAD":
            return Reply(404)
        case "GET":
            return error(404, "NoSuchKey")
        case "PUT":
            return Reply(200, headers={"ETag": '"tag"'})
        case "POST" if query.startswith("uploads"):
            return Reply(200, CREATED)
        case "POST" if query.startswith("delete"):
            return Reply(200, DELETED)
        case "POST":
            return Reply(200, COMPLETED)
        case _:
            return Reply(204)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def recorder(authority: trustme.CA) -> Iterator[Recorder]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("oss.localhost", "*.oss.localhost").configure_cert(context)
    with recording(oss, context) as made:
        yield made


@pytest.fixture
def settings(recorder: Recorder, authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {
        "kind": "oss",
        "endpoint": f"https://oss.localhost:{recorder.port}",
        "region": "oss-cn-hangzhou",
        "access_key_id": "LTAIKEY",
        "secret_access_key": "sekret",
        "ca": str(tmp_path / "ca.pem"),
        "wire": QUICK,
    }


@pytest.fixture(params=["v4", "v2"])
def s3(request: pytest.FixtureRequest, settings: dict[str, Any]) -> Iterator[S3Store]:
    made = S3Store(S3Config(**settings, signature=request.param))
    yield made
    made.close()


def chunked(sent: Sent) -> list[str]:
    """The marks in a request of the body that OSS refuses."""
    marks = []
    if "aws-chunked" in sent.headers.get("content-encoding", ""):
        marks.append("content-encoding")
    if sent.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        marks.append("x-amz-content-sha256")
    return marks + [name for name in sent.headers if name == "x-amz-trailer"]


def upload_directly(client: Any) -> None:
    client.put_object(Bucket="videos", Key="film", Body=BODY)
    client.upload_part(Bucket="videos", Key="film", UploadId="up-1", PartNumber=1, Body=BODY)


def test_no_body_is_sent_in_the_chunks_that_oss_refuses(s3: S3Store, recorder: Recorder) -> None:
    upload_directly(s3._client()._api)
    assert len(recorder.sent) == 2
    for sent in recorder.sent:
        assert sent.body == BODY
        assert chunked(sent) == []
        assert not [name for name in sent.headers if name.startswith("x-amz-checksum")]


def test_the_library_by_itself_would_send_them(
    recorder: Recorder, settings: dict[str, Any]
) -> None:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings["endpoint"],
        region_name="cn-hangzhou",
        aws_access_key_id="LTAIKEY",
        aws_secret_access_key="sekret",
        verify=settings["ca"],
        config=Config(s3={"addressing_style": "virtual"}, retries={"total_max_attempts": 1}),
    )
    try:
        upload_directly(client)
    finally:
        client.close()
    for sent in recorder.sent:
        assert set(chunked(sent)) == {"content-encoding", "x-amz-content-sha256", "x-amz-trailer"}


@pytest.mark.parametrize("replace", [False, True])
def test_an_upload_says_what_oss_wants_to_hear(
    s3: S3Store, recorder: Recorder, replace: bool
) -> None:
    new = target("videos", "a/film.mp4", BODY, replace=replace)
    publish(s3, new, BODY)
    (create,) = recorder.of("POST", "?uploads")
    (complete,) = recorder.of("POST", "uploadId=up-1")
    (part,) = recorder.of("PUT", "partNumber=1")
    for sent in recorder.sent:
        assert sent.headers["host"] == f"videos.oss.localhost:{recorder.port}"
        assert urlsplit(sent.path).path == "/a/film.mp4"
        assert "if-none-match" not in sent.headers
        assert chunked(sent) == []
    assert part.body == BODY
    assert create.headers["content-type"] == "video/mp4"
    assert create.headers["x-amz-meta-reelsplit-checksum"] == new.checksum
    for sent in (create, complete):
        assert sent.headers.get("x-oss-forbid-overwrite") == (None if replace else "true")
        signed = sent.headers["authorization"]
        if signed.startswith("AWS4"):
            assert ("x-oss-forbid-overwrite" in signed) is not replace
            assert "/cn-hangzhou/s3/aws4_request" in signed
        else:
            assert signed.startswith("AWS LTAIKEY:")


def test_a_removal_of_several_carries_its_digest(s3: S3Store, recorder: Recorder) -> None:
    s3.delete("videos", ["a", "b&c"])
    (sent,) = recorder.sent
    assert sent.headers["content-md5"] == base64.b64encode(hashlib.md5(sent.body).digest()).decode()
    assert b"<Key>b&amp;c</Key>" in sent.body
    assert sent.headers["host"] == f"videos.oss.localhost:{recorder.port}"
    if sent.headers["authorization"].startswith("AWS4"):
        assert "content-md5" in sent.headers["authorization"]


def test_what_oss_says_of_a_taken_name_is_understood(s3: S3Store, recorder: Recorder) -> None:
    upload = s3.begin(target("videos", "film", BODY))
    tags = send_all(s3, upload, BODY)
    recorder.answer = lambda sent: (
        error(409, "FileAlreadyExists") if sent.method == "POST" else oss(sent)
    )
    assert failing(lambda: s3.finish(upload, tags)).reason == "OUTPUT_EXISTS"
    assert failing(lambda: s3.begin(target("videos", "film", BODY))).reason == "OUTPUT_EXISTS"


def test_signed_requests_name_the_bucket_in_the_host(s3: S3Store, recorder: Recorder) -> None:
    request, _ = s3.read("videos", "a/film.mp4", "label", Pin(size=1, tag='"x"'))
    parts = urlsplit(request.url)
    assert parts.netloc == f"videos.oss.localhost:{recorder.port}"
    assert parts.path == "/a/film.mp4"


def test_a_whole_life_on_virtual_hosts_over_tls(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    port = seaweed.tls_endpoint.rpartition(":")[2]
    endpoint = f"https://s3.localhost:{port}"
    with store(seaweed, kind="oss", endpoint=endpoint, ca=seaweed.ca) as s3:
        publish(s3, target(bucket, "oss/film.mp4", BODY), BODY)
        pin = s3.stat(bucket, "oss/film.mp4", "label").pin
        request, _ = s3.read(bucket, "oss/film.mp4", "label", pin)
        assert urlsplit(request.url).hostname == f"{bucket}.s3.localhost"
        assert get(request, ca=seaweed.ca)[:2] == (200, BODY)
        put(seaweed, bucket, "oss/other.mp4", b"x")
        s3.delete(bucket, ["oss/film.mp4", "oss/other.mp4"])
        assert s3.find(bucket, "oss/film.mp4", "label") is None


def test_gateways_may_have_paths(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    with store(seaweed, kind="oss", addressing="path") as s3:
        publish(s3, target(bucket, "oss/path.mp4", BODY), BODY)
    assert body_of(seaweed, bucket, "oss/path.mp4") == BODY


def test_the_endpoint_follows_from_the_region() -> None:
    for region in ("cn-hangzhou", "oss-cn-hangzhou"):
        made = S3Store(
            S3Config(kind="oss", region=region, access_key_id="k", secret_access_key="s")
        )
        try:
            assert made._client().host == "s3.oss-cn-hangzhou.aliyuncs.com"
            assert made._client()._api.meta.region_name == "cn-hangzhou"
        finally:
            made.close()
