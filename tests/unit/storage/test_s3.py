"""Reading from S3, on real servers of two dialects, and what is told when it fails."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from reelsplit_server.storage.grants import Pin, Request, Wire
from reelsplit_server.storage.s3 import S3Config, S3Store
from tests.services import Service
from tests.unit.storage.s3_help import failing, get, put, store

AWKWARD = "a folder/film & more+ü'.mp4"


# --- Reading -------------------------------------------------------------------------------------


def test_an_object_is_pinned_and_read_by_a_signed_request(service: Service, bucket: str) -> None:
    put(service, bucket, AWKWARD, b"0123456789", Metadata={"reelsplit-checksum": "sha256:1"})
    with store(service) as s3:
        found = s3.stat(bucket, AWKWARD, "s3://label")
        request, expected = s3.read(bucket, AWKWARD, "s3://label", found.pin)
    md5 = hashlib.md5(b"0123456789").hexdigest()
    assert found.pin == Pin(size=10, tag=f'"{md5}"', version="")
    assert found.checksum == "sha256:1"
    assert expected == {"etag": found.pin.tag}
    assert request.headers == {"If-Match": found.pin.tag}
    status, body, headers = get(request, Range="bytes=3-5")
    # rclone sends the range, and yet says 200.
    assert (status, body) == (206 if service.tls_endpoint else 200, b"345")
    assert headers["content-range"] == "bytes 3-5/10"
    assert headers["etag"] == expected["etag"]


def test_a_signed_request_reads_only_the_pinned_state(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    put(seaweed, bucket, "film", b"first")
    with store(seaweed) as s3:
        pin = s3.stat(bucket, "film", "label").pin
        request, _ = s3.read(bucket, "film", "label", pin)
        put(seaweed, bucket, "film", b"other")
        assert s3.stat(bucket, "film", "label").pin != pin
    assert get(request)[0] == 412
    # The condition is part of what was signed: it cannot be left out, nor be another.
    assert get(Request(url=request.url))[0] == 403
    assert get(request, **{"If-Match": '"something else"'})[0] == 403


def test_a_version_is_pinned_where_the_bucket_keeps_some(seaweed: Service) -> None:
    bucket = seaweed.bucket("versions")
    put(seaweed, bucket, "before", b"before")
    seaweed.api.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(seaweed, bucket, "film", b"first")
    with store(seaweed) as s3:
        # What was there before has the version "null", which is none.
        assert s3.stat(bucket, "before", "label").pin.version == ""
        pin = s3.stat(bucket, "film", "label").pin
        assert pin.version
        request, _ = s3.read(bucket, "film", "label", pin)
        put(seaweed, bucket, "film", b"other")
        assert s3.stat(bucket, "film", "label").pin != pin
    assert parse_qs(urlsplit(request.url).query)["versionId"] == [pin.version]
    assert get(request)[:2] == (200, b"first")


def test_signature_version_2_reads_in_the_pinned_state_too(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    put(seaweed, bucket, "film", b"first")
    with store(seaweed, signature="v2") as s3:
        pin = s3.stat(bucket, "film", "label").pin
        request, _ = s3.read(bucket, "film", "label", pin)
    assert "AWSAccessKeyId=" in request.url
    assert "X-Amz-Algorithm" not in request.url
    assert get(request)[:2] == (200, b"first")
    put(seaweed, bucket, "film", b"other")
    assert get(request)[0] == 412


def test_tls_is_verified_with_the_ca_that_was_given(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    put(seaweed, bucket, "film", b"first")
    with store(seaweed, endpoint=seaweed.tls_endpoint, ca=seaweed.ca) as s3:
        assert s3.stat(bucket, "film", "label").pin.size == 5
        # Workers have to trust the same one.
        assert s3.wire.ca == seaweed.ca
    patient = Wire(timeout=20.0, patience=3600.0)
    with store(seaweed, endpoint=seaweed.tls_endpoint, wire=patient) as s3:
        error = failing(lambda: s3.stat(bucket, "film", "label"))
    assert (error.reason, error.transient) == ("SOURCE_UNAVAILABLE", False)
    assert "certificate" in error.message


def test_what_lies_at_a_target_is_found(service: Service, bucket: str) -> None:
    put(service, bucket, "there", b"0123", Metadata={"reelsplit-checksum": "sha256:2"})
    put(service, bucket, "strange", b"0123")
    with store(service) as s3:
        found = s3.find(bucket, "there", "label")
        assert found is not None
        assert (found.pin.size, found.checksum) == (4, "sha256:2")
        strange = s3.find(bucket, "strange", "label")
        assert strange is not None
        assert strange.checksum is None
        assert s3.find(bucket, "not/there", "label") is None


def test_several_threads_share_a_store(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    for number in range(8):
        put(seaweed, bucket, f"film{number}", b"x" * number)
    sizes: dict[int, int] = {}
    with store(seaweed) as s3:

        def work(number: int) -> None:
            for _ in range(5):
                sizes[number] = s3.stat(bucket, f"film{number}", "label").pin.size

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sizes == {number: number for number in range(8)}


# --- What signed requests are good for -----------------------------------------------------------


def test_signed_requests_live_as_long_as_was_set(seaweed: Service) -> None:
    with store(seaweed, lifetime=600) as s3:
        request, _ = s3.read("bucket", "key", "label", Pin(size=1, tag='"x"'))
    assert parse_qs(urlsplit(request.url).query)["X-Amz-Expires"] == ["600"]


def test_signed_requests_do_not_outlive_temporary_credentials(
    seaweed: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=1900)
    (tmp_path / "give").write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "AKIATEMP", "SecretAccessKey": "sekret", '
        f'"SessionToken": "token", "Expiration": "{ends.isoformat()}"}}\'\n'
    )
    (tmp_path / "give").chmod(0o700)
    (tmp_path / "config").write_text(
        f"[profile temporary]\ncredential_process = {tmp_path / 'give'}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    keys = {"access_key_id": None, "secret_access_key": None, "profile": "temporary"}
    with store(seaweed, **keys, lifetime=3600) as s3:
        request, _ = s3.read("bucket", "key", "label", Pin(size=1, tag='"x"'))
    query = parse_qs(urlsplit(request.url).query)
    assert query["X-Amz-Security-Token"] == ["token"]
    assert int(query["X-Amz-Expires"][0]) == 1800


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"region": "us-east-1"}, "https://films.s3.us-east-1.amazonaws.com/a/b"),
        ({"region": "eu-west-1"}, "https://films.s3.eu-west-1.amazonaws.com/a/b"),
        ({"endpoint": "https://minio.example:9000"}, "https://minio.example:9000/films/a/b"),
        (
            {"endpoint": "https://minio.example:9000", "addressing": "virtual"},
            "https://films.minio.example:9000/a/b",
        ),
        (
            {"region": "eu-west-1", "addressing": "path"},
            "https://s3.eu-west-1.amazonaws.com/films/a/b",
        ),
    ],
)
def test_buckets_are_addressed_as_was_set(
    settings: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere.invalid")
    s3 = S3Store(S3Config(access_key_id="k", secret_access_key="s", **settings))
    request, _ = s3.read("films", "a/b", "label", Pin(size=1, tag='"x"'))
    s3.close()
    assert request.url.partition("?")[0] == url


def test_buckets_with_dots_stand_in_the_path() -> None:
    # No certificate fits their names.
    s3 = S3Store(S3Config(access_key_id="k", secret_access_key="s", region="eu-west-1"))
    request, _ = s3.read("films.example", "a", "label", Pin(size=1, tag='"x"'))
    s3.close()
    assert request.url.startswith("https://s3.eu-west-1.amazonaws.com/films.example/a?")


def test_an_anonymous_store_signs_nothing(
    seaweed: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sekret-of-environment")
    nobody = {"access_key_id": None, "secret_access_key": None, "anonymous": True}
    with store(seaweed, **nobody) as s3:
        request, _ = s3.read("bucket", "key", "label", Pin(size=1, tag='"x"'))
    assert request.url == f"{seaweed.endpoint}/bucket/key"


# --- What is told --------------------------------------------------------------------------------


def test_what_is_missing_is_told_apart(service: Service, bucket: str) -> None:
    with store(service) as s3:
        no_object = failing(lambda: s3.stat(bucket, "none", f"s3://{bucket}/none"))
        no_bucket = failing(lambda: s3.stat("no-bucket", "none", "s3://no-bucket/none"))
        no_target = failing(lambda: s3.find("no-bucket", "none", "s3://no-bucket/none"))
    assert no_object.reason == no_bucket.reason == "SOURCE_NOT_FOUND"
    assert no_object.metadata == {"uri": f"s3://{bucket}/none"}
    assert no_object.message == f"The source s3://{bucket}/none: There is no such object."
    host = service.endpoint.removeprefix("http://")
    assert no_bucket.message.endswith(f"There is no bucket no-bucket at {host}.")
    assert no_target.reason == "OUTPUT_UNAVAILABLE"
    assert "no bucket no-bucket" in no_target.message
    assert not any(each.transient for each in (no_object, no_bucket, no_target))


@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
def test_wrong_credentials_are_told_without_them(service: Service, bucket: str, wrong: str) -> None:
    patient = Wire(timeout=20.0, patience=3600.0)
    with store(service, **{wrong: "WRONGWRONG"}, wire=patient) as s3:
        read = failing(lambda: s3.stat(bucket, "film", "s3://film"))
        write = failing(lambda: s3.find(bucket, "film", "s3://film"))
    assert (read.reason, write.reason) == ("SOURCE_FORBIDDEN", "OUTPUT_FORBIDDEN")
    assert "does not know the server's credentials" in read.message
    for secret in ("WRONG", service.access_key, service.secret_key):
        assert secret not in read.message + write.message


def test_missing_rights_are_told(seaweed: Service) -> None:
    bucket = seaweed.bucket("films")
    put(seaweed, bucket, "film", b"film")
    key, secret = seaweed.reader
    with store(seaweed, access_key_id=key, secret_access_key=secret) as s3:
        assert s3.stat(bucket, "film", "label").pin.size == 4
        error = failing(lambda: s3.delete(bucket, ["film"]))
    assert error.reason == "OUTPUT_FORBIDDEN"
    assert f"s3://{bucket}/film" in error.message
    assert "s3:DeleteObject" in error.message


def test_a_wrong_clock_is_told(seaweed: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth

    bucket = seaweed.bucket("films")
    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *a, **k: now(*a, **k) - timedelta(hours=3)
    )
    with store(seaweed) as s3:
        error = failing(lambda: s3.stat(bucket, "film", "label"))
    assert error.reason == "SOURCE_FORBIDDEN"
    assert "clocks" in error.message


def test_a_server_without_credentials_says_so(
    seaweed: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with store(seaweed, access_key_id=None, secret_access_key=None) as s3:
        error = failing(lambda: s3.stat("bucket", "film", "label"))
        signing = failing(lambda: s3.read("bucket", "film", "label", Pin(size=1, tag='"x"')))
    with store(seaweed, access_key_id=None, secret_access_key=None, profile="none") as s3:
        profile = failing(lambda: s3.stat("bucket", "film", "label"))
    for each in (error, signing, profile):
        assert each.reason == "SOURCE_FORBIDDEN"
        assert "has no credentials" in each.message


def test_a_name_that_no_bucket_has_is_told(seaweed: Service) -> None:
    with store(seaweed) as s3:
        error = failing(lambda: s3.stat("x" * 80, "film", "label"))
    assert error.reason == "SOURCE_NOT_FOUND"


def test_nothing_secret_is_shown(seaweed: Service) -> None:
    config = S3Config(access_key_id="AKIASHOWN", secret_access_key="sekret", session_token="tok3n")
    shown = repr(config) + repr(S3Store(config))
    assert not [each for each in ("AKIASHOWN", "sekret", "tok3n") if each in shown]


def test_settings_that_cannot_be_are_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"part_size": 1024},
        {"lifetime": 1},
        {"access_key_id": "alone"},
        {"anonymous": True, "profile": "somebody"},
        {"kind": "oss"},
    ]
    for settings in wrong:
        with pytest.raises(ValueError, match=" "):
            S3Config(**settings)
