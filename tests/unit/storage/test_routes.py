"""Routes: which store a location leads to, and what the operator has not allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelsplit_server.storage.location import LocationError, Scheme, parse
from reelsplit_server.storage.routes import (
    FilePlace,
    ObjectPlace,
    Place,
    Routes,
    StoreRoute,
    Verb,
    WebPlace,
)

ROUTES = Routes(
    roots=(Path("/videos"), Path("/mnt/in")),
    stores=(
        StoreRoute(name="aws", scheme=Scheme.S3, buckets=("film", "video-*")),
        StoreRoute(
            name="minio", scheme=Scheme.S3, buckets=("*",), endpoints=("minio.example:9000",)
        ),
        StoreRoute(name="google", scheme=Scheme.GCS, buckets=("film",)),
        StoreRoute(
            name="ali",
            scheme=Scheme.OSS,
            buckets=("film",),
            endpoints=("oss-cn-hangzhou.aliyuncs.com", "oss-internal.example"),
        ),
    ),
    aliases={"oss://old": "s3://film", "oss://lost": "gs://nowhere"},
    hosts=("cdn.example", "*.Media.example", "cdn.example:8443", "[2001:db8::1]:81"),
)


@pytest.mark.parametrize("path", ["/videos/a.mp4", "/videos/b/c.mp4", "/mnt/in/a"])
@pytest.mark.parametrize("verb", ["read", "write"])
def test_files_lie_below_a_root(path: str, verb: str) -> None:
    assert ROUTES.resolve(parse(path), verb) == FilePlace(path=path)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/etc/passwd", "/videos2/a", "/mnt", "/videos/../etc/passwd"])
def test_files_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(LocationError):
        ROUTES.resolve(parse(path), "read")


def test_without_roots_no_file_is_taken() -> None:
    with pytest.raises(LocationError, match="--root"):
        Routes().resolve(parse("/videos/a"), "write")


@pytest.mark.parametrize(
    ("text", "endpoint", "store", "bucket", "key"),
    [
        ("s3://film/a", None, "aws", "film", "a"),
        ("s3://video-7/a", None, "aws", "video-7", "a"),
        # The first store that takes the bucket.
        ("s3://other/a", None, "minio", "other", "a"),
        ("s3://film/a", "minio.example:9000", "minio", "film", "a"),
        ("s3://film/a", "https://minio.example:9000/", "minio", "film", "a"),
        ("gs://film/a?b", None, "google", "film", "a?b"),
        ("oss://film/a", None, "ali", "film", "a"),
        ("oss://film.oss-cn-hangzhou.aliyuncs.com/a", None, "ali", "film", "a"),
        ("oss://film/a", "oss-internal.example", "ali", "film", "a"),
        ("https://film.oss-cn-hangzhou.aliyuncs.com/a%20b", None, "ali", "film", "a b"),
        # What the operator has moved lies there, wherever it was named to be.
        ("oss://old/a", None, "aws", "film", "a"),
        ("https://old.oss-cn-hangzhou.aliyuncs.com/a", None, "aws", "film", "a"),
    ],
)
@pytest.mark.parametrize("verb", ["read", "write"])
def test_an_object_leads_to_a_store(
    text: str, endpoint: str | None, store: str, bucket: str, key: str, verb: str
) -> None:
    place = ROUTES.resolve(parse(text), verb, endpoint)  # type: ignore[arg-type]
    assert isinstance(place, ObjectPlace)
    assert (place.store, place.bucket, place.key) == (store, bucket, key)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("gs://other/a", None),
        ("oss://other/a", None),
        ("oss://lost/a", None),
        ("oss://film.oss-evil.example/a", None),
        ("oss://film/a", "127.0.0.1:9000"),
        ("oss://film/a", "oss-internal.example@evil.example"),
        ("oss://film/a", "oss-internal.example/../evil"),
        ("s3://film/a", "cdn.example"),
        ("/videos/a", "cdn.example"),
        ("https://cdn.example/a", "minio.example:9000"),
        ("https://film.oss-evil.example/a", None),
    ],
)
def test_what_no_store_takes_is_refused(text: str, endpoint: str | None) -> None:
    with pytest.raises(LocationError):
        ROUTES.resolve(parse(text), "read", endpoint)


@pytest.mark.parametrize("verb", ["read", "write"])
@pytest.mark.parametrize(
    ("text", "endpoint", "says"),
    [
        ("oss://film/a", "cdn.elsewhere", "the endpoint cdn.elsewhere"),
        ("oss://film.oss-evil.example/a", None, "the endpoint oss-evil.example"),
        ("oss://other/a", "oss-internal.example", "the bucket 'other'"),
        ("oss://other/a", None, "the bucket 'other'"),
    ],
)
def test_what_is_wrong_is_named(text: str, endpoint: str | None, says: str, verb: Verb) -> None:
    with pytest.raises(LocationError, match=says):
        ROUTES.resolve(parse(text), verb, endpoint)


def test_an_allowed_host_that_is_no_store_of_ours_is_read_without_credentials() -> None:
    place = ROUTES.resolve(parse("oss://film.oss-x.media.example/a b?c"), "read")
    assert place == WebPlace(
        url="https://film.oss-x.media.example/a%20b%3Fc", label="oss://film/a b?c"
    )
    with pytest.raises(LocationError):
        ROUTES.resolve(parse("oss://film.oss-x.media.example/a"), "write")


@pytest.mark.parametrize(
    "text",
    [
        "https://cdn.example/a.mp4",
        "http://CDN.example.:80/a.mp4",
        "https://cdn.example:8443/a.mp4",
        "https://a.media.example/a.mp4",
        "https://a.b.media.example/a.mp4?Signature=secret",
        "http://[2001:db8:0::1]:81/a.mp4",
        "https://film.oss-x.media.example/a.mp4",
    ],
)
def test_an_allowed_host_is_read(text: str) -> None:
    place: Place = ROUTES.resolve(parse(text), "read")
    assert isinstance(place, WebPlace)
    assert place.url == parse(text).url
    assert "secret" not in place.label
    with pytest.raises(LocationError, match="only read"):
        ROUTES.resolve(parse(text), "write")


@pytest.mark.parametrize(
    "text",
    [
        "https://example/a",
        "https://cdn.example.evil/a",
        "https://evilcdn.example/a",
        "https://cdn.example:8444/a",
        "http://cdn.example:443/a",
        "https://media.example/a",
        "https://evilmedia.example/a",
        "https://a.media.example:81/a",
        "https://a.media.example.evil/a",
        "http://[2001:db8::1]/a",
        "http://[2001:db8::2]:81/a",
    ],
)
def test_another_host_is_refused(text: str) -> None:
    with pytest.raises(LocationError, match="--http-hosts"):
        ROUTES.resolve(parse(text), "read")


def test_without_hosts_no_url_is_taken() -> None:
    with pytest.raises(LocationError, match="--http-hosts"):
        Routes().resolve(parse("https://cdn.example/a"), "read")
