"""The face over HTTP: what the SDKs make of its answers, and what is refused before that."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alibabacloud_ice20201109 import models
from alibabacloud_tea_openapi.exceptions import (
    ClientException,
    ServerException,
    ThrottlingException,
)
from alibabacloud_tea_openapi.utils import Utils

from reelsplit_server import metrics, tracing
from reelsplit_server.app.errors import AppError, Kind, Violation, invalid, job_not_found
from reelsplit_server.ims import face as faces
from reelsplit_server.ims import server as servers
from reelsplit_server.ims.face import Face
from reelsplit_server.ims.received import MOST_BYTES
from reelsplit_server.ims.server import ImsServer
from tests.ims import ice, received, submission, submit
from tests.unit.ims.faces import Faced, facing
from tests.unit.ims.recorded import NAMES, NOW, raw

# The SDK asks for the time in a way that newer versions of Python warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")
JOB = "0123456789abcdef" * 2
OUTPUT = {"Bucket": "test-bucket", "ObjectKey": "a_{index}.mp4"}
SPLIT = {"Mode": "BasicClipSplit"}


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faced]:
    with facing(tmp_path_factory.mktemp("face")) as made:
        yield made


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "face" in request.fixturenames:
        found: Faced = request.getfixturevalue("face")
        found.now = None
        found.cases.answer = lambda *given, **named: None
        found.cases.calls.clear()


def get(client: Any, job_id: str = JOB) -> Any:
    return client.get_smart_handle_job(models.GetSmartHandleJobRequest(job_id=job_id))


def code_of(answer: bytes) -> tuple[int, str]:
    """Status and code of an error, which must be in the form that the SDKs read."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)
    assert list(error) == ["RequestId", "HostId", "Code", "Message", "Recommend"]
    assert f"x-acs-request-id: {error['RequestId']}".encode() in head
    assert b"content-type: application/json" in head
    return int(head.split(b" ")[1]), error["Code"]


# --- The recorded requests -------------------------------------------------------------------


def test_recorded_requests_are_let_in_once(tmp_path: Path) -> None:
    refused = (b"InvalidTimeStamp", b"Signature", b"InvalidAccessKeyId")
    with facing(tmp_path, now=NOW) as face:
        for name in NAMES:
            first = face.send(raw(name))
            assert not any(word in first for word in refused), name
            assert code_of(face.send(raw(name))) == (400, "SignatureNonceUsed"), name
    with facing(tmp_path, now=NOW) as face:
        for name in NAMES:
            assert code_of(face.send(raw(name))) == (400, "SignatureNonceUsed"), name


@pytest.mark.parametrize("minutes", [-24, 23])
def test_recorded_requests_have_their_time(face: Faced, minutes: int) -> None:
    face.now = NOW + timedelta(minutes=minutes)
    for name in NAMES:
        assert code_of(face.send(raw(name))) == (400, "InvalidTimeStamp.Expired"), name


def test_the_borders_of_the_clock(face: Faced) -> None:
    signed = datetime.fromisoformat("2026-11-21T19:18:03+00:00")
    request = raw("02_GetSmartHandleJob")
    for skew, expected in ((901, "InvalidTimeStamp.Expired"), (-901, "InvalidTimeStamp.Expired")):
        face.now = signed + timedelta(seconds=skew)
        assert code_of(face.send(request))[1] == expected
    face.now = signed + timedelta(seconds=900)
    assert code_of(face.send(request))[1] == "JobNotFound"


def test_unknown_actions(face: Faced) -> None:
    face.now = NOW
    assert code_of(face.send(raw("11_SearchMedia"))) == (404, "InvalidApi.NotFound")
    assert face.cases.calls == []


def test_the_signed_action_counts(face: Faced) -> None:
    face.now = NOW
    request = raw("15_SubmitSegmentationJob_signature_algorithm_v2_HMAC-SHA1")
    # A header says something else, and is not signed.
    request = request.replace(
        b"x-acs-action: SubmitSegmentationJob", b"x-acs-action: DeleteSmartJob"
    )
    face.cases.answer = lambda name, *given: _Submitted()
    face.send(request)
    assert [name for name, _, _ in face.cases.calls] == ["submit"]


class _Submitted:
    job_id = JOB


# --- Errors as exceptions --------------------------------------------------------------------

_TEXT = "why"
_ROWS: list[tuple[AppError, type[Exception], str]] = [
    (
        invalid([Violation(field="job_id", description="is odd")]),
        ClientException,
        "InvalidParameter",
    ),
    (job_not_found(JOB), ClientException, "JobNotFound"),
    (
        AppError(Kind.ALREADY_EXISTS, "CLIENT_TOKEN_REUSED", _TEXT),
        ClientException,
        "IdempotentParameterMismatch",
    ),
    (AppError(Kind.WRONG_STATE, "JOB_STATE", _TEXT), ClientException, "OperationDenied"),
    (AppError(Kind.DENIED, "PERMISSION_DENIED", _TEXT), ClientException, "Forbidden"),
    (AppError(Kind.DENIED, "OUTPUT_FORBIDDEN", _TEXT), ClientException, "BucketNotAuthorized"),
    (
        invalid([Violation(field="spec.input.uri", description="x", reason="PERMISSION_DENIED")]),
        ClientException,
        "BucketNotAuthorized",
    ),
    (
        AppError(Kind.EXHAUSTED, "TOO_MANY_JOBS", _TEXT, retry_after=5),
        ClientException,
        "JobLimitExceeded",
    ),
    (
        AppError(Kind.EXHAUSTED, "TOO_MANY_JOBS_OF_CALLER", _TEXT, retry_after=1.5),
        ThrottlingException,
        "Throttling.User",
    ),
    (
        AppError(Kind.EXHAUSTED, "TOO_MANY_CALLS", _TEXT, retry_after=1.5),
        ThrottlingException,
        "Throttling.User",
    ),
    (AppError(Kind.INTERNAL, "INTERNAL", _TEXT), ServerException, "InternalError"),
    (
        AppError(Kind.UNAVAILABLE, "SHUTTING_DOWN", _TEXT, retry_after=1),
        ServerException,
        "ServiceUnavailable",
    ),
]


@pytest.mark.parametrize(("error", "kind", "code"), _ROWS, ids=[code for _, _, code in _ROWS])
def test_errors_of_use_cases(
    face: Faced, error: AppError, kind: type[Exception], code: str
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise error

    face.cases.answer = fail
    with pytest.raises(kind) as caught:
        get(ice(face.address))
    raised: Any = caught.value
    assert type(raised) is kind
    assert raised.code == code
    assert raised.request_id
    assert raised.request_id in raised.message
    if code == "Throttling.User":
        assert raised.retry_after == 1500


def test_a_fault_tells_nothing_of_itself(face: Faced) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise RuntimeError("hunter2")

    face.cases.answer = fail
    with pytest.raises(ServerException) as caught:
        get(ice(face.address))
    assert (caught.value.code, caught.value.status_code) == ("InternalError", 500)
    assert "hunter2" not in str(caught.value)


def failing(code: str, work: Any) -> Any:
    """The exception that the SDK raises with a code."""
    with pytest.raises(ClientException) as caught:
        work()
    assert caught.value.code == code, caught.value
    return caught.value


def test_wrong_credentials(face: Faced, monkeypatch: pytest.MonkeyPatch) -> None:
    failing("InvalidAccessKeyId.NotFound", lambda: get(ice(face.address, key_id="nobody")))
    failing("SignatureDoesNotMatch", lambda: get(ice(face.address, secret="another-secret")))
    other = "ACS3-RSA-SHA256"
    with monkeypatch.context() as patch:
        patch.setattr(
            Utils, "get_authorization", lambda *given: f"{other} Credential=a,SignedHeaders=b"
        )
        failing("InvalidSignatureMethod", lambda: get(ice(face.address)))
    face.change(active=False)
    try:
        failing("InvalidAccessKeyId.Inactive", lambda: get(ice(face.address)))
        failing("SignatureDoesNotMatch", lambda: get(ice(face.address, secret="another-secret")))
    finally:
        face.change(active=True)
    assert face.cases.calls == []


def test_wrong_times_and_nonces(face: Faced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Utils, "get_nonce", lambda: "the-same")
    failing("JobNotFound", lambda: get(ice(face.address), "f" * 31))
    failing("SignatureNonceUsed", lambda: get(ice(face.address)))
    monkeypatch.undo()
    monkeypatch.setattr(Utils, "get_timestamp", lambda: "2001-01-01T00:00:00Z")
    failing("InvalidTimeStamp.Expired", lambda: get(ice(face.address)))
    monkeypatch.setattr(Utils, "get_timestamp", lambda: "today")
    failing("InvalidTimeStamp.Format", lambda: get(ice(face.address)))


def test_a_missing_action(face: Faced) -> None:
    from alibabacloud_tea_openapi import utils_models
    from darabonba.runtime import RuntimeOptions

    parameters = utils_models.Params(
        action="",
        version="2020-11-09",
        protocol="HTTP",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    client = ice(face.address)
    request = utils_models.OpenApiRequest(query={})
    failing("MissingAction", lambda: client.call_api(parameters, request, RuntimeOptions()))


def test_parameters_that_are_missing(face: Faced) -> None:
    client = ice(face.address)
    error = failing("MissingParameter", lambda: submit(client))
    assert "InputConfig" in error.message
    failing("MissingParameter", lambda: get(client, ""))
    for ids in ("", ",", " , "):
        request = models.DeleteSmartJobRequest(job_id=ids)
        failing("MissingParameter", lambda request=request: client.delete_smart_job(request))
        batch = models.BatchGetMediaInfosRequest(media_ids=ids)
        failing("MissingParameter", lambda batch=batch: client.batch_get_media_infos(batch))
    assert face.cases.calls == []


@pytest.mark.parametrize("rate", [2.0])
def test_one_key_may_send_so_many_requests(tmp_path: Path, rate: float) -> None:
    with facing(tmp_path, rate=rate) as face:
        face.now = datetime.fromisoformat("2026-11-21T19:18:03+00:00")
        names = ("02_GetSmartHandleJob", "03_ListSmartJobs", "04_DeleteSmartJob")
        answers = [face.send(raw(name)) for name in names]
        assert [b"Throttling" in answer for answer in answers] == [False, False, True]
        assert code_of(answers[2]) == (400, "Throttling.User")
        assert b"x-acs-retry-after: 500\r\n" in answers[2]
        # Refused before the nonce was taken, so the same request may come again.
        face.now += timedelta(seconds=0.5)
        assert code_of(face.send(raw(names[2])))[1] == "JobNotFound"


def test_so_many_requests_are_answered_at_once(tmp_path: Path) -> None:
    with facing(tmp_path, most_calls=1) as face:
        inside, leave = [], []

        async def wait() -> None:
            inside.append(asyncio.get_running_loop())
            leave.append(asyncio.Event())
            await leave[0].wait()
            raise job_not_found(JOB)

        face.cases.answer = lambda *given, **named: wait()
        host, _, port = face.address.rpartition(":")
        with socket.create_connection((host, int(port)), 20) as line:
            face.now = NOW
            line.sendall(raw("06_GetEventCallback"))
            while not leave:
                pass
            with pytest.raises(ThrottlingException) as caught:
                get(ice(face.address))
            assert caught.value.code == "Throttling.User"
            assert caught.value.retry_after == 1000
            inside[0].call_soon_threadsafe(leave[0].set)
            assert code_of(received(line)) == (404, "JobNotFound")


def test_bodies_that_do_not_come_keep_nobody_else_out(tmp_path: Path) -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"
    with facing(tmp_path, most_calls=1) as face, contextlib.ExitStack() as stack:
        host, _, port = face.address.rpartition(":")
        for _ in range(8):
            line = stack.enter_context(socket.create_connection((host, int(port)), 20))
            line.sendall(head)
        face.cases.answer = lambda *given, **named: _fail()
        for _ in range(3):
            failing("JobNotFound", lambda: get(ice(face.address)))
        # They have their own bound.
        for _ in range(8):
            line = stack.enter_context(socket.create_connection((host, int(port)), 20))
            line.sendall(head)
        with pytest.raises(ThrottlingException):
            _until_refused(face)


@pytest.mark.parametrize(
    "begin",
    [b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n", b"GET /?a="],
    ids=["body", "head"],
)
def test_what_requests_hold_before_they_are_let_in_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(faces, "_MOST_HELD", 2**18)
    whole = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b"b" * 200_000
    with facing(tmp_path) as face:
        host, _, port = face.address.rpartition(":")
        with socket.create_connection((host, int(port)), 20) as line:
            line.sendall(begin + b"b" * 200_000)
            while face.budget.left > 100_000:
                time.sleep(0.01)
            assert code_of(face.send(whole)) == (400, "Throttling.User")
            # Most requests are small.
            face.cases.answer = lambda *given, **named: _fail()
            failing("JobNotFound", lambda: get(ice(face.address)))
        while face.budget.left < 2**18:
            time.sleep(0.01)
        assert code_of(face.send(whole)) != (400, "Throttling.User")
        assert face.budget.left == 2**18


def _fail() -> None:
    raise job_not_found(JOB)


def _until_refused(face: Faced) -> None:
    for _ in range(100):
        failing("JobNotFound", lambda: get(ice(face.address)))


# --- What HTTP allows ------------------------------------------------------------------------


def test_a_prefix_is_no_part_of_what_is_signed(face: Faced) -> None:
    face.now = NOW
    request = raw("04_DeleteSmartJob").replace(b"POST /?", b"POST /some/prefix/?")
    assert code_of(face.send(request)) == (404, "JobNotFound")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(face: Faced, method: str) -> None:
    request = f"{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".encode()
    assert code_of(face.send(request)) == (400, "InvalidParameter")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
        # Longer than what is taken by more than asyncio reads at once: what comes with its end in
        # one piece is never seen to be incomplete.
        b"GET /?a=" + b"b" * (MOST_BYTES + 2**19) + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"b" * (MOST_BYTES + 2**19) + b"\r\n\r\n",
    ],
)
def test_what_is_no_request(face: Faced, request_bytes: bytes) -> None:
    answer = face.send(request_bytes)
    assert code_of(answer) == (400, "InvalidParameter")


def test_those_who_send_no_request_are_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_LINGER", 0.05)
    with facing(tmp_path) as face:
        host, _, port = face.address.rpartition(":")
        with socket.create_connection((host, int(port)), 20) as line:
            line.sendall(b"nonsense\r\n\r\n")
            while line.recv(4096):
                pass


def test_a_query_of_more_than_a_megabyte(face: Faced) -> None:
    error = failing(
        "InvalidParameter",
        lambda: submit(ice(face.address), job_params="x" * MOST_BYTES),
    )
    assert "The query is longer than 1,048,576 bytes" in error.message


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_more_than_a_megabyte(face: Faced, chunked: bool) -> None:
    connection = http.client.HTTPConnection(face.address, timeout=20)
    body: Any = b"a=" + b"b" * MOST_BYTES
    if chunked:
        body = iter([body[:1000], body[1000:]])
    connection.request("POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert (answer.status, told["Code"]) == (400, "InvalidParameter")
    assert "The body is longer" in told["Message"]


def test_bodies_of_other_kinds(face: Faced) -> None:
    request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    answer = face.send(request + b"content-length: 2\r\n\r\n{}")
    assert code_of(answer) == (400, "InvalidParameter")
    assert b"application/x-www-form-urlencoded" in answer


def test_five_thousand_ranges_in_the_query(face: Faced) -> None:
    face.cases.answer = lambda *given, **named: _Submitted()
    ranges = [{"In": n + 0.125, "Out": n + 0.875} for n in range(5000)]
    params = {"Mode": "UserDefined", "Ranges": ranges}
    client = ice(face.address)
    assert submit(client, **submission("oss://test-bucket/a.mp4", params, OUTPUT)) == JOB
    ((_, (_, token, spec), _),) = face.cases.calls
    assert token == ""
    assert len(spec.mode.ranges) == 5000
    assert (spec.mode.ranges[4999].start_offset, spec.mode.ranges[4999].end_offset) == (
        4999.125,
        4999.875,
    )


# --- What is counted -------------------------------------------------------------------------


def counted(method: str, code: str) -> float:
    """How many calls were answered with a code."""
    labels = {"face": "ims", "method": method, "code": code}
    return metrics.REGISTRY.get_sample_value("reelsplit_calls_total", labels) or 0.0


def test_calls_are_counted_by_their_code(face: Faced) -> None:
    names = ("JobNotFound", "Throttling.User", "200")
    before = [counted("GetSmartHandleJob", name) for name in names]
    face.cases.answer = lambda *given, **named: _fail()
    failing("JobNotFound", lambda: get(ice(face.address)))

    def busy(*given: Any, **named: Any) -> None:
        raise AppError(Kind.EXHAUSTED, "TOO_MANY_CALLS", _TEXT)

    face.cases.answer = busy
    failing("Throttling.User", lambda: get(ice(face.address)))
    after = [counted("GetSmartHandleJob", name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 0]
    before_callbacks = counted("SetEventCallback", "200")
    face.cases.answer = lambda *given, **named: None
    ice(face.address).set_event_callback(models.SetEventCallbackRequest(callback_type="HTTP"))
    assert counted("SetEventCallback", "200") == before_callbacks + 1


@pytest.mark.parametrize("leaves", [True, False])
async def test_those_who_leave_are_counted_too(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    ended = []

    class Seen(tracing.Span):
        def end(self, at: int | None = None) -> None:
            ended.append(at)

    monkeypatch.setattr(tracing, "start", lambda *given, **named: Seen(None))
    nothing: Any = object()
    face = Face(nothing, nothing, 4)
    asked = asyncio.Event()

    async def receive() -> Any:
        asked.set()
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "headers": [], "query_string": b"", "path": "/"}
    before = counted("other", "499")
    task = asyncio.create_task(face(scope, receive, nothing))
    await asked.wait()
    if not leaves:
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() != leaves
    assert counted("other", "499") == before + 1
    assert len(ended) == 1


def test_answers_leave_at_once() -> None:
    face: Any = SimpleNamespace(budget=None)
    server = ImsServer(face)
    server.bind("127.0.0.1:0")
    assert server._socket is not None
    with server._socket as made:
        # By this asyncio knows that it may turn Nagle's algorithm off.
        assert made.proto == socket.IPPROTO_TCP
