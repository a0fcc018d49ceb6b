"""Google Cloud Storage: against fake-gcs-server, and where that is too kind against a stub."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pytest
import trustme
import urllib3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import downscoped

from reelsplit_server.storage import uploading
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.gcs import GcsConfig, GcsStore
from reelsplit_server.storage.grants import ObjectGrant, Part, Pin, SessionUpload, Wire
from reelsplit_server.storage.object_store import NewObject, Upload
from reelsplit_server.storage.opening import open_source
from tests.gcs_service import GcsService, gcs_service

BUCKET = "pieces"
WIRE = Wire(timeout=20.0, patience=20.0)
IMPATIENT = Wire(timeout=20.0, patience=0.5)
SILENT = Wire(timeout=0.3, patience=0.5)
"""For a server that says nothing: a busy one that lives would be given up, too."""
CHUNK = 2**18
DATA = bytes(range(256)) * 2500
KEYS = ["plain.mp4", "a folder/ä+?#%2F[x]&=.mp4", 'it\'s \\ "quoted".mp4', "日本/🎬.mkv"]


@dataclass(frozen=True)
class Heard:
    """A request as the stub got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """A server that answers as a test says, and remembers what it was asked."""

    endpoint: str
    answer: Callable[[Heard], tuple[int, dict[str, str], bytes]]
    heard: list[Heard] = field(default_factory=list)


@contextmanager
def stub(
    answer: Callable[[Heard], tuple[int, dict[str, str], bytes]],
    tls: trustme.LeafCert | None = None,
) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(self.command, self.path, headers, self.rfile.read(size))
            made.heard.append(heard)
            status, headers, body = made.answer(heard)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: Any) -> None:
            """A client that does not like the certificate is none of the test's faults."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.configure_cert(context)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    made = Stub(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def always(status: int, body: object = None) -> Callable[[Heard], Any]:
    said = json.dumps(body or {"error": {"code": status, "message": "so it is"}}).encode()
    return lambda _: (status, {"Content-Type": "application/json"}, said)


OBJECT = {
    "name": "film.mp4",
    "bucket": BUCKET,
    "generation": "1700000000000001",
    "size": "5",
    "metadata": {"reelsplit-checksum": "sha256:00"},
}


@contextmanager
def store(endpoint: str, wire: Wire = WIRE, **given: Any) -> Iterator[GcsStore]:
    made = GcsStore(GcsConfig(endpoint=endpoint, wire=wire, **{"anonymous": True, **given}))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsService]:
    with gcs_service(tmp_path_factory.mktemp("gcs") / "data") as made:
        made.make_bucket(BUCKET)
        yield made


@pytest.fixture
def gcs(service: GcsService) -> Iterator[GcsStore]:
    with store(service.endpoint, chunk_size=CHUNK) as made:
        yield made


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as made:
        yield made


def target(key: str, data: bytes = DATA, *, replace: bool = False, mark: str = "a") -> NewObject:
    return NewObject(
        bucket=BUCKET,
        key=key,
        label=f"gs://{BUCKET}/{key}",
        size=len(data),
        checksum=f"sha256:{mark}",
        content_type="video/mp4",
        replace=replace,
    )


def send(http: urllib3.PoolManager, upload: Upload, data: bytes = DATA) -> None:
    """What a worker does."""
    grant = upload.grant
    assert isinstance(grant, SessionUpload)
    assert grant.session.headers == {}
    for first in range(0, len(data), grant.chunk_size):
        part = data[first : first + grant.chunk_size]
        span = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        answer = http.request("PUT", grant.session.url, body=part, headers={"Content-Range": span})
        assert answer.status == (200 if first + len(part) == len(data) else 308)


def put(gcs: GcsStore, http: urllib3.PoolManager, new: NewObject, data: bytes = DATA) -> Upload:
    upload = gcs.begin(new)
    send(http, upload, data)
    gcs.finish(upload, [])
    return upload


# --- With the emulator -----------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_an_object_goes_up_and_is_read_in_ranges(
    gcs: GcsStore, http: urllib3.PoolManager, key: str
) -> None:
    new = target(key)
    upload = gcs.begin(new)
    assert gcs.find(BUCKET, key, new.label) is None
    send(http, upload)
    gcs.finish(upload, [])
    gcs.finish(upload, [])

    found = gcs.stat(BUCKET, key, new.label)
    assert found == gcs.find(BUCKET, key, new.label)
    assert (found.pin.size, found.checksum) == (len(DATA), "sha256:a")
    request, expected = gcs.read(BUCKET, key, new.label, found.pin)
    assert request.headers == {}
    answer = http.request("GET", request.url, headers={"Range": "bytes=100000-100999"})
    assert (answer.status, answer.data) == (206, DATA[100000:101000])
    assert expected == {"x-goog-generation": found.pin.tag}
    assert {name: answer.headers[name] for name in expected} == expected


def test_a_replaced_object_is_no_longer_found_in_its_pinned_state(
    gcs: GcsStore, http: urllib3.PoolManager
) -> None:
    new = target("replaced.mp4")
    put(gcs, http, new)
    first = gcs.stat(BUCKET, new.key, new.label).pin
    put(gcs, http, target("replaced.mp4", DATA[:1000], replace=True, mark="b"), DATA[:1000])
    second = gcs.stat(BUCKET, new.key, new.label).pin
    assert first != second
    request, _ = gcs.read(BUCKET, new.key, new.label, first)
    assert http.request("GET", request.url).status == 404
    request, _ = gcs.read(BUCKET, new.key, new.label, second)
    assert http.request("GET", request.url).data == DATA[:1000]


def test_what_is_not_there(gcs: GcsStore) -> None:
    with pytest.raises(StorageError) as raised:
        gcs.stat(BUCKET, "none.mp4", f"gs://{BUCKET}/none.mp4")
    assert raised.value.reason == "SOURCE_NOT_FOUND"
    assert raised.value.metadata == {"uri": f"gs://{BUCKET}/none.mp4"}
    assert not raised.value.transient
    assert gcs.find(BUCKET, "none.mp4", "there") is None
    with pytest.raises(StorageError, match="no such bucket"):
        gcs.stat("nowhere", "none.mp4", "gs://nowhere/none.mp4")


def test_a_bucket_that_is_missing_takes_no_upload(gcs: GcsStore) -> None:
    new = NewObject(
        bucket="nowhere",
        key="a.mp4",
        label="gs://nowhere/a.mp4",
        size=1,
        checksum="sha256:a",
        content_type="video/mp4",
        replace=True,
    )
    with pytest.raises(StorageError, match="no bucket nowhere") as raised:
        gcs.begin(new)
    assert raised.value.reason == "OUTPUT_UNAVAILABLE"
    assert not raised.value.transient


def test_an_upload_that_did_not_arrive_is_not_finished(
    gcs: GcsStore, http: urllib3.PoolManager
) -> None:
    upload = gcs.begin(target("missing.mp4"))
    with pytest.raises(StorageError) as raised:
        gcs.finish(upload, [])
    assert (raised.value.reason, raised.value.transient) == ("OUTPUT_UNAVAILABLE", True)


def test_an_upload_of_another_size_is_not_finished(
    gcs: GcsStore, http: urllib3.PoolManager
) -> None:
    upload = gcs.begin(target("short.mp4"))
    send(http, upload, DATA[:-1])
    with pytest.raises(StorageError) as raised:
        gcs.finish(upload, [])
    assert (raised.value.reason, raised.value.transient) == ("OUTPUT_UNAVAILABLE", True)


@pytest.mark.parametrize("replace", [False, True])
def test_an_upload_that_lies_below_anothers_is_not_finished(
    gcs: GcsStore, http: urllib3.PoolManager, replace: bool
) -> None:
    name = f"raced-{replace}.mp4"
    upload = gcs.begin(target(name, replace=replace))
    put(gcs, http, target(name, mark="other"))
    with pytest.raises(StorageError) as raised:
        gcs.finish(upload, [])
    assert (raised.value.reason, raised.value.transient) == (
        ("OUTPUT_UNAVAILABLE", True) if replace else ("OUTPUT_EXISTS", False)
    )


def test_an_upload_that_is_given_up_leaves_nothing(
    gcs: GcsStore, http: urllib3.PoolManager
) -> None:
    new = target("given-up.mp4")
    upload = gcs.begin(new)
    assert isinstance(upload.grant, SessionUpload)
    http.request(
        "PUT",
        upload.grant.session.url,
        body=DATA[:CHUNK],
        headers={"Content-Range": f"bytes 0-{CHUNK - 1}/{len(DATA)}"},
    )
    gcs.abort(upload)
    gcs.abort(upload)
    assert gcs.find(BUCKET, new.key, new.label) is None
    assert gcs.abort_abandoned(BUCKET, new.key, new.label) == 0


def test_giving_up_takes_back_what_has_appeared_already(
    gcs: GcsStore, http: urllib3.PoolManager
) -> None:
    new = target("appeared.mp4")
    upload = gcs.begin(new)
    send(http, upload)
    assert gcs.find(BUCKET, new.key, new.label) is not None
    gcs.abort(upload)
    assert gcs.find(BUCKET, new.key, new.label) is None


def test_giving_up_leaves_the_same_bytes_of_another(
    gcs: GcsStore, http: urllib3.PoolManager
) -> None:
    new = target("twice.mp4", replace=True)
    put(gcs, http, new)
    upload = gcs.begin(new)
    gcs.abort(upload)
    assert gcs.find(BUCKET, new.key, new.label) is not None


def test_deleting_leaves_the_others(gcs: GcsStore, http: urllib3.PoolManager) -> None:
    kept = target("deleting/kept.mp4")
    put(gcs, http, kept)
    gone = [f"deleting/{index} +%.mp4" for index in range(3)]
    for key in gone:
        put(gcs, http, target(key))
    gcs.delete(BUCKET, [*gone, "deleting/never.mp4"])
    gcs.delete(BUCKET, gone[:1])
    gcs.delete(BUCKET, [])
    assert [gcs.find(BUCKET, key, key) for key in gone] == [None] * 3
    assert gcs.find(BUCKET, kept.key, kept.label) is not None


def test_many_threads_share_a_store(gcs: GcsStore, http: urllib3.PoolManager) -> None:
    put(gcs, http, target("shared.mp4"))
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: gcs.stat(BUCKET, "shared.mp4", "it").pin, range(64)))
    assert len(set(found)) == 1


def test_a_closed_store_opens_again(gcs: GcsStore) -> None:
    for _ in range(2):
        assert gcs.find(BUCKET, "none.mp4", "it") is None
        gcs.close()


def test_a_server_that_was_killed_is_waited_for(tmp_path: Path) -> None:
    with gcs_service(tmp_path / "data") as mortal:
        mortal.make_bucket(BUCKET)
        with (
            store(mortal.endpoint, Wire(timeout=30.0, patience=120.0)) as gcs,
            urllib3.PoolManager(retries=False) as http,
            ThreadPoolExecutor(1) as thread,
        ):
            new = target("kept.mp4")
            upload = gcs.begin(new)
            send(http, upload)
            mortal.kill()
            with store(mortal.endpoint, IMPATIENT) as other:
                with pytest.raises(StorageError, match="cannot be reached") as raised:
                    other.stat(BUCKET, new.key, new.label)
                assert (raised.value.reason, raised.value.transient) == (
                    "SOURCE_UNAVAILABLE",
                    True,
                )
            finishing = thread.submit(gcs.finish, upload, [])
            mortal.start()
            finishing.result(200)


def test_a_worker_uploads_and_reads_with_what_it_is_given(
    gcs: GcsStore, http: urllib3.PoolManager, tmp_path: Path
) -> None:
    scratch = tmp_path / "segment.mp4"
    scratch.write_bytes(DATA)
    new = target("by a worker/ä #1.mp4")
    upload = gcs.begin(new)
    assert uploading.upload(scratch, upload.grant, lambda _: [], new.label) == []
    gcs.finish(upload, [])

    pin = gcs.stat(BUCKET, new.key, new.label).pin

    def grant() -> ObjectGrant:
        request, expected = gcs.read(BUCKET, new.key, new.label, pin)
        return ObjectGrant(
            label=new.label,
            request=request,
            wire=gcs.wire,
            pin=pin,
            expected=expected,
            folder=str(tmp_path),
        )

    file, state = open_source(grant(), grant)
    with file:
        assert state == pin
        file.seek(300_000)
        assert file.read(1000) == DATA[300_000:301_000]
        file.seek(0)
        assert file.read() == DATA
    put(gcs, http, target(new.key, DATA[::-1], replace=True), DATA[::-1])
    file, _ = open_source(grant(), grant)
    with file, pytest.raises(StorageError) as raised:
        file.read(1000)
    assert raised.value.reason == "SOURCE_CHANGED"


# --- With a stub -----------------------------------------------------------------------------


VERBS: dict[str, Callable[[GcsStore], object]] = {
    "stat": lambda gcs: gcs.stat(BUCKET, "film.mp4", "gs://pieces/film.mp4"),
    "find": lambda gcs: gcs.find(BUCKET, "film.mp4", "gs://pieces/film.mp4"),
    "begin": lambda gcs: gcs.begin(target("film.mp4")),
    "delete": lambda gcs: gcs.delete(BUCKET, ["film.mp4"]),
}
SIDES = {"stat": "SOURCE", "find": "OUTPUT", "begin": "OUTPUT", "delete": "OUTPUT"}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("status", "reason", "transient"),
    [
        (400, "UNAVAILABLE", False),
        (401, "FORBIDDEN", False),
        (403, "FORBIDDEN", False),
        (429, "UNAVAILABLE", True),
        (500, "UNAVAILABLE", True),
        (503, "UNAVAILABLE", True),
    ],
)
def test_what_the_storage_refuses(verb: str, status: int, reason: str, transient: bool) -> None:
    with (
        stub(always(status)) as server,
        store(server.endpoint, IMPATIENT) as gcs,
        pytest.raises(StorageError) as raised,
    ):
        VERBS[verb](gcs)
    assert raised.value.reason == f"{SIDES[verb]}_{reason}"
    assert raised.value.transient is transient
    assert raised.value.metadata == {"uri": "gs://pieces/film.mp4"}
    assert "gs://pieces/film.mp4" in raised.value.message
    assert server.endpoint not in raised.value.message
    if not transient:
        assert len(server.heard) == 1


def test_a_limit_that_is_told_as_forbidden_passes() -> None:
    body = {"error": {"code": 403, "errors": [{"reason": "userRateLimitExceeded"}]}}
    with (
        stub(always(403, body)) as server,
        store(server.endpoint, IMPATIENT) as gcs,
        pytest.raises(StorageError, match="fewer requests") as raised,
    ):
        VERBS["begin"](gcs)
    assert raised.value.transient


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_repeated(status: int) -> None:
    def answer(heard: Heard) -> Any:
        return always(status if len(server.heard) < 3 else 200, OBJECT)(heard)

    with stub(answer) as server, store(server.endpoint) as gcs:
        found = gcs.stat(BUCKET, "film.mp4", "it")
        assert len(server.heard) == 3
    assert found.pin == Pin(size=5, tag="1700000000000001")
    assert found.checksum == "sha256:00"


@pytest.mark.parametrize("verb", VERBS)
def test_a_server_that_says_nothing_is_given_up(verb: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with store(endpoint, SILENT) as gcs, pytest.raises(StorageError) as raised:
            VERBS[verb](gcs)
    assert raised.value.reason == f"{SIDES[verb]}_UNAVAILABLE"
    assert raised.value.transient


def test_without_patience_everything_is_tried_once() -> None:
    with (
        stub(always(503)) as server,
        store(server.endpoint, Wire(timeout=20.0, patience=0.0)) as gcs,
        pytest.raises(StorageError) as raised,
    ):
        VERBS["stat"](gcs)
    assert raised.value.transient
    assert len(server.heard) == 1


def session(heard: Heard) -> Any:
    return 200, {"Location": f"http://{heard.headers['host']}/session?upload_id=secret"}, b""


@pytest.mark.parametrize("replace", [False, True])
def test_an_upload_is_begun_with_what_belongs_to_it(replace: bool) -> None:
    with stub(session) as server, store(server.endpoint) as gcs:
        upload = gcs.begin(target("a b.mp4", replace=replace))
    (heard,) = server.heard
    assert ("ifGenerationMatch=0" in heard.path) is not replace
    assert heard.headers["x-upload-content-length"] == str(len(DATA))
    assert heard.headers["x-upload-content-type"] == "video/mp4"
    said = json.loads(heard.body)
    mark, url = upload.mark, upload.handle
    assert said["name"] == "a b.mp4"
    assert said["metadata"] == {"reelsplit-checksum": "sha256:a", "reelsplit-upload": mark}
    assert upload.grant == SessionUpload(
        wire=WIRE, session=upload.grant.session, chunk_size=16 * 2**20
    )
    assert url == upload.grant.session.url == f"{server.endpoint}/session?upload_id=secret"
    with pytest.raises(TypeError):
        gcs.sign(upload, [Part(number=1, size=1, md5="")])


def test_an_upload_over_something_is_refused() -> None:
    with (
        stub(always(412)) as server,
        store(server.endpoint) as gcs,
        pytest.raises(StorageError, match="something at gs://") as raised,
    ):
        gcs.begin(target("film.mp4"))
    assert (raised.value.reason, raised.value.transient) == ("OUTPUT_EXISTS", False)


@pytest.mark.parametrize("status", [404, 499, 410, 400, 503])
def test_giving_up_never_fails(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(heard: Heard) -> Any:
        return session(heard) if heard.method == "POST" else always(status)(heard)

    with stub(answer) as server, store(server.endpoint, IMPATIENT) as gcs:
        gcs.abort(gcs.begin(target("film.mp4")))
    asked = [heard.path for heard in server.heard if heard.method == "DELETE"]
    assert set(asked) == {"/session?upload_id=secret"}
    assert server.heard[-1].method == "GET"
    told = capsys.readouterr().out
    assert ("upload_not_aborted" in told) is (status in (400, 503))
    assert "upload_id" not in told


def batch_answer(heard: Heard, statuses: list[int]) -> Any:
    assert heard.path == "/batch/storage/v1"
    parts = "".join(
        f"--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} Well\r\n"
        "Content-Type: application/json\r\n\r\n{}\r\n"
        for status in statuses
    )
    return 200, {"Content-Type": "multipart/mixed; boundary=x"}, f"{parts}--x--\r\n".encode()


def test_many_are_deleted_together() -> None:
    keys = [f"{index}.mp4" for index in range(150)]

    def answer(heard: Heard) -> Any:
        return batch_answer(heard, [204, 404] * (50 if len(server.heard) == 1 else 25))

    with stub(answer) as server, store(server.endpoint) as gcs:
        gcs.delete(BUCKET, keys)
    assert len(server.heard) == 2
    said = b"".join(heard.body for heard in server.heard).decode()
    assert all(f"/storage/v1/b/{BUCKET}/o/{key}?" in said for key in keys)


def test_what_a_batch_does_not_delete_is_deleted_alone() -> None:
    def answer(heard: Heard) -> Any:
        if heard.method == "POST":
            return batch_answer(heard, [204, 503, 403])
        return always(403 if "c.mp4" in heard.path else 204)(heard)

    with (
        stub(answer) as server,
        store(server.endpoint) as gcs,
        pytest.raises(StorageError, match=r"gs://pieces/c\.mp4") as raised,
    ):
        gcs.delete(BUCKET, ["a.mp4", "b.mp4", "c.mp4"])
    assert raised.value.reason == "OUTPUT_FORBIDDEN"
    assert [heard.path.rpartition("/")[2].partition("?")[0] for heard in server.heard[1:]] == [
        "b.mp4",
        "c.mp4",
    ]


def test_an_object_that_would_be_unpacked_on_the_way_is_refused() -> None:
    packed = OBJECT | {"contentEncoding": "gzip"}
    with stub(always(200, packed)) as server, store(server.endpoint) as gcs:
        assert gcs.find(BUCKET, "film.mp4", "it") is not None
        with pytest.raises(StorageError, match="content encoding") as raised:
            gcs.stat(BUCKET, "film.mp4", "gs://pieces/film.mp4")
    assert raised.value.reason == "SOURCE_UNREADABLE"
    assert raised.value.metadata == {"detail": "Content-Encoding: gzip"}


def test_only_a_certificate_of_the_given_authority_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    wire = Wire(timeout=20.0, patience=20.0, ca=str(tmp_path / "ca.pem"))
    with stub(always(200, OBJECT), authority.issue_cert("127.0.0.1")) as server:
        with store(server.endpoint, wire) as gcs:
            assert gcs.stat(BUCKET, "film.mp4", "it").pin.size == 5
        # It is told at once, not after an hour.
        stubborn = Wire(timeout=20.0, patience=3600.0)
        with store(server.endpoint, stubborn) as gcs, pytest.raises(StorageError) as raised:
            gcs.stat(BUCKET, "film.mp4", "it")
    assert (raised.value.reason, raised.value.transient) == ("SOURCE_UNAVAILABLE", False)
    assert "certificate" in raised.value.message


# --- Credentials -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@dataclass
class Google:
    """Its services for tokens, and the storage, at one stub."""

    expires: int = 3600
    token_status: int = 200
    sts_status: int = 200
    stub: Stub = field(init=False)

    def answer(self, heard: Heard) -> Any:
        count = str(len(self.stub.heard))
        if heard.path == "/token":
            said = {"access_token": "of-the-server", "expires_in": 3600, "token_type": "Bearer"}
            if self.token_status != 200:
                said = {"error": "invalid_grant", "error_description": "account secret-account"}
            return always(self.token_status, said)(heard)
        if heard.path.startswith("/sts"):
            said = {"access_token": f"of-the-object-{count}", "expires_in": self.expires}
            if self.sts_status != 200:
                said = {"error": "invalid_request"}
            return always(self.sts_status, said)(heard)
        return always(200, OBJECT)(heard)

    def asked(self, path: str) -> list[Heard]:
        return [heard for heard in self.stub.heard if heard.path.startswith(path)]


@contextmanager
def google(
    key: str, folder: Path, monkeypatch: pytest.MonkeyPatch, wire: Wire = WIRE, **given: Any
) -> Iterator[tuple[Google, GcsStore]]:
    made = Google(**given)
    with stub(lambda heard: made.answer(heard)) as server:
        made.stub = server
        monkeypatch.setattr(downscoped, "_STS_TOKEN_URL_PATTERN", server.endpoint + "/sts/{}")
        path = folder / "account.json"
        account = {
            "type": "service_account",
            "project_id": "test",
            "private_key_id": "1",
            "private_key": key,
            "client_email": "reelsplit@test.example",
            "token_uri": server.endpoint + "/token",
        }
        path.write_text(json.dumps(account))
        credentials = {"anonymous": False, "credentials_file": str(path)}
        with store(server.endpoint, wire, **credentials) as gcs:
            yield made, gcs


@pytest.mark.parametrize("name", KEYS)
def test_a_worker_gets_a_token_for_one_object(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with google(key, tmp_path, monkeypatch) as (made, gcs):
        pin = gcs.stat(BUCKET, name, "it").pin
        request, _ = gcs.read(BUCKET, name, "it", pin)
        assert made.asked("/storage")[0].headers["authorization"] == "Bearer of-the-server"
    assert request.headers["Authorization"].startswith("Bearer of-the-object-")
    path, query = f"/download/storage/v1/b/{BUCKET}/o/", "alt=media&generation=1700000000000001"
    assert request.url == f"{made.stub.endpoint}{path}{quote(name, safe='')}?{query}"
    (exchange,) = made.asked("/sts")
    said = dict(parse_qsl(exchange.body.decode()))
    assert said["subject_token"] == "of-the-server"
    (rule,) = json.loads(unquote(said["options"]))["accessBoundary"]["accessBoundaryRules"]
    assert rule["availablePermissions"] == ["inRole:roles/storage.objectViewer"]
    assert rule["availableResource"] == f"//storage.googleapis.com/projects/_/buckets/{BUCKET}"
    text = f"projects/_/buckets/{BUCKET}/objects/{name}".replace("\\", "\\\\").replace("'", "\\'")
    assert rule["availabilityCondition"] == {"expression": f"resource.name == '{text}'"}


def test_a_token_is_given_again_while_it_lives(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = Pin(size=5, tag="1")
    with google(key, tmp_path, monkeypatch) as (made, gcs):
        first, _ = gcs.read(BUCKET, "a.mp4", "it", pin)
        again, _ = gcs.read(BUCKET, "a.mp4", "it", pin)
        other, _ = gcs.read(BUCKET, "b.mp4", "it", pin)
    assert first == again
    assert first.headers != other.headers
    assert len(made.asked("/sts")) == 2
    with google(key, tmp_path, monkeypatch, expires=1700) as (made, gcs):
        first, _ = gcs.read(BUCKET, "a.mp4", "it", pin)
        again, _ = gcs.read(BUCKET, "a.mp4", "it", pin)
    assert first != again


@pytest.mark.parametrize("service", ["token_status", "sts_status"])
@pytest.mark.parametrize(
    ("status", "reason", "transient"),
    [(400, "SOURCE_FORBIDDEN", False), (503, "SOURCE_UNAVAILABLE", True)],
)
def test_tokens_that_are_not_given(
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    status: int,
    reason: str,
    transient: bool,
) -> None:
    given = {service: status}
    with google(key, tmp_path, monkeypatch, IMPATIENT, **given) as (made, gcs):
        with pytest.raises(StorageError) as raised:
            gcs.read(BUCKET, "a.mp4", "gs://pieces/a.mp4", Pin(size=5, tag="1"))
        assert (raised.value.reason, raised.value.transient) == (reason, transient)
        for secret in ("secret-account", "of-the-server", made.stub.endpoint, str(tmp_path)):
            assert secret not in raised.value.message


def test_the_url_of_a_session_gets_no_credentials(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with google(key, tmp_path, monkeypatch) as (made, gcs):
        usual = made.answer
        made.answer = lambda heard: (  # type: ignore[method-assign]
            session(heard) if heard.path.startswith("/upload") else usual(heard)
        )
        upload = gcs.begin(target("film.mp4"))
        assert upload.grant.session.headers == {}  # type: ignore[union-attr]
        assert made.asked("/upload")[0].headers["authorization"] == "Bearer of-the-server"
        gcs.abort(upload)
    (given_up,) = made.asked("/session")
    assert given_up.method == "DELETE"
    assert "authorization" not in given_up.headers


@pytest.mark.parametrize("content", [None, "not JSON", '{"type": "something"}'])
def test_credentials_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    config = {"anonymous": False, "credentials_file": str(path)}
    with store("http://127.0.0.1:9", **config) as gcs, pytest.raises(StorageError) as raised:
        gcs.begin(target("film.mp4"))
    assert (raised.value.reason, raised.value.transient) == ("OUTPUT_FORBIDDEN", False)
    assert "has no credentials" in raised.value.message
    assert str(path) not in raised.value.message


def test_no_credentials_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    # The machine is no virtual one of Google's, and is not asked whether it is.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with (
        store("http://127.0.0.1:9", anonymous=False) as gcs,
        pytest.raises(StorageError, match="has no credentials") as raised,
    ):
        gcs.stat(BUCKET, "film.mp4", "it")
    assert raised.value.reason == "SOURCE_FORBIDDEN"


@pytest.mark.parametrize(
    "wrong",
    [{"chunk_size": 1000}, {"chunk_size": 0}, {"anonymous": True, "credentials_file": "a.json"}],
)
def test_settings_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"chunk_size|exclude"):
        GcsConfig(**wrong)


def test_the_library_is_loaded_with_the_first_call() -> None:
    program = (
        "import sys\n"
        "from reelsplit_server.storage.gcs import GcsConfig, GcsStore\n"
        "GcsStore(GcsConfig(anonymous=True)).close()\n"
        "sys.exit(any(name.startswith(('google.cloud', 'google.auth')) for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
