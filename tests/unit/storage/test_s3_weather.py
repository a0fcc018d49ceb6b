"""S3 in bad weather: servers that are killed and come back, and answers of unwell ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Pin, Wire
from reelsplit_server.storage.s3 import S3Config, S3Store
from tests.services import seaweedfs
from tests.unit.storage.recorder import Recorder, Reply, Sent, error, recording, script
from tests.unit.storage.s3_help import body_of, failing, put, send_all, store, target
from tests.unit.storage.site import Asked, Sender, Site
from tests.unit.storage.site import head as site_head

BODY = b"frames! " * 100
PATIENT = Wire(timeout=20.0, patience=120.0)
WELL = Reply(200, b"", {"ETag": '"tag"'})
CREATED = Reply(
    200, b"<InitiateMultipartUploadResult><UploadId>up-1</UploadId></InitiateMultipartUploadResult>"
)
COMPLETED = Reply(
    200, b'<CompleteMultipartUploadResult><ETag>"tag"</ETag></CompleteMultipartUploadResult>'
)


def breaks_off(asked: Asked, send: Sender) -> bool:
    """Refuses, and breaks the connection before it has said why."""
    if asked.method == "HEAD":
        send(site_head(403, {"Content-Length": "0"}))
        return True
    send(site_head(403, {"Content-Length": "500"}) + b"<Error>")
    send.reset()
    return False


def test_a_refusal_that_breaks_off_is_asked_for_again() -> None:
    wire = Wire(timeout=20, patience=0.5)
    with Site(breaks_off) as site:
        config = S3Config(
            endpoint=site.url("").rstrip("/"), access_key_id="A", secret_access_key="b", wire=wire
        )
        s3 = S3Store(config)
        try:
            failure = failing(lambda: s3.stat("films", "a.mp4", "s3://films/a.mp4"))
        finally:
            s3.close()
    assert (failure.reason, failure.transient) == ("SOURCE_UNAVAILABLE", True)
    assert len(site.asked) > 2


@contextmanager
def stubbed(
    answer: Callable[[Sent], Reply], wire: Wire = PATIENT, **settings: Any
) -> Iterator[tuple[S3Store, Recorder]]:
    """A store whose server answers as it is told."""
    with recording(answer) as recorder:
        given = {"access_key_id": "AKIASTUB", "secret_access_key": "sekret-of-stub"}
        s3 = S3Store(S3Config(endpoint=recorder.endpoint, wire=wire, **(given | settings)))
        try:
            yield s3, recorder
        finally:
            s3.close()


def unshown(failure: StorageError) -> bool:
    """Whether a failure keeps to itself what the store wrote, and what it was asked with."""
    text = failure.message + str(failure.metadata)
    secrets = ("secret-of-the-store", "AKIASTUB", "sekret", "Signature", "up-1")
    return not [each for each in secrets if each in text]


# --- A server that is killed ---------------------------------------------------------------------


def test_a_store_that_is_killed_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    with seaweedfs(tmp_path / "weed") as weed, store(weed, wire=PATIENT) as s3:
        bucket = weed.bucket("films")
        put(weed, bucket, "source.mp4", BODY)
        before = s3.stat(bucket, "source.mp4", "label")
        upload = s3.begin(target(bucket, "output.mp4", BODY))
        tags = send_all(s3, upload, BODY)

        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(s3.stat(bucket, "source.mp4", "label"))),
            threading.Thread(target=lambda: s3.finish(upload, tags)),
        ]
        weed.kill()
        for thread in threads:
            thread.start()
        # They have to fail at least once before the server comes back.
        threads[0].join(0.3)
        assert [thread.is_alive() for thread in threads] == [True, True]
        weed.restart()
        for thread in threads:
            thread.join(PATIENT.patience)
        assert found == [before]
        assert body_of(weed, bucket, "output.mp4") == BODY


# --- What passes by itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        Reply(500),
        Reply(502, b"<html>a gateway</html>"),
        Reply(503),
        Reply(504),
        Reply(429, headers={"Retry-After": "1"}),
        Reply(lost=True),
    ],
    ids=["500", "502", "503", "504", "429", "lost"],
)
def test_a_look_is_repeated_while_that_can_help(bad: Reply) -> None:
    with stubbed(script(bad, bad, WELL)) as (s3, recorder):
        assert s3.stat("bucket", "film", "label").pin.tag == '"tag"'
        # No try is wasted on asking what is wrong.
        assert [each.method for each in recorder.sent] == ["HEAD"] * 3


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    cut = Reply(200, CREATED.body, cut=True)
    slow = error(503, "SlowDown")
    with stubbed(script(cut, slow, CREATED)) as (s3, recorder):
        assert s3.begin(target("bucket", "film", BODY)).handle == "up-1"
        assert len(recorder.of("POST")) == 3


def test_patience_ends() -> None:
    impatient = Wire(timeout=20.0, patience=0.5)
    with stubbed(script(error(503, "SlowDown")), impatient) as (s3, recorder):
        failure = failing(lambda: s3.begin(target("bucket", "film", BODY)))
        assert len(recorder.sent) > 1
    assert (failure.reason, failure.transient) == ("OUTPUT_UNAVAILABLE", True)
    assert "asks for fewer requests (SlowDown)" in failure.message
    assert unshown(failure)


def test_a_store_that_is_not_there_is_told() -> None:
    with socket.socket() as taken:
        # Bound, and not listening: whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        wire = Wire(timeout=20.0, patience=0.2)
        s3 = S3Store(
            S3Config(endpoint=endpoint, access_key_id="k", secret_access_key="s", wire=wire)
        )
        failure = failing(lambda: s3.stat("bucket", "film", "s3://bucket/film"))
        s3.close()
    assert (failure.reason, failure.transient) == ("SOURCE_UNAVAILABLE", True)
    assert failure.message.startswith("The source s3://bucket/film: 127.0.0.1:")
    assert "cannot be reached" in failure.message


def test_a_store_that_says_nothing_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        wire = Wire(timeout=0.5, patience=0.0)
        s3 = S3Store(
            S3Config(endpoint=endpoint, access_key_id="k", secret_access_key="s", wire=wire)
        )
        failure = failing(lambda: s3.stat("bucket", "film", "label"))
        s3.close()
    assert (failure.reason, failure.transient) == ("SOURCE_UNAVAILABLE", True)
    assert "did not answer in time" in failure.message


def test_closing_ends_the_waiting() -> None:
    stubborn = Wire(timeout=20.0, patience=3600.0)
    failures: list[StorageError] = []
    with stubbed(script(Reply(503)), stubborn) as (s3, recorder):
        look = lambda: failures.append(failing(lambda: s3.stat("b2b", "film", "label")))  # noqa: E731
        thread = threading.Thread(target=look)
        thread.start()
        assert recorder.arrived.wait(60)
        s3.close()
        thread.join(60)
        assert not thread.is_alive()
    assert [each.transient for each in failures] == [True]


# --- What does not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "reason", "words"),
    [
        (400, "ExpiredToken", "FORBIDDEN", "have expired"),
        (403, "RequestTimeTooSkewed", "FORBIDDEN", "clocks"),
        (403, "AccessDenied", "FORBIDDEN", "s3:GetObject"),
        (403, "InvalidAccessKeyId", "FORBIDDEN", "does not know the server's credentials"),
        (403, "InvalidObjectState", "UNAVAILABLE", "archived"),
        (403, "SomethingNew", "FORBIDDEN", "SomethingNew"),
        (404, "NoSuchBucket", "NOT_FOUND", "There is no bucket bucket at 127.0.0.1:"),
        (404, "NoSuchKey", "NOT_FOUND", "no such object"),
        (400, "InvalidArgument", "UNAVAILABLE", "refused the request with InvalidArgument"),
        (301, "PermanentRedirect", "UNAVAILABLE", "elsewhere"),
    ],
)
def test_a_refusal_is_told_and_not_repeated(
    status: int, code: str, reason: str, words: str
) -> None:
    def answer(sent: Sent) -> Reply:
        # As real stores do: nothing but the status says what is wrong with a HEAD.
        return Reply(status) if sent.method == "HEAD" else error(status, code)

    with stubbed(answer) as (s3, recorder):
        failure = failing(lambda: s3.stat("bucket", "film", "s3://bucket/film"))
        assert len(recorder.of("GET")) == 1
    assert (failure.reason, failure.transient) == (f"SOURCE_{reason}", False)
    assert words in failure.message
    assert failure.metadata == {"uri": "s3://bucket/film"}
    assert unshown(failure)


def at_home(sent: Sent) -> bool:
    return "/eu-central-1/s3/" in sent.headers.get("authorization", "")


def by_header(sent: Sent) -> Reply:
    """The region stands in a header, and is told of a HEAD with another status."""
    status = 400 if sent.method == "HEAD" else 301
    return error(status, "PermanentRedirect", **{"x-amz-bucket-region": "eu-central-1"})


def by_body(sent: Sent) -> Reply:
    """The region stands in the body, which a HEAD has none of."""
    if sent.method == "HEAD":
        return Reply(400)
    return error(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>")


@pytest.mark.parametrize("away", [by_header, by_body])
def test_a_bucket_in_another_region_is_followed_at_the_same_endpoint(
    away: Callable[[Sent], Reply],
) -> None:
    def answer(sent: Sent) -> Reply:
        if not at_home(sent):
            return away(sent)
        return WELL if sent.method == "HEAD" else CREATED

    with stubbed(answer, region="us-east-1") as (s3, recorder):
        pin = s3.stat("bucket", "film", "label").pin
        request, _ = s3.read("bucket", "film", "label", pin)
        assert "%2Feu-central-1%2Fs3%2F" in request.url
        assert request.url.startswith(recorder.endpoint)
        recorder.sent.clear()
        s3.begin(target("bucket", "film", BODY))
        assert [at_home(each) for each in recorder.sent] == [True]


def test_a_region_that_leads_nowhere_is_told() -> None:
    more = "<Endpoint>elsewhere.invalid</Endpoint>"
    answers = script(
        error(301, "PermanentRedirect", more, **{"x-amz-bucket-region": "eu-central-1"})
    )
    with stubbed(answers) as (s3, recorder):
        failure = failing(lambda: s3.begin(target("bucket", "film", BODY)))
        assert len(recorder.sent) == 2
    assert failure.reason == "OUTPUT_UNAVAILABLE"
    assert "lies in the region eu-central-1" in failure.message
    assert "elsewhere" not in failure.message


@pytest.mark.parametrize("region", ["x", "evil.invalid/", "A" * 50])
def test_a_region_that_cannot_be_is_not_followed(region: str) -> None:
    with stubbed(script(error(301, "PermanentRedirect", f"<Region>{region}</Region>"))) as (s3, r):
        failure = failing(lambda: s3.begin(target("bucket", "film", BODY)))
        assert len(r.sent) == 1
    assert region not in failure.message.split()


def test_a_server_that_redirects_everything_is_told() -> None:
    # As one does that wants to be spoken to over TLS.
    with stubbed(script(Reply(301, headers={"Location": "https://elsewhere.invalid/"}))) as (s3, r):
        failure = failing(lambda: s3.stat("bucket", "film", "label"))
        assert len(r.sent) == 2
    assert "sends requests for the bucket bucket elsewhere" in failure.message


@pytest.mark.parametrize(
    ("headers", "readable"),
    [
        ({"x-amz-storage-class": "GLACIER"}, False),
        ({"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="true"'}, False),
        ({"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="false"'}, True),
        ({"x-amz-storage-class": "STANDARD_IA"}, True),
        ({"x-amz-archive-status": "DEEP_ARCHIVE_ACCESS"}, False),
    ],
)
def test_an_archived_source_is_told(headers: dict[str, str], readable: bool) -> None:
    with stubbed(script(Reply(200, headers={"ETag": '"tag"', **headers}))) as (s3, _):
        if readable:
            assert s3.stat("bucket", "film", "label").pin.tag == '"tag"'
        else:
            failure = failing(lambda: s3.stat("bucket", "film", "label"))
            assert failure.reason == "SOURCE_UNAVAILABLE"
            assert "restore it" in failure.message


def test_a_weak_tag_is_compared_and_no_condition() -> None:
    with stubbed(script(WELL)) as (s3, _):
        request, expected = s3.read("bucket", "film", "label", Pin(size=1, tag='W/"x"'))
    assert (request.headers, expected) == ({}, {"etag": 'W/"x"'})


def test_a_source_without_a_tag_is_refused() -> None:
    with stubbed(script(Reply(200))) as (s3, _):
        assert failing(lambda: s3.stat("b2b", "film", "label")).reason == "SOURCE_UNAVAILABLE"


# --- The end of an upload ------------------------------------------------------------------------


@contextmanager
def uploading(
    complete: Callable[[Sent], Reply], *, replace: bool = False
) -> Iterator[tuple[S3Store, Recorder, Callable[[], None]]]:
    """An upload whose end is answered as told; the object is there once it was ended with 200."""
    new = target("bucket", "film", BODY, replace=replace)
    begun: dict[str, dict[str, str]] = {}
    there: dict[str, Reply] = {}

    def answer(sent: Sent) -> Reply:
        path = sent.path.partition("?")[0]
        if sent.method == "HEAD":
            return there.get(path, Reply(404))
        if "?uploads" in sent.path:
            begun[path] = {
                name: value for name, value in sent.headers.items() if name.startswith("x-amz-meta")
            }
            return CREATED
        reply = complete(sent)
        if reply.status == 200 and b"<Error>" not in reply.body:
            there[path] = Reply(200, headers=begun[path])
        return reply

    with stubbed(answer) as (s3, recorder):
        upload = s3.begin(new)
        yield s3, recorder, lambda: s3.finish(upload, ['"tag"'])


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchUpload"), (412, "PreconditionFailed")])
def test_an_end_whose_answer_was_lost_is_found_out(replace: bool, status: int, code: str) -> None:
    answers = script(Reply(lost=True), error(status, code))
    with uploading(answers, replace=replace) as (_, recorder, finish):
        finish()
        assert len(recorder.of("POST", "uploadId=up-1")) == 2


def test_an_error_in_the_body_of_a_good_answer_is_seen() -> None:
    with uploading(script(error(200, "InternalError"), COMPLETED)) as (_, recorder, finish):
        finish()
        assert len(recorder.of("POST", "uploadId=up-1")) == 2
    with uploading(script(error(200, "AccessDenied"))) as (_, recorder, finish):
        failure = failing(finish)
        assert (failure.reason, failure.transient) == ("OUTPUT_FORBIDDEN", False)
        assert len(recorder.of("POST", "uploadId=up-1")) == 1


def test_a_conflict_with_another_writer_needs_a_new_upload() -> None:
    with uploading(script(error(409, "ConditionalRequestConflict"))) as (_, recorder, finish):
        failure = failing(finish)
        assert (failure.reason, failure.transient) == ("OUTPUT_UNAVAILABLE", True)
        assert len(recorder.of("POST", "uploadId=up-1")) == 1
        assert unshown(failure)


def test_a_store_that_knows_no_conditions_is_asked_without() -> None:
    def complete(sent: Sent) -> Reply:
        return error(501, "NotImplemented") if "if-none-match" in sent.headers else COMPLETED

    with uploading(complete) as (s3, recorder, finish):
        finish()
        conditions = ["if-none-match" in each.headers for each in recorder.of("POST", "up-1")]
        assert conditions == [True, False]
        s3.finish(s3.begin(target("bucket", "film", BODY, replace=True)), ['"tag"'])
        recorder.sent.clear()
        other = s3.begin(target("bucket", "other", BODY))
        s3.finish(other, ['"tag"'])
        assert not [each for each in recorder.of("POST", "up-1") if "if-none-match" in each.headers]


def test_keys_that_a_batch_could_not_delete_are_tried_once_more() -> None:
    def answer(sent: Sent) -> Reply:
        if sent.method == "DELETE":
            return error(403, "AccessDenied") if "key3" in sent.path else Reply(204)
        errors = "".join(
            f"<Error><Key>{key}</Key><Code>{code}</Code><Message>m</Message></Error>"
            for key, code in (("key2", "InternalError"), ("key3", "AccessDenied"))
        )
        return Reply(200, f"<DeleteResult>{errors}</DeleteResult>".encode())

    with stubbed(answer) as (s3, recorder):
        failure = failing(lambda: s3.delete("bucket", ["key1", "key2", "key3", "key4"]))
        assert [each.path for each in recorder.of("DELETE")] == ["/bucket/key2", "/bucket/key3"]
    assert failure.reason == "OUTPUT_FORBIDDEN"
    assert failure.metadata == {"uri": "s3://bucket/key3"}


def test_a_store_that_lists_no_uploads_has_none_to_give_up() -> None:
    with stubbed(script(error(501, "NotImplemented"))) as (s3, _):
        assert s3.abort_abandoned("bucket", "film", "label") == 0


# --- Uploads whose beginning was told in vain ----------------------------------------------------


def listing(**begun: int) -> Reply:
    """Uploads, by name, that were begun at these seconds."""
    found = "".join(
        f"<Upload><Key>film</Key><UploadId>{name}</UploadId>"
        f"<Initiated>2026-01-01T00:00:{second:02}.000Z</Initiated></Upload>"
        for name, second in begun.items()
    )
    text = f"<ListMultipartUploadsResult>{found}</ListMultipartUploadsResult>"
    return Reply(200, text.encode())


def parts(*numbers: int) -> Reply:
    found = "".join(f"<Part><PartNumber>{number}</PartNumber></Part>" for number in numbers)
    return Reply(200, f"<ListPartsResult>{found}</ListPartsResult>".encode())


def created(name: str) -> Reply:
    return Reply(200, CREATED.body.replace(b"up-1", name.encode()))


def aborted(recorder: Recorder) -> list[str]:
    return [each.path.partition("uploadId=")[2] for each in recorder.of("DELETE")]


@pytest.mark.parametrize(
    "bad",
    [
        Reply(lost=True),
        Reply(200, CREATED.body, cut=True),
        error(500, "InternalError"),
        Reply(502, b"<html>a gateway</html>"),
        Reply(504),
    ],
    ids=["lost", "cut", "500", "502", "504"],
)
def test_only_what_was_begun_in_the_same_while_and_is_nobodys_is_given_up(bad: Reply) -> None:
    replies = [created("mine"), bad, created("up-1")]

    def answer(sent: Sent) -> Reply:
        if sent.method == "POST":
            return replies.pop(0)
        if sent.method == "DELETE":
            return Reply(204)
        if "uploadId=" not in sent.path:
            others = {"mine": 30, "before": 10, "twin": 30, "sending": 30, "gone": 30, "after": 31}
            return listing(**others, **{"up-1": 30})
        if "uploadId=sending" in sent.path:
            return parts(1)
        return error(404, "NoSuchUpload") if "uploadId=gone" in sent.path else parts()

    with stubbed(answer) as (s3, recorder):
        s3.begin(target("bucket", "film", BODY))
        assert s3.begin(target("bucket", "film", BODY)).handle == "up-1"
        assert aborted(recorder) == ["twin"]


def test_what_this_server_no_longer_goes_on_with_is_not_spared() -> None:
    replies = [created("done"), COMPLETED, created("dropped"), Reply(lost=True), created("up-1")]

    def answer(sent: Sent) -> Reply:
        if sent.method == "POST":
            return replies.pop(0)
        if sent.method == "DELETE":
            return Reply(204)
        if sent.method == "HEAD":
            return error(404, "NoSuchKey")
        if "uploadId=" in sent.path:
            return parts()
        return listing(done=30, dropped=30, **{"up-1": 30})

    with stubbed(answer) as (s3, recorder):
        s3.finish(s3.begin(target("bucket", "film", BODY, replace=True)), ["tag"])
        s3.abort(s3.begin(target("bucket", "film", BODY)))
        s3.begin(target("bucket", "film", BODY))
        assert aborted(recorder) == ["dropped", "done", "dropped"]


@pytest.mark.parametrize("bad", [error(503, "SlowDown"), Reply(429)], ids=["503", "429"])
def test_where_a_store_says_that_it_did_nothing_no_twin_is_looked_for(bad: Reply) -> None:
    with stubbed(script(bad, CREATED)) as (s3, recorder):
        s3.begin(target("bucket", "film", BODY))
        assert [each.method for each in recorder.sent] == ["POST", "POST"]


def test_where_parts_may_not_be_listed_nothing_is_given_up() -> None:
    replies = [Reply(lost=True), CREATED]

    def answer(sent: Sent) -> Reply:
        if sent.method == "POST":
            return replies.pop(0)
        if "uploadId=" in sent.path:
            return error(403, "AccessDenied")
        return listing(twin=30, **{"up-1": 30})

    with stubbed(answer) as (s3, recorder):
        assert s3.begin(target("bucket", "film", BODY)).handle == "up-1"
        assert aborted(recorder) == []
