"""Web sources in fair and bad weather, over real sockets."""

from __future__ import annotations

import errno
import os
import random
import socket
import ssl
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Pin, WebGrant, Wire
from reelsplit_server.storage.opening import fetched, open_source
from reelsplit_server.storage.web import open_web
from tests.unit.storage.site import (
    Answer,
    Asked,
    Sender,
    Site,
    file_answer,
    grant_for,
    head,
    redirect,
    whole,
)

FILM = random.Random(7).randbytes(3_000_000)
QUICK = Wire(timeout=0.4, patience=0.4)
"""For servers that are silent: on a slow machine the others may seem to be."""
IMPATIENT = Wire(timeout=30, patience=0.3)


@pytest.fixture
def site() -> Iterator[Site]:
    """A server; a test says what it answers."""
    with Site(file_answer(FILM)) as made:
        yield made


def read(grant: WebGrant) -> tuple[bytes, Pin]:
    file, pin = open_web(grant)
    with file:
        return file.read(), pin


def failure(grant: WebGrant, reason: str, *, transient: bool = False) -> StorageError:
    """The error of opening or reading, in which no secret stands."""
    with pytest.raises(StorageError) as caught:
        read(grant)
    error = caught.value
    assert (error.reason, error.transient) == (reason, transient), error.message
    assert "secret" not in f"{error.message}{error.metadata}"
    if "uri" in error.metadata:
        assert error.metadata["uri"] == grant.label
        assert grant.label in error.message
    return error


def spooled(folder: Path) -> list[Path]:
    """What lies in the folder besides the lock."""
    return sorted(path for path in folder.iterdir() if path.name != "spool.lock")


def in_turn(*answers: Answer) -> Answer:
    """Answers each request in its own way; the last one for ever."""
    return lambda asked, send: answers[min(asked.number, len(answers) - 1)](asked, send)


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Always the same answer; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(asked: Asked, send: Sender) -> None:
        send(whole(status, named, body))

    return answer


# --- Ranges


def test_a_file_is_read_in_ranges(site: Site, tmp_path: Path) -> None:
    grant = grant_for(site.url("/a%20b/film.mp4?sig=secret&x=%2F"), tmp_path)
    file, pin = open_web(grant)
    with file:
        assert pin == Pin(size=len(FILM), tag='"one"')
        assert file.seekable()
        assert file.seek(-1000, os.SEEK_END) == len(FILM) - 1000
        assert file.read() == FILM[-1000:]
        assert file.seek(100) == 100
        assert file.read(50) == FILM[100:150]
        assert file.tell() == 150
    assert all(asked.range is not None for asked in site.asked)
    assert {asked.target for asked in site.asked} == {"/a%20b/film.mp4?sig=secret&x=%2F"}
    assert all(asked.headers["accept-encoding"] == "identity" for asked in site.asked)
    assert site.sent < len(FILM)
    assert spooled(tmp_path) == []


def test_the_whole_is_the_same_in_ranges(site: Site, tmp_path: Path) -> None:
    grant = grant_for(site.url(), tmp_path)
    assert read(grant)[0] == FILM


@pytest.mark.parametrize(
    ("headers", "tag"),
    [
        ({"ETag": '"a"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}, '"a"'),
        (
            {"ETag": 'W/"a"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"},
            "Sat, 21 Nov 2026 10:00:00 GMT",
        ),
        (
            {"Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"},
            "Sat, 21 Nov 2026 10:00:00 GMT",
        ),
        ({"ETag": 'W/"a"'}, 'W/"a"'),
        ({}, ""),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_state_is_told_by_the_best_that_there_is(
    headers: dict[str, str], tag: str, ranges: bool, site: Site, tmp_path: Path
) -> None:
    site.answer = file_answer(FILM[:5000], headers, ranges=ranges)
    grant = grant_for(site.url(), tmp_path)
    data, pin = read(grant)
    assert (data, pin) == (FILM[:5000], Pin(size=5000, tag=tag))
    again = grant_for(site.url(), tmp_path, pin=pin)
    assert read(again) == (data, pin)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "pin", [Pin(size=5000, tag='"two"'), Pin(size=4999, tag='"one"'), Pin(size=5000, tag="")]
)
def test_another_state_than_the_pinned_one_is_refused(
    pin: Pin, ranges: bool, site: Site, tmp_path: Path
) -> None:
    site.answer = file_answer(FILM[:5000], ranges=ranges)
    failure(grant_for(site.url("/v?secret"), tmp_path, pin=pin), "SOURCE_CHANGED")
    assert len(site.asked) == 1
    assert spooled(tmp_path) == []


def test_another_state_is_refused_where_only_the_whole_body_tells(
    site: Site, tmp_path: Path
) -> None:
    site.answer = chunked(FILM[:5000])
    pin = Pin(size=4999, tag="")
    failure(grant_for(site.url("/v?secret"), tmp_path, pin=pin), "SOURCE_CHANGED")
    assert len(site.asked) == 2
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    "changed",
    [
        file_answer(FILM, {"ETag": '"two"'}),
        file_answer(FILM[:-1]),
        file_answer(FILM, {}),
        says(404),
        says(412),
    ],
)
def test_a_change_while_it_is_read_is_told(changed: Answer, site: Site, tmp_path: Path) -> None:
    file, _ = open_web(grant_for(site.url("/v?secret"), tmp_path))
    with file:
        site.answer = changed
        file.seek(len(FILM) // 2)
        with pytest.raises(StorageError) as caught:
            file.read()
    assert caught.value.reason == "SOURCE_CHANGED"
    assert "secret" not in caught.value.message


def test_a_signature_behind_a_redirect_may_run_out(site: Site, tmp_path: Path) -> None:
    signed = 0

    def answer(asked: Asked, send: Sender) -> None:
        nonlocal signed
        if asked.target == "/film.mp4":
            signed += 1
            send(whole(302, {"Location": f"/signed?{signed}"}))
        elif asked.target == f"/signed?{signed}":
            file_answer(FILM)(asked, send)
        else:
            send(whole(403))

    site.answer = answer
    file, _ = open_web(grant_for(site.url(), tmp_path))
    with file:
        signed += 1
        assert file.read() == FILM
    assert [asked.target for asked in site.asked].count("/film.mp4") == 2


def test_a_signature_that_is_the_callers_own_and_ran_out_is_told(
    site: Site, tmp_path: Path
) -> None:
    file, _ = open_web(grant_for(site.url("/v?secret"), tmp_path))
    with file:
        site.answer = says(403)
        with pytest.raises(StorageError) as caught:
            file.read()
    assert caught.value.reason == "SOURCE_FORBIDDEN"
    assert "secret" not in caught.value.message


# --- Without ranges


def test_a_server_without_ranges_is_spooled_once(site: Site, tmp_path: Path) -> None:
    site.answer = file_answer(FILM, ranges=False)
    grant = grant_for(site.url("/v?secret"), tmp_path)
    data, pin = read(grant)
    assert data == FILM
    (kept,) = spooled(tmp_path)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.stat().st_size == len(FILM)
    # Another unit has the pin, and asks for nothing.
    asked = len(site.asked)
    assert read(grant_for(site.url("/v?secret"), tmp_path, pin=pin)) == (FILM, pin)
    assert len(site.asked) == asked
    # The first unit is repeated: it asks whether it is still the same, and takes no body.
    assert read(grant) == (FILM, pin)
    assert sum(asked.range is None for asked in site.asked) == 1


def test_what_is_read_of_a_spooled_source_is_counted(site: Site, tmp_path: Path) -> None:
    site.answer = file_answer(FILM, ranges=False)
    grant = grant_for(site.url(), tmp_path)
    file, _ = open_source(grant, lambda: grant)
    with file:
        while file.read(2**16):
            pass
        assert fetched(file) == len(FILM)


def test_a_spool_belongs_to_one_url_and_state(site: Site, tmp_path: Path) -> None:
    site.answer = file_answer(FILM[:100], ranges=False)
    assert read(grant_for(site.url("/v?1"), tmp_path))[0] == FILM[:100]
    site.answer = file_answer(FILM[100:200], ranges=False)
    assert read(grant_for(site.url("/v?2"), tmp_path))[0] == FILM[100:200]
    site.answer = file_answer(FILM[200:300], {"ETag": '"two"'}, ranges=False)
    assert read(grant_for(site.url("/v?1"), tmp_path))[0] == FILM[200:300]


@pytest.mark.parametrize("pinned", [True, False])
def test_units_that_come_at_once_share_one_download(
    pinned: bool, site: Site, tmp_path: Path
) -> None:
    site.answer = file_answer(FILM, ranges=False)
    pin = Pin(size=len(FILM), tag='"one"') if pinned else None
    grant = grant_for(site.url(), tmp_path, pin=pin)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(read, [grant] * 6))
    assert all(data == FILM for data, _ in results)
    assert sum(asked.range is None for asked in site.asked) == 1
    assert len(spooled(tmp_path)) == 1


def test_what_a_killed_worker_left_is_written_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "spool.part").write_bytes(b"x" * 10_000)
    site.answer = file_answer(FILM[:100], ranges=False)
    assert read(grant_for(site.url(), tmp_path))[0] == FILM[:100]
    assert len(spooled(tmp_path)) == 1


def test_a_file_of_nothing_is_read(site: Site, tmp_path: Path) -> None:
    # Its server has ranges, and answers 416 since there is no first byte.
    site.answer = file_answer(b"")
    assert read(grant_for(site.url(), tmp_path)) == (b"", Pin(size=0, tag='"one"'))


def chunked(data: bytes, size: int = 10_000) -> Answer:
    def answer(asked: Asked, send: Sender) -> None:
        send(head(200, {"Transfer-Encoding": "chunked"}))
        for at in range(0, len(data), size):
            part = data[at : at + size]
            send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        send(b"0\r\n\r\n")

    return answer


def until_closed(data: bytes) -> Answer:
    def answer(asked: Asked, send: Sender) -> bool:
        send(head(200, {"Connection": "close"}) + data)
        return False

    return answer


@pytest.mark.parametrize("kind", [chunked, until_closed])
def test_a_body_without_a_length_is_taken(kind: object, site: Site, tmp_path: Path) -> None:
    site.answer = kind(FILM)  # type: ignore[operator]
    data, pin = read(grant_for(site.url(), tmp_path))
    assert (data, pin) == (FILM, Pin(size=len(FILM), tag=""))
    requests = len(site.asked)
    assert read(grant_for(site.url(), tmp_path, pin=pin)) == (FILM, pin)
    assert len(site.asked) == requests


def test_what_is_as_large_as_allowed_is_taken(site: Site, tmp_path: Path) -> None:
    for answer in (file_answer(FILM, ranges=False), chunked(FILM)):
        site.answer = answer
        grant = grant_for(site.url(), tmp_path, most_spool=len(FILM))
        assert read(grant)[0] == FILM
        assert failure(
            grant_for(site.url("/other"), tmp_path, most_spool=len(FILM) - 1), "SOURCE_TOO_LARGE"
        ).metadata == {"limit": str(len(FILM) - 1), "value": str(len(FILM))}


def test_a_length_that_is_too_large_is_refused_before_the_body(site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> None:
        # There never is a body: who waits for it fails in another way.
        send(head(200, {"Content-Length": str(10**15)}))

    site.answer = answer
    error = failure(grant_for(site.url("/v?secret"), tmp_path), "SOURCE_TOO_LARGE")
    assert error.metadata == {"limit": str(2**24), "value": str(10**15)}
    assert len(site.asked) == 1
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("chunks", [True, False])
def test_an_endless_body_is_cut_off(chunks: bool, site: Site, tmp_path: Path) -> None:
    block = bytes(100_000)

    def answer(asked: Asked, send: Sender) -> None:
        send(head(200, {"Transfer-Encoding": "chunked"} if chunks else {"Connection": "close"}))
        while True:
            send(b"186a0\r\n" + block + b"\r\n" if chunks else block)

    site.answer = answer
    error = failure(grant_for(site.url(), tmp_path, most_spool=2_000_000), "SOURCE_TOO_LARGE")
    assert error.metadata["limit"] == "2000000"
    # What the system buffers on both sides was sent besides, for two requests.
    assert site.sent < 60_000_000
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    "place",
    [
        "bytes 0-0/*",
        "bytes 1-1/3000000",
        "bytes 0-1/3000000",
        "bytes 0-0/-1",
        "bytes 0-0/99999999999999999999",
        "lines 0-0/3000000",
        "bytes 0-0",
        "",
    ],
)
def test_a_range_that_is_none_is_no_range(place: str, site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> None:
        if asked.range:
            send(whole(206, {"Content-Range": place} if place else {}, FILM[:1]))
        else:
            send(whole(200, {}, FILM))

    site.answer = answer
    assert read(grant_for(site.url(), tmp_path))[0] == FILM
    assert len(spooled(tmp_path)) == 1


def test_a_server_that_sends_a_part_of_its_own_choice_is_refused(
    site: Site, tmp_path: Path
) -> None:
    site.answer = says(206, FILM[:10], Content_Range="bytes 5-14/3000000")
    failure(grant_for(site.url(), tmp_path), "SOURCE_UNAVAILABLE")


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP"])
def test_a_compressed_file_is_refused(status: int, coding: str, site: Site, tmp_path: Path) -> None:
    site.answer = says(status, FILM[:1], Content_Encoding=coding, Content_Range="bytes 0-0/3000000")
    error = failure(grant_for(site.url(), tmp_path), "SOURCE_UNAVAILABLE")
    assert coding.lower() in error.message
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "DISK_FULL"),
        (errno.EDQUOT, "DISK_FULL"),
        (errno.EFBIG, "SOURCE_TOO_LARGE"),
    ],
)
def test_a_full_disk_is_told_and_nothing_left(
    code: int, reason: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    room = 1_000_000

    def write(file: int, data: bytes) -> int:
        nonlocal room
        if os.fstat(file).st_size >= room:
            raise OSError(code, os.strerror(code))
        return real(file, data[:100_000])

    site.answer = file_answer(FILM, ranges=False)
    monkeypatch.setattr(os, "write", write)
    failure(grant_for(site.url(), tmp_path), reason)
    assert spooled(tmp_path) == []
    room = 10**9
    assert read(grant_for(site.url(), tmp_path))[0] == FILM


def test_a_folder_that_is_gone_is_told(site: Site, tmp_path: Path) -> None:
    site.answer = file_answer(FILM, ranges=False)
    failure(grant_for(site.url(), tmp_path / "gone"), "SOURCE_UNAVAILABLE")


# --- Bad weather


def broken(after: int, *, length: int | None = len(FILM), reset: bool = False) -> Answer:
    """Sends some bytes of a body and ends the connection."""

    def answer(asked: Asked, send: Sender) -> bool:
        lengths = {} if length is None else {"Content-Length": str(length)}
        send(head(200, {"ETag": '"one"', **lengths}) + FILM[:after])
        if reset:
            send.reset()
        return False

    return answer


@pytest.mark.parametrize("after", [0, 1, 2_999_999])
@pytest.mark.parametrize("reset", [True, False])
def test_a_body_that_breaks_off_is_fetched_again(
    after: int, reset: bool, site: Site, tmp_path: Path
) -> None:
    good = file_answer(FILM, ranges=False)
    site.answer = in_turn(good, broken(after, reset=reset), broken(after, reset=reset), good)
    grant = grant_for(site.url(), tmp_path, wire=Wire(timeout=30, patience=60))
    assert read(grant)[0] == FILM
    assert len(site.asked) == 4
    assert len(spooled(tmp_path)) == 1


def test_a_length_that_lies_is_no_file(site: Site, tmp_path: Path) -> None:
    site.answer = broken(1000)
    failure(grant_for(site.url(), tmp_path, wire=IMPATIENT), "SOURCE_UNAVAILABLE", transient=True)
    assert len(site.asked) > 2
    assert spooled(tmp_path) == []


def test_a_chunked_body_that_breaks_off_is_no_file(site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> bool:
        send(head(200, {"Transfer-Encoding": "chunked"}) + b"3e8\r\n" + FILM[:500])
        return False

    site.answer = answer
    failure(grant_for(site.url(), tmp_path, wire=IMPATIENT), "SOURCE_UNAVAILABLE", transient=True)
    assert spooled(tmp_path) == []


def test_more_than_the_length_is_left(site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> bool:
        send(head(200, {"Content-Length": "1000"}) + FILM)
        return False

    site.answer = answer
    assert read(grant_for(site.url(), tmp_path))[0] == FILM[:1000]


def test_a_drip_does_not_hold_a_worker_up(site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> None:
        send(head(200, {"Content-Length": str(len(FILM))}))
        while not site.wait(0.05):
            send(b"x")

    site.answer = answer
    failure(grant_for(site.url(), tmp_path, wire=QUICK), "SOURCE_UNAVAILABLE", transient=True)


ENDLESS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a status": (b"HTTP/1.1 200 ", b"x"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a chunk's size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x"),
    "a trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_without_end_does_not_hold_a_worker_up(
    name: str, fast: bool, site: Site, tmp_path: Path
) -> None:
    first, more = ENDLESS[name]

    def answer(asked: Asked, send: Sender) -> None:
        send(first)
        while not site.wait(0 if fast else 0.05):
            send(more * (1000 if fast else 1))

    site.answer = answer
    wire = Wire(timeout=0.2, patience=0.1)
    failure(grant_for(site.url(), tmp_path, wire=wire), "SOURCE_UNAVAILABLE", transient=True)
    assert site.is_left()


def test_a_long_answer_is_no_endless_one(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock takes a second: less than a minute for each chunk, more for all.
    monkeypatch.setattr(
        "reelsplit_server.storage.lines.time", SimpleNamespace(monotonic=count().__next__)
    )
    site.answer = chunked(FILM)
    assert read(grant_for(site.url(), tmp_path, wire=Wire(timeout=30, patience=0)))[0] == FILM


def test_a_server_that_says_nothing_is_given_up(site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> None:
        site.wait(60)

    site.answer = answer
    failure(grant_for(site.url(), tmp_path, wire=QUICK), "SOURCE_UNAVAILABLE", transient=True)


def test_no_server_at_all_is_told(tmp_path: Path) -> None:
    with Site(file_answer(FILM)) as gone:
        url = gone.url("/v?secret")
    failure(grant_for(url, tmp_path, wire=IMPATIENT), "SOURCE_UNAVAILABLE", transient=True)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_busy_server_is_asked_again(
    status: int, ranges: bool, site: Site, tmp_path: Path
) -> None:
    good = file_answer(FILM, ranges=ranges)
    site.answer = in_turn(says(status), says(status, Retry_After="0"), good, says(status), good)
    grant = grant_for(site.url(), tmp_path, wire=Wire(timeout=30, patience=60))
    assert read(grant)[0] == FILM
    assert len(site.asked) >= 5


@pytest.mark.parametrize(
    ("status", "reason", "transient"),
    [
        (401, "SOURCE_FORBIDDEN", False),
        (403, "SOURCE_FORBIDDEN", False),
        (404, "SOURCE_NOT_FOUND", False),
        (410, "SOURCE_NOT_FOUND", False),
        (400, "SOURCE_UNAVAILABLE", False),
        (405, "SOURCE_UNAVAILABLE", False),
        (408, "SOURCE_UNAVAILABLE", True),
        (451, "SOURCE_UNAVAILABLE", False),
        (204, "SOURCE_UNAVAILABLE", False),
        (304, "SOURCE_UNAVAILABLE", False),
        (305, "SOURCE_UNAVAILABLE", False),
        (501, "SOURCE_UNAVAILABLE", True),
        (429, "SOURCE_UNAVAILABLE", True),
        (500, "SOURCE_UNAVAILABLE", True),
        (503, "SOURCE_UNAVAILABLE", True),
    ],
)
def test_a_status_is_told_as_what_it_means(
    status: int, reason: str, transient: bool, site: Site, tmp_path: Path
) -> None:
    site.answer = says(status)
    failure(grant_for(site.url("/v?secret"), tmp_path, wire=IMPATIENT), reason, transient=transient)
    again = len(site.asked) > 1
    assert again == (status in (429, 500, 503))


def test_what_is_no_http_is_told(site: Site, tmp_path: Path) -> None:
    def answer(asked: Asked, send: Sender) -> bool:
        send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        return False

    site.answer = answer
    failure(grant_for(site.url(), tmp_path, wire=IMPATIENT), "SOURCE_UNAVAILABLE", transient=True)


# --- Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("to", "target"),
    [
        ("/other.mp4?b=%20c", "/other.mp4?b=%20c"),
        ("other.mp4", "/folder/other.mp4"),
        ("../other.mp4#part", "/other.mp4"),
        ("?again=1", "/folder/film.mp4?again=1"),
        ("//127.0.0.2:{p}/other.mp4", "/other.mp4"),
        ("HTTP://127.0.0.2:{p}/other.mp4", "/other.mp4"),
        ("/ä b.mp4", "/%C3%A4%20b.mp4"),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_redirect_is_followed(
    status: int, to: str, target: str, ranges: bool, site: Site, tmp_path: Path
) -> None:
    sent = redirect(to.replace("{p}", str(site.port)).encode().decode("latin-1"), status)
    good = file_answer(FILM[:5000], ranges=ranges)
    start = "/folder/film.mp4"
    site.answer = lambda asked, send: (sent if asked.target == start else good)(asked, send)
    assert read(grant_for(site.url(start), tmp_path))[0] == FILM[:5000]
    assert site.asked[-1].target == target


def chain(length: int) -> Answer:
    """Redirects so many times before the file."""
    good = file_answer(FILM[:5000])

    def answer(asked: Asked, send: Sender) -> None:
        place = int(asked.target.removeprefix("/"))
        (good if place >= length else redirect(f"/{place + 1}"))(asked, send)

    return answer


def test_five_redirects_are_followed_and_no_more(site: Site, tmp_path: Path) -> None:
    site.answer = chain(5)
    assert read(grant_for(site.url("/0"), tmp_path))[0] == FILM[:5000]
    site.asked.clear()
    site.answer = chain(6)
    failure(grant_for(site.url("/0"), tmp_path), "SOURCE_UNAVAILABLE")
    assert len(site.asked) == 6


def test_a_loop_ends(site: Site, tmp_path: Path) -> None:
    site.answer = redirect("/film.mp4")
    failure(grant_for(site.url(), tmp_path), "SOURCE_UNAVAILABLE")
    assert len(site.asked) == 6


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_without_a_place_is_told(status: int, site: Site, tmp_path: Path) -> None:
    site.answer = says(status)
    failure(grant_for(site.url(), tmp_path), "SOURCE_UNAVAILABLE")


def test_signed_headers_go_to_their_own_host_only(site: Site, tmp_path: Path) -> None:
    headers = {"Authorization": "secret", "x-amz-security-token": "secret"}
    with Site(file_answer(FILM[:5000])) as other:
        back = f"{site.url('/back')}"
        other.answer = lambda asked, send: (
            redirect(back) if asked.target == "/there" else file_answer(FILM[:5000])
        )(asked, send)
        places = {"/film.mp4": "/next", "/next": other.url("/there")}

        def answer(asked: Asked, send: Sender) -> None:
            to = places.get(asked.target)
            (file_answer(FILM[:5000]) if to is None else redirect(to))(asked, send)

        site.answer = answer
        assert read(grant_for(site.url(), tmp_path, headers=headers))[0] == FILM[:5000]
        sent = [(asked.target, asked.headers.get("authorization")) for asked in site.asked]
        # Once it was elsewhere, the way back is the other host's idea.
        assert sent[:3] == [("/film.mp4", "secret"), ("/next", "secret"), ("/back", None)]
        assert all("secret" not in asked.headers.values() for asked in other.asked)
        assert all("secret" not in asked.headers.values() for asked in site.asked[2:])


def test_signed_headers_go_with_every_range(site: Site, tmp_path: Path) -> None:
    grant = grant_for(site.url(), tmp_path, headers={"Authorization": "secret"})
    assert read(grant)[0] == FILM
    assert {asked.headers.get("authorization") for asked in site.asked} == {"secret"}


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Wire:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return Wire(timeout=30, patience=0.3, ca=str(path))


def tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below ``example`` lead to the site."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: int, **more: int) -> object:
        return real("127.0.0.2" if host.endswith(".example") else host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.usefixtures("names")
def test_the_certificate_is_checked_against_the_name(
    authority: trustme.CA, trusted: Wire, tmp_path: Path
) -> None:
    asked_for: list[str | None] = []
    context = tls(authority, "good.example")
    context.sni_callback = lambda connection, name, _: asked_for.append(name)
    with Site(file_answer(FILM), tls=context) as site:
        good = grant_for(site.url("/v", "good.example"), tmp_path, wire=trusted)
        assert read(good)[0] == FILM
        assert set(asked_for) == {"good.example"}
        requests = len(site.asked)
        for host in ("other.example", "127.0.0.2"):
            other = grant_for(site.url("/v?secret", host), tmp_path, wire=trusted)
            error = failure(other, "SOURCE_UNAVAILABLE")
            assert "certificate" in error.message
        assert len(site.asked) == requests


@pytest.mark.usefixtures("names")
def test_an_authority_that_nobody_knows_is_not_trusted(trusted: Wire, tmp_path: Path) -> None:
    with Site(file_answer(FILM), tls=tls(trustme.CA(), "good.example")) as site:
        failure(
            grant_for(site.url("/v", "good.example"), tmp_path, wire=trusted), "SOURCE_UNAVAILABLE"
        )
        assert site.asked == []


@pytest.mark.usefixtures("names")
def test_a_redirect_may_lead_to_tls_but_not_back(
    site: Site, authority: trustme.CA, trusted: Wire, tmp_path: Path
) -> None:
    with Site(file_answer(FILM), tls=tls(authority, "good.example")) as safe:
        site.answer = redirect(safe.url("/v", "good.example"))
        assert read(grant_for(site.url(), tmp_path, wire=trusted))[0] == FILM
        site.asked.clear()
        safe.answer = redirect(site.url("/v?secret"))
        grant = grant_for(safe.url("/v?secret", "good.example"), tmp_path, wire=trusted)
        assert "http:" in failure(grant, "SOURCE_FORBIDDEN").message
        assert site.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        file_answer(FILM),
        file_answer(FILM, ranges=False),
        says(404),
        says(302),
        redirect("http://10.1.2.3/v"),
        in_turn(file_answer(FILM), says(404)),
    ],
)
def test_no_connection_is_left_open(answer: Answer, site: Site, tmp_path: Path) -> None:
    site.answer = answer
    with suppress(StorageError):
        read(grant_for(site.url(), tmp_path))
    assert site.accepted >= 1
    assert site.is_left()
