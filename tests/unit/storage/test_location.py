"""Locations: what a path or URI names, what is refused, and what of it may be shown."""

from __future__ import annotations

import pytest

from reelsplit_server.storage.location import LocationError, Scheme, parse, public


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
        ("s3://key:secret@bucket/film.mp4?secret", "s3://bucket/film.mp4"),
        ("https://me:secret@host:8443/{index}.mp4?secret", "https://host:8443/{index}.mp4"),
    ],
)
def test_what_is_shown_holds_no_credentials(text: str, shown: str) -> None:
    assert public(text) == shown


@pytest.mark.parametrize("text", ["http://me:secret@[::1/x", "http:/me:secret@host/x"])
def test_what_cannot_be_read_shows_no_credentials_either(text: str) -> None:
    assert "secret" not in public(text)


@pytest.mark.parametrize(
    ("text", "stem"),
    [("/v/film.part1.mp4", "film.part1"), ("file:///v/a%20b.mkv", "a b"), ("/v/film", "film")],
)
def test_the_stem_is_the_name_without_its_ending(text: str, stem: str) -> None:
    assert parse(text).stem == stem
