"""Publishing to S3 and deleting there, on real servers of two dialects."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from reelsplit_server.storage.grants import Part, PartsUpload, Wire
from reelsplit_server.storage.s3 import S3Store
from tests.proxy import proxied
from tests.services import Service
from tests.unit.storage.s3_help import (
    body_of,
    failing,
    md5,
    parts_of,
    publish,
    put,
    send,
    send_all,
    store,
    target,
    uploads_of,
)

SMALL = b"a very short film"
PART = 5 * 2**20
LARGE = b"frames! " * (PART // 8) + b"the end"


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["one-part", "two-parts"])
def test_a_segment_appears_at_once_and_whole(service: Service, bucket: str, body: bytes) -> None:
    key = f"whole/&é {len(body)}.mp4"
    with store(service, part_size=PART) as s3:
        new = target(bucket, key, body)
        upload = s3.begin(new)
        tags = send_all(s3, upload, body)
        assert s3.find(bucket, key, "label") is None
        s3.finish(upload, tags)
        found = s3.find(bucket, key, "label")
        assert found is not None
        assert (found.pin.size, found.checksum) == (len(body), new.checksum)
    assert body_of(service, bucket, key) == body
    assert service.api.head_object(Bucket=bucket, Key=key)["ContentType"] == "video/mp4"
    assert uploads_of(service, bucket, key) == []


def test_signature_version_2_publishes_too(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    with store(seaweed, part_size=PART, signature="v2") as s3:
        publish(s3, target(bucket, "v2.mp4", LARGE), LARGE)
    assert body_of(seaweed, bucket, "v2.mp4") == LARGE


def test_a_request_takes_only_the_bytes_that_it_was_signed_for(
    service: Service, bucket: str
) -> None:
    with store(service) as s3:
        upload = s3.begin(target(bucket, "signed.mp4", SMALL))
        (part, _), *_ = parts_of(upload, SMALL)
        (request,) = s3.sign(upload, [part])
        other = SMALL.swapcase()
        status, _, said = send(request, other)
        assert (status, b"BadDigest" in said) == (400, True)
        headers = {"Content-MD5": md5(other)}
        assert send(type(request)(url=request.url, headers=headers), other)[0] == 403
        assert send(type(request)(url=request.url), other)[0] == 403
        s3.abort(upload)
        assert s3.find(bucket, "signed.mp4", "label") is None


def test_nothing_is_replaced_unasked(service: Service, bucket: str) -> None:
    put(service, bucket, "taken.mp4", b"older")
    with store(service) as s3:
        new = target(bucket, "taken.mp4", SMALL)
        upload = s3.begin(new)
        tags = send_all(s3, upload, SMALL)
        error = failing(lambda: s3.finish(upload, tags))
        s3.abort(upload)
    assert (error.reason, error.transient) == ("OUTPUT_EXISTS", False)
    assert error.metadata == {"uri": f"s3://{bucket}/taken.mp4"}
    assert body_of(service, bucket, "taken.mp4") == b"older"
    assert uploads_of(service, bucket, "taken.mp4") == []


def test_the_store_itself_refuses_what_came_in_between(
    seaweed: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = seaweed.bucket("films")
    with store(seaweed) as s3:
        upload = s3.begin(target(bucket, "between.mp4", SMALL))
        tags = send_all(s3, upload, SMALL)
        look = S3Store.find

        def too_early(*arguments: Any) -> Any:
            found = look(*arguments)
            put(seaweed, bucket, "between.mp4", b"other")
            return found

        monkeypatch.setattr(S3Store, "find", too_early)
        error = failing(lambda: s3.finish(upload, tags))
        s3.abort(upload)
    assert error.reason == "OUTPUT_EXISTS"
    assert body_of(seaweed, bucket, "between.mp4") == b"other"


def test_what_may_be_replaced_is(service: Service, bucket: str) -> None:
    put(service, bucket, "old.mp4", b"older")
    with store(service) as s3:
        publish(s3, target(bucket, "old.mp4", SMALL, replace=True), SMALL)
    assert body_of(service, bucket, "old.mp4") == SMALL


@pytest.mark.parametrize("replace", [False, True])
def test_finishing_again_after_a_lost_answer_passes(
    service: Service, bucket: str, replace: bool
) -> None:
    key = f"lost-{replace}.mp4"
    with store(service) as s3:
        upload = s3.begin(target(bucket, key, SMALL, replace=replace))
        tags = send_all(s3, upload, SMALL)
        s3.finish(upload, tags)
        s3.finish(upload, tags)
        s3.finish(upload, tags)
    assert body_of(service, bucket, key) == SMALL


def test_an_upload_that_is_gone_is_told(service: Service, bucket: str) -> None:
    with store(service) as s3:
        upload = s3.begin(target(bucket, "gone.mp4", SMALL))
        tags = send_all(s3, upload, SMALL)
        s3.abort(upload)
        error = failing(lambda: s3.finish(upload, tags))
        assert (error.reason, error.transient) == ("OUTPUT_UNAVAILABLE", True)
        # Another object there is not taken for the one that was lost.
        put(service, bucket, "gone.mp4", b"other")
        upload.target = target(bucket, "gone.mp4", SMALL, replace=True)
        assert failing(lambda: s3.finish(upload, tags)).reason == "OUTPUT_UNAVAILABLE"
        s3.abort(upload)


def test_parts_that_the_store_does_not_have_make_no_object(service: Service, bucket: str) -> None:
    with store(service) as s3:
        upload = s3.begin(target(bucket, "parts.mp4", SMALL))
        send_all(s3, upload, SMALL)
        error = failing(lambda: s3.finish(upload, ['"00000000000000000000000000000000"']))
        assert (error.reason, error.transient) == ("OUTPUT_UNAVAILABLE", True)
        assert s3.find(bucket, "parts.mp4", "label") is None
        s3.abort(upload)


def test_a_worker_cannot_have_more_signed_than_the_upload_has(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    with store(seaweed) as s3:
        upload = s3.begin(target(bucket, "hostile.mp4", SMALL))
        good = md5(SMALL)
        for number, digest in ((0, good), (2, good), (1, "x"), (1, good + "\n"), (1, "")):
            with pytest.raises(ValueError, match="cannot be"):
                s3.sign(upload, [Part(number=number, size=17, md5=digest)])
        for tags in ([], ["a", "b"]):
            with pytest.raises(ValueError, match="tags"):
                s3.finish(upload, tags)
        s3.abort(upload)


def test_parts_grow_with_the_object(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    mib = 2**20
    with store(seaweed) as s3:
        for size, expected in (
            (1, 16 * mib),
            (160_000 * mib, 16 * mib),
            (160_000 * mib + 1, 17 * mib),
            (5 * 2**40, 525 * mib),
        ):
            upload = s3.begin(target(bucket, "huge.mp4", b"", size=size))
            assert isinstance(upload.grant, PartsUpload)
            assert upload.grant.part_size == expected
            assert -(-size // expected) <= 10_000
            s3.abort(upload)


def test_an_aborted_upload_leaves_nothing(service: Service, bucket: str) -> None:
    with store(service) as s3:
        upload = s3.begin(target(bucket, "aborted.mp4", SMALL))
        send_all(s3, upload, SMALL)
        assert uploads_of(service, bucket, "aborted.mp4") == ["aborted.mp4"]
        s3.abort(upload)
        assert uploads_of(service, bucket, "aborted.mp4") == []
        s3.abort(upload)


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_uploads_of_a_dead_server_are_given_up(service: Service, bucket: str, page: int) -> None:
    prefix = f"dead-{page}"
    with store(service) as s3:
        for key in (f"{prefix}/1", f"{prefix}/1", f"{prefix}/1", f"{prefix}/12", f"{prefix}/2"):
            s3.begin(target(bucket, key, SMALL))

        def small_pages(params: dict[str, Any], **_: Any) -> None:
            params["MaxUploads"] = page

        s3._client()._api.meta.events.register(
            "before-parameter-build.s3.ListMultipartUploads", small_pages
        )
        assert s3.abort_abandoned(bucket, f"{prefix}/1", "label") == 3
        assert set(uploads_of(service, bucket, prefix)) == {f"{prefix}/12", f"{prefix}/2"}
        assert s3.abort_abandoned(bucket, f"{prefix}/1", "label") == 0
        s3.abort_abandoned(bucket, f"{prefix}/12", "label")
        s3.abort_abandoned(bucket, f"{prefix}/2", "label")


# --- Deleting ------------------------------------------------------------------------------------


def test_objects_are_deleted_and_missing_ones_do_not_count(service: Service, bucket: str) -> None:
    keys = ["delete/a&b.mp4", "delete/é <1>.mp4", "delete/last.mp4"]
    for key in [*keys, "delete/stays.mp4"]:
        put(service, bucket, key, b"x")
    # The last one lies in a batch of its own, behind 1,000 others.
    many = [*keys[:2], *(f"delete/none{number}" for number in range(998)), keys[2]]
    with store(service) as s3:
        s3.delete(bucket, many)
        s3.delete(bucket, keys)
        s3.delete(bucket, keys[:1])
        s3.delete(bucket, [])
        assert [s3.find(bucket, key, "label") for key in keys] == [None, None, None]
        assert s3.find(bucket, "delete/stays.mp4", "label") is not None


def test_a_store_that_refuses_batches_deletes_one_by_one(seaweed: Service) -> None:
    # SeaweedFS reads the batch call's signature of version 2 wrong.
    bucket = seaweed.bucket("films")
    keys = ["single/1", "single/2"]
    for key in keys:
        put(seaweed, bucket, key, b"x")
    with store(seaweed, signature="v2") as s3:
        s3.delete(bucket, keys)
        assert [s3.find(bucket, key, "label") for key in keys] == [None, None]


def test_the_first_key_that_may_not_be_deleted_is_named(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    for key in ("mine/1", "mine/2"):
        put(seaweed, bucket, key, b"x")
    key, secret = seaweed.reader
    with store(seaweed, access_key_id=key, secret_access_key=secret) as s3:
        error = failing(lambda: s3.delete(bucket, ["mine/1", "mine/2"]))
    assert error.reason == "OUTPUT_FORBIDDEN"
    assert error.metadata == {"uri": f"s3://{bucket}/mine/1"}
    assert body_of(seaweed, bucket, "mine/2") == b"x"


def test_a_bucket_that_is_not_there_is_told(service: Service) -> None:
    with store(service) as s3:
        begun = failing(lambda: s3.begin(target("no-bucket", "film", SMALL)))
        deleted = failing(lambda: s3.delete("no-bucket", ["a", "b"]))
    for error in (begun, deleted):
        assert (error.reason, error.transient) == ("OUTPUT_UNAVAILABLE", False)
        assert "There is no bucket no-bucket" in error.message


def test_who_may_only_read_may_not_write(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    key, secret = seaweed.reader
    with store(seaweed, access_key_id=key, secret_access_key=secret) as s3:
        error = failing(lambda: s3.begin(target(bucket, "film", SMALL)))
    assert error.reason == "OUTPUT_FORBIDDEN"
    assert "s3:PutObject" in error.message


@pytest.mark.parametrize("replace", [False, True])
def test_the_same_bytes_of_two_uploads_are_told_apart(
    service: Service, bucket: str, replace: bool
) -> None:
    key = f"twins-{replace}.mp4"
    with store(service) as s3:
        first, second = (s3.begin(target(bucket, key, SMALL, replace=replace)) for _ in range(2))
        tags = [send_all(s3, upload, SMALL) for upload in (first, second)]
        s3.finish(first, tags[0])
        if replace:
            s3.finish(second, tags[1])
        else:
            assert failing(lambda: s3.finish(second, tags[1])).reason == "OUTPUT_EXISTS"
        last, other = (second, first) if replace else (first, second)
        s3.abort(other)
        assert body_of(service, bucket, key) == SMALL
        # An upload that is given up takes back what it made itself.
        s3.abort(last)
        assert s3.find(bucket, key, "label") is None


def test_an_upload_whose_beginning_was_told_in_vain_is_given_up(
    service: Service, bucket: str
) -> None:
    """The store begins it, and the line is cut before it has said so."""
    others = service.api.create_multipart_upload(Bucket=bucket, Key="twins.mp4")["UploadId"]
    # Stores tell the time of it in whole seconds.
    time.sleep(2.5)
    other = service.api.create_multipart_upload(Bucket=bucket, Key="twins.mp4")["UploadId"]
    service.api.upload_part(
        Bucket=bucket, Key="twins.mp4", UploadId=other, PartNumber=1, Body=SMALL
    )
    steps = iter(["the request goes on", "its answer does not"])
    with proxied(service.endpoint.partition("://")[2]) as proxy:
        began = threading.Event()

        def watch(line: str) -> bool:
            if line.startswith("POST ") and "uploads" in line:
                began.set()
            return False

        def cut() -> float:
            if began.is_set() and next(steps, "") == "its answer does not":
                proxy.cut()
            return 0.0

        proxy.holds, proxy.delay = watch, cut
        patient = Wire(timeout=20.0, patience=20.0)
        with store(service, endpoint=proxy.endpoint, wire=patient) as s3:
            upload = s3.begin(target(bucket, "twins.mp4", SMALL))
            begun = sum("uploads" in line for line in proxy.requests if line.startswith("POST "))
            assert begun == 2
            found = service.api.list_multipart_uploads(Bucket=bucket, Prefix="twins.mp4")
            handles = {each["UploadId"] for each in found["Uploads"]}
            assert handles == {others, other, upload.handle}
            s3.finish(upload, send_all(s3, upload, SMALL))
    assert body_of(service, bucket, "twins.mp4") == SMALL
