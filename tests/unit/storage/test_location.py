"""Locations: what a path or URI names, what is refused, and what of it may be shown."""

from __future__ import annotations

import pytest

from reelsplit_server.storage.location import (
    LocationError,
    Scheme,
    host_and_port,
    parse,
    public,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/v/film.mp4", "/v/film.mp4"),
        ("/v//a/./film.mp4", "/v/a/film.mp4"),
        ("/v/film%20one.mp4", "/v/film%20one.mp4"),
        ("/v/film?x#y.mp4", "/v/film?x#y.mp4"),
        ("/v/ä ☃.mp4", "/v/ä ☃.mp4"),
        ("/v/..film.mp4", "/v/..film.mp4"),
        ("/v/12:30.mp4", "/v/12:30.mp4"),
        ("file:///v/film.mp4", "/v/film.mp4"),
        ("file:/v/film.mp4", "/v/film.mp4"),
        ("FILE:///v/film.mp4", "/v/film.mp4"),
        ("file://localhost/v/film.mp4", "/v/film.mp4"),
        ("file:///v/film%20one.mp4", "/v/film one.mp4"),
        ("file:///v/%C3%A4.mp4", "/v/ä.mp4"),
        ("file:///v/a%3Fb%23c.mp4", "/v/a?b#c.mp4"),
        ("file:///v/100%2525.mp4", "/v/100%25.mp4"),
    ],
)
def test_a_file_is_named_by_its_path(text: str, path: str) -> None:
    place = parse(text)
    assert (place.scheme, place.path) == (Scheme.FILE, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "film.mp4",
        "./film.mp4",
        "~/film.mp4",
        "../film.mp4",
        "/v/../film.mp4",
        "/v/..",
        "/v/a\0b.mp4",
        "/v/a\nb.mp4",
        "/v/a\x7fb.mp4",
        "/" + "a" * 2048,
        "file:film.mp4",
        "file:",
        "file://",
        "file://host/film.mp4",
        "file://..%2f/film.mp4",
        "file://user@localhost/film.mp4",
        "file://localhost:80/film.mp4",
        "file:///v/../film.mp4",
        "file:///v/%2e%2e/film.mp4",
        "file:///v/%2E%2e%2ffilm.mp4",
        "file:///v/a%00b.mp4",
        "file:///v/film.mp4?x=1",
        "file:///v/film.mp4#x",
        "file://[/film.mp4",
        "http://[::1/film.mp4",
        "http://exa\u2100mple/film.mp4",
        "ftp://host/film.mp4",
        "concat:///v/a.mp4",
        "data://x",
        "javascript://x",
        "C:/film.mp4",
        "hls+file:///v/a.m3u8",
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(LocationError):
        parse(text)


@pytest.mark.parametrize("prefix", ["subfile,,start,0:", "pipe:", "fd:3", "concat:/v/a|"])
def test_a_protocol_of_ffmpeg_is_no_path(prefix: str) -> None:
    with pytest.raises(LocationError):
        parse(prefix + "/v/film.mp4" if not prefix.startswith("concat") else prefix + "b")


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("s3://bucket/key", Scheme.S3),
        ("gs://bucket/key", Scheme.GCS),
        ("oss://bucket/key", Scheme.OSS),
        ("http://host/film.mp4", Scheme.HTTP),
        ("HTTPS://host/film.mp4", Scheme.HTTPS),
    ],
)
def test_other_stores_are_told_apart(text: str, scheme: Scheme) -> None:
    assert parse(text).scheme is scheme


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/v/film.mp4", "/v/film.mp4"),
        ("/v/user@host?x#y.mp4", "/v/user@host?x#y.mp4"),
        ("file:///v/a%3Fb.mp4", "file:///v/a%3Fb.mp4"),
        ("https://host/film.mp4", "https://host/film.mp4"),
        ("https://me:secret@host/film.mp4", "https://host/film.mp4"),
        ("https://me:se@cret@host/film.mp4", "https://host/film.mp4"),
        ("https://host/film.mp4?X-Signature=secret", "https://host/film.mp4"),
        ("https://host/film.mp4#secret", "https://host/film.mp4"),
        ("s3://key:secret@bucket/film.mp4", "s3://bucket/film.mp4"),
        ("s3://key:secret@bucket/a@b?c#d.mp4", "s3://bucket/a@b?c#d.mp4"),
        ("s3://bucket/film.mp4?X-Amz-Signature=secret", "s3://bucket/film.mp4"),
        ("s3://bucket/film.mp4?acl&X-Amz-Signature=secret", "s3://bucket/film.mp4"),
        ("s3://bucket/a&b=c?d.mp4", "s3://bucket/a&b=c?d.mp4"),
        ("oss://id:secret@bucket.oss-cn-x.host/a", "oss://bucket.oss-cn-x.host/a"),
        ("gs://bucket", "gs://bucket"),
        ("https://me:secret@host:8443/{index}.mp4?secret", "https://host:8443/{index}.mp4"),
    ],
)
def test_what_is_shown_holds_no_credentials(text: str, shown: str) -> None:
    assert public(text) == shown


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("file:///v/a%20b.mp4", "/v/a b.mp4"),
        ("s3://bucket/a/b?c.mp4", "s3://bucket/a/b?c.mp4"),
        ("oss://bucket.oss-cn-x.host/a", "oss://bucket/a"),
        ("https://Host:443/a.mp4?Signature=secret", "https://host/a.mp4"),
        ("https://bucket.oss-cn-x.host/a.mp4", "https://bucket.oss-cn-x.host/a.mp4"),
    ],
)
def test_a_label_holds_no_query(text: str, label: str) -> None:
    assert parse(text).label == label


@pytest.mark.parametrize("text", ["http://me:secret@[::1/x", "http:/me:secret@host/x"])
def test_what_cannot_be_read_shows_no_credentials_either(text: str) -> None:
    assert "secret" not in public(text)


@pytest.mark.parametrize(
    ("text", "stem"),
    [("/v/film.part1.mp4", "film.part1"), ("file:///v/a%20b.mkv", "a b"), ("/v/film", "film")],
)
def test_the_stem_is_the_name_without_its_ending(text: str, stem: str) -> None:
    assert parse(text).stem == stem


@pytest.mark.parametrize(
    ("text", "scheme", "bucket", "key", "endpoint"),
    [
        ("s3://video-in/a/b.mp4", Scheme.S3, "video-in", "a/b.mp4", ""),
        ("s3://video.in/a", Scheme.S3, "video.in", "a", ""),
        # Keys are taken as they are: these are names, and no escapes, queries or fragments.
        ("s3://video/a%20b?c#d=e.mp4", Scheme.S3, "video", "a%20b?c#d=e.mp4", ""),
        ("s3://video/what?.mp4", Scheme.S3, "video", "what?.mp4", ""),
        ("s3://video/a//b", Scheme.S3, "video", "a//b", ""),
        ("s3://video/..a/.b", Scheme.S3, "video", "..a/.b", ""),
        ("gs://video_in/ä ☃.mp4", Scheme.GCS, "video_in", "ä ☃.mp4", ""),
        ("OSS://video/a", Scheme.OSS, "video", "a", ""),
        (
            "oss://video.OSS-cn-hangzhou.aliyuncs.com/a",
            Scheme.OSS,
            "video",
            "a",
            "oss-cn-hangzhou.aliyuncs.com",
        ),
    ],
)
def test_an_object_is_named_by_bucket_and_key(
    text: str, scheme: Scheme, bucket: str, key: str, endpoint: str
) -> None:
    place = parse(text)
    found = (place.scheme, place.bucket, place.path, place.endpoint, place.url)
    assert found == (scheme, bucket, key, endpoint, "")


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///a",
        "s3:/video/a",
        "s3://video",
        "s3://video/",
        "s3://video/folder/",
        "s3://video//a",
        "s3://video/./a",
        "s3://video/a/../b",
        "s3://video/..",
        # A signature that was copied along is no part of a key.
        "s3://video/a.mp4?X-Amz-Signature=secret",
        "gs://video/a.mp4?x-goog-signature=secret&a=b",
        "oss://video/a.mp4?OSSAccessKeyId=id&Signature=secret",
        "s3://video/" + "ä" * 513,
        "s3://video/\ud800",
        "s3://key:secret@video/a",
        "s3://video:80/a",
        "s3://vi deo/a",
        "s3://vidéo/a",
        "s3://-video/a",
        "s3://v/a",
        "gs://video\\x/a",
        "oss://video.oss-x.host:0/a",
        "oss://video.user@oss-x.host/a",
        "oss://video.127.1/a",
        "oss://video./a",
    ],
)
def test_what_names_no_object_is_refused(text: str) -> None:
    with pytest.raises(LocationError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "url", "endpoint", "path"),
    [
        ("http://host/film.mp4", "http://host/film.mp4", "host", "film.mp4"),
        ("HTTPS://Host.COM./a/b", "https://host.com/a/b", "host.com", "a/b"),
        ("http://host:80/a", "http://host/a", "host", "a"),
        ("https://host:443/a", "https://host/a", "host", "a"),
        ("https://host:80/a", "https://host:80/a", "host:80", "a"),
        (
            "http://host:8080/a%20b?x=1&y=%2F",
            "http://host:8080/a%20b?x=1&y=%2F",
            "host:8080",
            "a b",
        ),
        ("http://192.0.2.7/a", "http://192.0.2.7/a", "192.0.2.7", "a"),
        ("http://[2001:DB8:0::1]:81/a", "http://[2001:db8::1]:81/a", "[2001:db8::1]:81", "a"),
        ("http://xn--80ak6aa92e.com/a", "http://xn--80ak6aa92e.com/a", "xn--80ak6aa92e.com", "a"),
        ("http://a_b.local/a", "http://a_b.local/a", "a_b.local", "a"),
        ("http://host/@me:you", "http://host/@me:you", "host", "@me:you"),
    ],
)
def test_a_url_has_one_form(text: str, url: str, endpoint: str, path: str) -> None:
    place = parse(text)
    assert (place.url, place.endpoint, place.path, place.bucket) == (url, endpoint, path, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" s3://bucket/key", "begins with ' '"),
        ("\ufeffs3://bucket/key", "begins with '\\\\ufeff'"),
        ('"s3://bucket/key"', "begins with '\"'"),
        ("s3:bucket/key", "a URI such as s3://bucket/key"),
        ("film.mp4", "a path|from the root"),
        ("s3:///key", "names no bucket"),
        ("s3://my bucket/key", "as none can be called"),
        ("s3://AKIA:hunter2@bucket/key", "user name or password"),
        ("s3://bucket/watch?v=1", "a key with a query"),
        ("s3://bucket/a.mp4?acl&Signature=hunter2", "a key with a query"),
    ],
)
def test_what_is_wrong_with_a_uri_is_said(text: str, says: str) -> None:
    with pytest.raises(LocationError, match=says) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("query", ["", "?OSSAccessKeyId=a&Signature=b"])
def test_a_bucket_of_oss_may_be_named_by_its_host(query: str) -> None:
    place = parse(f"https://video.oss-cn-hangzhou.aliyuncs.com/a%20b/c.mp4{query}")
    assert place.path == "a b/c.mp4"
    # One that the caller has signed stays a web address.
    assert place.bucket == ("" if query else "video")
    assert place.endpoint.endswith("oss-cn-hangzhou.aliyuncs.com")


@pytest.mark.parametrize(
    "text",
    [
        "host/path",
        "host/",
        "host?query",
        "host#fragment",
        "ho\tst",
        "host\n",
        "host name",
        "user@host",
        "host:",
        "host:0",
        "host:65536",
        "host:8_0",
        "host:+80",
        "[::1",
        "[::1]x",
        "[::1]x:80",
        "[::1%eth0]",
        "::1",
        "",
        ".",
        "a..b",
        "-a",
        "a-.b",
        "a" * 64,
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(LocationError):
        host_and_port(text, Scheme.HTTPS)
