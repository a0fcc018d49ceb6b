"""Reading an object in ranges: the same bytes as the file, few of them, whatever the weather."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import av
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import FileGrant, ObjectGrant, Pin, Request, Wire
from reelsplit_server.storage.http import Http, WireError
from reelsplit_server.storage.opening import (
    check_unchanged,
    expect_whole,
    keeping,
    open_source,
)
from reelsplit_server.storage.ranges import RangeReader, Windows
from tests.clips import AudioTrack, make_clip
from tests.unit.storage import weather as sky
from tests.unit.storage.weather import ETAG, LABEL, QUICK, Weather, certificates

MIB = 2**20
DATA = random.Random(1).randbytes(3 * MIB)
SHORT = Wire(timeout=20, patience=0.5)


@pytest.fixture
def weather() -> Iterator[Weather]:
    with Weather(DATA) as made:
        yield made
        assert made.errors == []


def read_all(grant: ObjectGrant, renew: Callable[[], ObjectGrant] | None = None) -> bytes:
    with RangeReader(grant, renew) as reader:
        return reader.read()


def drain(reader: RangeReader, into: bytearray | None = None) -> None:
    while piece := reader.read(2**15):
        if into is not None:
            into += piece


def failing(grant: ObjectGrant, renew: Callable[[], ObjectGrant] | None = None) -> StorageError:
    with RangeReader(grant, renew) as reader:
        with pytest.raises(StorageError) as caught:
            reader.read(1)
        assert reader.failure is caught.value
    assert caught.value.metadata == {"uri": LABEL}
    assert LABEL in caught.value.message
    for secret in ("signature", "secret", "127.0.0.1"):
        assert secret not in caught.value.message
    return caught.value


# --- As a file -----------------------------------------------------------------------------------


def test_it_reads_the_same_bytes_and_each_once(weather: Weather) -> None:
    with RangeReader(weather.grant()) as reader:
        assert reader.read() == DATA
        assert reader.read(1) == b""
        reader.seek(0)
        assert reader.read() == DATA
        assert reader.fetched == len(DATA)
    assert weather.sent == len(DATA)


def test_it_seeks_as_files_do(weather: Weather) -> None:
    with RangeReader(weather.grant()) as reader:
        assert reader.readable()
        assert reader.seekable()
        assert not reader.writable()
        assert reader.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert reader.read(100) == DATA[-10:]
        assert reader.seek(-20, os.SEEK_CUR) == len(DATA) - 20
        assert reader.tell() == len(DATA) - 20
        assert reader.seek(len(DATA) + 5) == len(DATA) + 5
        assert reader.read(5) == b""
        with pytest.raises(ValueError, match="position"):
            reader.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_an_empty_object_is_not_asked_for() -> None:
    with Weather(b"") as weather, RangeReader(weather.grant()) as reader:
        assert reader.read() == b""
        assert weather.asked == []


def test_the_headers_of_the_grant_are_sent_and_nothing_of_the_environment(
    weather: Weather, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password sekret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    request = Request(url=weather.url("/a%20b?x=%2F1"), headers={"If-Match": ETAG})
    read_all(weather.grant(request=request))
    assert {asked.path for asked in weather.asked} == {"/a%20b?x=%2F1"}
    for asked in weather.asked:
        assert asked.headers["if-match"] == ETAG
        assert asked.headers["accept-encoding"] == "identity"
        assert "authorization" not in asked.headers


# --- Any sequence of seeks and reads -------------------------------------------------------------

_SOURCE = DATA[: MIB // 2]


@pytest.fixture(scope="module")
def shared() -> Iterator[Weather]:
    with Weather(_SOURCE) as made:
        yield made


_sizes = st.one_of(st.integers(1, 100), st.integers(1, len(_SOURCE)))
_windows = st.builds(
    Windows,
    first=st.one_of(st.integers(1, 64), st.integers(1, 2**17)),
    share=st.integers(1, 16),
    most=st.integers(1, 2**19),
    ahead=st.integers(0, 2**18),
    cache=st.one_of(st.integers(1, 2**12), st.integers(1, 2**20)),
    whole=st.booleans(),
)


@settings(max_examples=30)
@given(
    moves=st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, len(_SOURCE))), _sizes), max_size=8
    ),
    windows=_windows,
)
@example(moves=[(0, len(_SOURCE)), (5, 9), (None, 200_000)], windows=Windows(cache=1, first=1000))
@example(moves=[(None, len(_SOURCE))], windows=Windows(ahead=0, most=2**14, cache=2**15))
def test_any_reads_give_the_bytes_of_the_file(
    shared: Weather, moves: list[tuple[int | None, int]], windows: Windows
) -> None:
    # Small windows over large reads are slow, and show nothing more.
    windows = replace(
        windows, first=max(windows.first, max((n for _, n in moves), default=1) // 12)
    )
    plain = io.BytesIO(_SOURCE)
    reads = 0
    with RangeReader(shared.grant(), windows=windows) as reader:
        for position, size in moves:
            if position is not None:
                assert reader.seek(position) == plain.seek(position)
            wanted = plain.read(size)
            got = bytearray()
            while len(got) < len(wanted):
                piece = reader.read(size - len(got))
                assert piece
                got += piece
                reads += 1
            assert got == wanted
            assert reader.tell() == plain.tell()
        fetched = reader.fetched
    if windows.cache >= len(_SOURCE):
        assert fetched <= len(_SOURCE)
    consumed = sum(size for _, size in moves)
    # Of each read that finds nothing at hand: its window, and two that are fetched ahead.
    window = max(windows.first, windows.cache * 3 // 8 if windows.whole else consumed)
    assert fetched <= reads * 4 * (window + windows.first)


@settings(max_examples=15, deadline=None)
@given(
    starts=st.lists(st.integers(0, len(DATA) - 1), min_size=1, max_size=8),
    length=st.integers(1, 400_000),
)
def test_what_is_fetched_in_vain_stays_small(starts: list[int], length: int) -> None:
    with Weather(DATA) as weather:
        wanted = set()
        with RangeReader(weather.grant()) as reader, io.BufferedReader(reader, 2**15) as file:
            for start in starts:
                file.seek(start)
                assert file.read(length) == DATA[start : start + length]
                wanted |= set(range(start // 4096, -(-min(start + length, len(DATA)) // 4096)))
        spans = 1 + len(starts)
        assert weather.sent <= 1.2 * 4096 * len(wanted) + spans * 2.2 * 2**16


def test_positions_that_move_forward_in_turn_are_runs_of_their_own() -> None:
    half = len(DATA) // 2
    with Weather(DATA) as weather:
        with RangeReader(weather.grant()) as reader, io.BufferedReader(reader, 2**14) as file:
            for place in range(0, half, 2**15):
                for base in (0, half):
                    file.seek(base + place)
                    assert file.read(2**15) == DATA[base + place : base + place + 2**15]
        assert weather.sent == len(DATA)
        starts = [start for start, _ in weather.ranges()]
        # Windows have grown: one for each read of 64 KiB would be 48.
        assert len(starts) < 48


def test_memory_is_bounded_and_what_was_given_up_is_fetched_again() -> None:
    windows = Windows(cache=MIB // 2)
    with Weather(DATA) as weather, RangeReader(weather.grant(), windows=windows) as reader:
        for _ in range(2):
            reader.seek(0)
            assert reader.read() == DATA
            held = sum(e.stop - e.start for e in reader._extents._held.values())
            assert held <= MIB // 2
        assert reader.fetched <= 2 * len(DATA)
        assert reader.fetched > len(DATA) + MIB


def until_idle(reader: RangeReader) -> None:
    """Wait until nothing is fetched in the background."""
    with reader._extents.arrived:
        reader._extents.arrived.wait_for(lambda: all(task.done for task in reader._tasks))


def test_a_clear_run_is_fetched_ahead() -> None:
    with Weather(DATA) as weather, RangeReader(weather.grant()) as reader:
        most = 0
        while reader.tell() < MIB:
            reader.read(2**14)
            until_idle(reader)
            most = max(most, max(stop for _, stop in weather.ranges()) - reader.tell())
        # A twelfth of what was read is the window, and another one lies ready behind it.
        assert MIB / 12 + 2**15 < most < 2 * MIB / 12 + 2**15


def test_windows_end_where_something_is_at_hand() -> None:
    with Weather(DATA) as weather, RangeReader(weather.grant()) as reader:
        for place in (100_000, 60_000, 50_000):
            reader.seek(place)
            assert reader.read(1) == DATA[place : place + 1]
        assert weather.ranges() == [(98_304, 165_536), (60_000, 98_304), (50_000, 60_000)]


def test_what_is_read_as_a_whole_is_fetched_in_large_windows(tmp_path: Path) -> None:
    with Weather(DATA) as weather:
        file, _ = open_source(weather.grant(tmp_path), pytest.fail)
        with file:
            expect_whole(file)
            assert file.read() == DATA
        assert weather.ranges() == [(0, len(DATA))]


# --- Answers that are not what was asked for -----------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (sky.whole, "ignores ranges"),
        (sky.with_headers(Content_Range=f"bytes 1-65536/{len(DATA)}"), "another range"),
        (sky.with_headers(Content_Range=f"bytes 0-100/{len(DATA)}"), "another range"),
        (sky.with_headers(Content_Range="bytes 0-65535/*"), "does not say"),
        (sky.with_headers(Content_Range="nonsense"), "does not say"),
        (sky.without("Content-Range"), "does not say"),
        (sky.with_headers(Content_Length="99999"), "another length"),
        (sky.with_headers(Content_Length="10"), "another length"),
        (sky.with_headers(Content_Encoding="gzip"), "compresses"),
        (sky.status(302, {"Location": "http://127.0.0.1/"}), "status 302"),
        (sky.status(418), "status 418"),
        (sky.status(400), "status 400"),
        (sky.status(416, {"Content-Range": f"bytes */{len(DATA)}"}), "refuses ranges"),
    ],
)
def test_a_wrong_answer_is_told_at_once(weather: Weather, answer: sky.Sky, words: str) -> None:
    weather.will(answer)
    error = failing(weather.grant())
    assert error.reason == "SOURCE_UNAVAILABLE"
    assert words in error.message
    assert not error.transient
    assert len(weather.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        sky.with_headers(ETag='"another"'),
        sky.without("ETag"),
        sky.with_headers(Content_Range=f"bytes 0-65535/{len(DATA) + 1}"),
        sky.status(412),
        sky.status(404),
        sky.status(410),
        sky.status(416, {"Content-Range": "bytes */10"}),
        sky.status(416),
        sky.status(200, {"ETag": ETAG}, b"shorter"),
        sky.status(200, {"ETag": '"another"'}, b"shorter"),
    ],
)
def test_another_state_of_the_source_is_told_at_once(weather: Weather, answer: sky.Sky) -> None:
    weather.will(answer)
    error = failing(weather.grant())
    assert error.reason == "SOURCE_CHANGED"
    assert not error.transient
    assert len(weather.asked) == 1


def test_a_source_that_changes_midway_gives_no_byte_of_the_other(weather: Weather) -> None:
    with RangeReader(weather.grant()) as reader:
        got = bytearray(reader.read(1000))
        weather.etag = '"another"'
        weather.data = bytes(len(DATA))
        with pytest.raises(StorageError) as caught:
            drain(reader, got)
        assert caught.value.reason == "SOURCE_CHANGED"
        assert got == DATA[: len(got)]


def test_bytes_behind_those_asked_for_are_not_taken(weather: Weather) -> None:
    weather.will(*[sky.longer] * 200)
    assert read_all(weather.grant()) == DATA


def test_chunked_bodies_are_fine(weather: Weather) -> None:
    weather.will(*[sky.chunked] * 200)
    assert read_all(weather.grant()) == DATA


# --- What repeating helps against ----------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        sky.status(429, {"Retry-After": "0"}),
        sky.status(500),
        sky.status(502),
        sky.status(503, {"Retry-After": "nonsense"}),
        sky.status(504, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        sky.cut_off(0, politely=True),
        sky.cut_off(10_000, politely=True),
        sky.cut_off(10_000, politely=False),
        sky.cut_off(0, politely=False),
    ],
)
def test_what_may_pass_is_repeated(weather: Weather, answer: sky.Sky) -> None:
    weather.will(answer, answer, answer, None, answer)
    assert read_all(weather.grant()) == DATA


def test_reading_goes_on_where_it_broke(weather: Weather) -> None:
    weather.will(sky.cut_off(50_000, politely=True))
    with RangeReader(weather.grant()) as reader:
        assert reader.read(60_000) == DATA[:50_000]
        assert reader.read(10_000) == DATA[50_000:60_000]
        assert reader.fetched == 2**16
    assert weather.ranges() == [(0, 2**16), (50_000, 2**16)]


def test_silence_ends(weather: Weather) -> None:
    weather.will(sky.silent, sky.stalled(20_000), None)
    wire = Wire(timeout=0.5, patience=60)
    assert read_all(weather.grant(wire=wire)) == DATA


def test_a_byte_now_and_then_counts_as_silence(weather: Weather) -> None:
    weather.will(sky.dripping(0.05))
    assert read_all(weather.grant(wire=Wire(timeout=1, patience=60))) == DATA
    assert len(weather.ranges()) > 1


def test_patience_ends(weather: Weather) -> None:
    weather.will(*[sky.status(503)] * 1000)
    error = failing(weather.grant(wire=SHORT))
    assert error.reason == "SOURCE_UNAVAILABLE"
    assert error.transient
    assert "503" in error.message
    assert len(weather.asked) > 1


def test_a_few_bytes_before_each_failure_are_no_progress(weather: Weather) -> None:
    weather.will(*[sky.cut_off(10, politely=True)] * 10_000)
    with RangeReader(weather.grant(wire=SHORT)) as reader, pytest.raises(StorageError) as caught:
        drain(reader)
    assert caught.value.transient


def granted(url: str) -> ObjectGrant:
    return ObjectGrant(
        label=LABEL,
        request=Request(url=url),
        wire=Wire(timeout=0.3, patience=0.5),
        pin=Pin(size=10, tag=ETAG),
        expected={},
        folder="",
    )


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/film?signature=secret"
        error = failing(granted(url))
    assert error.transient
    assert "Connection refused" in error.message


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/film?signature=secret"
        error = failing(granted(url))
    assert error.transient
    assert "no answer came within 0.3 s" in error.message


def test_a_host_without_an_address() -> None:
    assert "could not be resolved" in failing(granted("http://nowhere.invalid/film")).message


# --- Signatures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 401, 403])
def test_a_signature_that_ran_out_is_renewed_by_the_reader(weather: Weather, code: int) -> None:
    threads = []
    fresh = weather.grant(request=Request(url=weather.url("/fresh")))

    def renew() -> ObjectGrant:
        threads.append(threading.current_thread())
        # Now and again, as signatures do.
        if len(threads) == 1:
            weather.will(*[None] * 6, sky.status(code))
        return fresh

    weather.will(sky.status(code))
    assert read_all(weather.grant(), renew) == DATA
    assert set(threads) == {threading.main_thread()}
    assert {asked.path.partition("?")[0] for asked in weather.asked} == {"/film.mp4", "/fresh"}


def test_nothing_is_renewed_in_the_background(weather: Weather) -> None:
    threads = []

    def renew() -> ObjectGrant:
        threads.append(threading.current_thread())
        return weather.grant()

    with RangeReader(weather.grant(), renew) as reader:
        while reader.tell() < MIB:
            reader.read(2**15)
        until_idle(reader)
        weather.will(*[sky.status(403)] * 2)
        drain(reader)
    assert not weather.coming
    assert set(threads) <= {threading.main_thread()}


def test_a_refusal_is_told_after_one_renewal(weather: Weather) -> None:
    calls = []

    def renew() -> ObjectGrant:
        calls.append(1)
        return weather.grant()

    weather.will(*[sky.status(403)] * 10)
    error = failing(weather.grant(), renew)
    assert error.reason == "SOURCE_FORBIDDEN"
    assert len(calls) == 1
    assert len(weather.asked) == 2


def test_without_renewal_a_refusal_is_told_at_once(weather: Weather) -> None:
    weather.will(sky.status(401))
    assert failing(weather.grant()).reason == "SOURCE_FORBIDDEN"
    assert len(weather.asked) == 1


def test_a_renewal_for_another_state_is_none(weather: Weather) -> None:
    weather.will(sky.status(403))
    other = weather.grant(pin=Pin(size=len(DATA), tag='"another"'))
    assert failing(weather.grant(), lambda: other).reason == "SOURCE_CHANGED"


# --- Connections ---------------------------------------------------------------------------------


def test_certificates_are_checked(tmp_path: Path) -> None:
    context, ca = certificates(tmp_path, "127.0.0.1")
    with Weather(DATA, tls=context) as weather:
        assert read_all(weather.grant(wire=replace(QUICK, ca=ca))) == DATA
        error = failing(weather.grant(wire=QUICK))
        assert error.reason == "SOURCE_UNAVAILABLE"
        assert "certificate is not trusted" in error.message
        assert not error.transient
    context, ca = certificates(tmp_path, "other.example")
    with Weather(DATA, tls=context) as weather:
        assert "another host" in failing(weather.grant(wire=replace(QUICK, ca=ca))).message


def test_every_connection_is_made_by_what_was_given_and_names_its_host(tmp_path: Path) -> None:
    context, ca = certificates(tmp_path, "films.example")
    names = []
    context.sni_callback = lambda connection, name, context: names.append(name)  # type: ignore[assignment]
    made = []
    with Weather(DATA, tls=context) as weather:

        def connect(host: str, port: int, timeout: float) -> socket.socket:
            made.append((host, port, timeout))
            return socket.create_connection(("127.0.0.1", weather.port), timeout)

        wire = Wire(timeout=20, patience=30, ca=ca)
        request = Request(url="https://films.example:8443/film")
        with RangeReader(weather.grant(request=request), http=Http(wire, connect)) as reader:
            assert reader.read() == DATA
        assert {asked.headers["host"] for asked in weather.asked} == {"films.example:8443"}
    assert set(made) == {("films.example", 8443, 20)}
    assert set(names) == {"films.example"}


def test_what_a_connection_is_refused_with_comes_through(weather: Weather) -> None:
    class RefusedError(Exception):
        pass

    def connect(host: str, port: int, timeout: float) -> socket.socket:
        raise RefusedError(host)

    with (
        RangeReader(weather.grant(), http=Http(QUICK, connect)) as reader,
        pytest.raises(RefusedError, match="127"),
    ):
        reader.read(1)
    assert weather.open == []


def test_no_signature_is_logged(weather: Weather, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    weather.will(sky.status(503), sky.cut_off(10, politely=False))
    assert read_all(weather.grant()) == DATA
    assert "signature" not in caplog.text


def test_connections_are_used_again(weather: Weather) -> None:
    assert read_all(weather.grant()) == DATA
    assert len(weather.asked) > 3
    assert len(weather.open) <= 3


def test_closing_ends_what_is_under_way() -> None:
    before = set(threading.enumerate())
    with Weather(DATA) as weather:
        own = set(threading.enumerate())
        reader = RangeReader(weather.grant(wire=Wire(timeout=300, patience=300)))
        while reader.tell() < MIB:
            reader.read(2**15)
        # What is at hand is read on, until more is fetched in the background.
        until_idle(reader)
        reached = threading.Event()

        def stall(handler: sky.Handler) -> None:
            reached.set()
            sky.silent(handler)

        weather.will(*[stall] * 3)
        while all(task.done for task in reader._tasks):
            reader.read(2**15)
        assert reached.wait(60)
        reader.close()
        reader.close()
        left = {t for t in threading.enumerate() if t.name.startswith("read-ahead")}
        assert left == set()
        assert own
    assert set(threading.enumerate()) <= before


def test_a_forgotten_reader_leaves_nothing() -> None:
    with Weather(DATA) as weather:
        reader = RangeReader(weather.grant())
        reader.read(10)
        del reader
        gc.collect()


def test_a_closed_http_takes_no_requests(weather: Weather) -> None:
    http = Http(QUICK)
    http.close()
    with pytest.raises(WireError, match="closed"), http.request("GET", weather.url(), {}):
        pass


def test_errors_behind_a_read_ahead_reach_the_reader(weather: Weather) -> None:
    with RangeReader(weather.grant(wire=SHORT)) as reader:
        while reader.tell() < MIB:
            reader.read(2**15)
        weather.will(*[sky.status(503)] * 1000)
        with pytest.raises(StorageError) as caught:
            drain(reader)
        assert caught.value.reason == "SOURCE_UNAVAILABLE"


# --- What units share ----------------------------------------------------------------------------


def kept_by(weather: Weather, folder: Path) -> Path:
    file, _ = open_source(weather.grant(folder), pytest.fail)
    with file, keeping(file):
        assert file.read(100_000) == DATA[:100_000]
        file.seek(-50_000, os.SEEK_END)
        assert file.read() == DATA[-50_000:]
    (kept,) = folder.iterdir()
    return kept


def test_what_one_unit_kept_others_do_not_fetch(weather: Weather, tmp_path: Path) -> None:
    kept_by(weather, tmp_path)
    before = weather.sent
    file, pin = open_source(weather.grant(tmp_path), pytest.fail)
    with file:
        assert pin == Pin(size=len(DATA), tag=ETAG)
        assert file.read(100_000) == DATA[:100_000]
        file.seek(-50_000, os.SEEK_END)
        assert file.read() == DATA[-50_000:]
        assert weather.sent == before
        # And around it everything is as without it.
        file.seek(0)
        assert file.read() == DATA
    assert weather.sent == len(DATA)


def test_what_was_read_before_is_kept_when_it_is_read_again(
    weather: Weather, tmp_path: Path
) -> None:
    file, _ = open_source(weather.grant(tmp_path), pytest.fail)
    with file:
        file.read(10)
        with keeping(file):
            file.seek(0)
            file.read(10)
            file.seek(MIB)
            file.read(10)
        file.seek(2 * MIB)
        file.read(10)
    before = weather.sent
    file, _ = open_source(weather.grant(tmp_path), pytest.fail)
    with file:
        for place in (0, MIB):
            file.seek(place)
            assert file.read(10) == DATA[place : place + 10]
        assert weather.sent == before
        file.seek(2 * MIB)
        file.read(10)
    assert weather.sent > before


def test_what_is_kept_is_bounded(
    weather: Weather, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelsplit_server.storage.ranges._MOST_KEPT", MIB)
    file, _ = open_source(weather.grant(tmp_path), pytest.fail)
    with file, keeping(file):
        assert file.read() == DATA
    (kept,) = tmp_path.iterdir()
    assert MIB // 2 < kept.stat().st_size < MIB + 10_000


@pytest.mark.parametrize("place", [0, 15, 22, 60, 400, 50_000, -1])
def test_what_is_damaged_is_fetched_instead(weather: Weather, tmp_path: Path, place: int) -> None:
    kept = kept_by(weather, tmp_path)
    data = bytearray(kept.read_bytes())
    data[place] ^= 0x41
    kept.write_bytes(data)
    file, _ = open_source(weather.grant(tmp_path), pytest.fail)
    with file:
        assert file.read() == DATA


def test_an_index_that_was_changed_is_not_believed(weather: Weather, tmp_path: Path) -> None:
    kept = kept_by(weather, tmp_path)
    written = kept.read_bytes()
    told = re.search(rb'"extents": (\[\[.*?\]\])', written)
    assert told
    # The first one behind a gap claims to begin a byte before its place.
    extents = json.loads(told[1])
    ends = [0, *(start + length for start, length, _ in extents)]
    start = next(each[0] for each, end in zip(extents, ends, strict=False) if each[0] > end)
    changed = written.replace(b"[%d, " % start, b"[%d, " % (start - 1))
    assert len(changed) == len(written)
    assert changed != written
    kept.write_bytes(changed)
    file, _ = open_source(weather.grant(tmp_path), pytest.fail)
    with file:
        assert file.read() == DATA


@pytest.mark.parametrize("size", [0, 10, 25, 100, 70_000])
def test_what_is_cut_short_is_fetched_instead(weather: Weather, tmp_path: Path, size: int) -> None:
    kept = kept_by(weather, tmp_path)
    os.truncate(kept, size)
    file, _ = open_source(weather.grant(tmp_path), pytest.fail)
    with file:
        assert file.read() == DATA


def test_what_is_kept_of_another_state_is_not_used(weather: Weather, tmp_path: Path) -> None:
    kept_by(weather, tmp_path)
    weather.etag = '"another"'
    weather.data = bytes(len(DATA))
    pin = Pin(size=len(DATA), tag='"another"')
    file, _ = open_source(
        weather.grant(tmp_path, pin=pin, expected={"etag": '"another"'}), pytest.fail
    )
    with file:
        assert file.read(10) == bytes(10)


def test_without_a_folder_nothing_is_kept_and_nothing_fails(
    weather: Weather, tmp_path: Path
) -> None:
    file, _ = open_source(weather.grant(tmp_path / "gone"), pytest.fail)
    with file, keeping(file):
        assert file.read(10) == DATA[:10]


# --- Opening -------------------------------------------------------------------------------------


def test_a_local_file_is_pinned(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(DATA)
    grant = FileGrant(path=str(path), roots=(str(tmp_path),))
    file, pin = open_source(grant, pytest.fail)
    with file:
        assert pin.size == len(DATA)
        with keeping(file):
            expect_whole(file)
            assert file.read() == DATA
        check_unchanged(file, grant, pin)
        os.utime(path, ns=(1, 1))
        with pytest.raises(StorageError) as caught:
            check_unchanged(file, grant, pin)
        assert caught.value.reason == "SOURCE_CHANGED"
    with pytest.raises(StorageError) as caught:
        open_source(replace(grant, pin=pin), pytest.fail)
    assert caught.value.reason == "SOURCE_CHANGED"


def test_a_renewed_grant_is_asked_for_by_open_source(weather: Weather, tmp_path: Path) -> None:
    weather.will(sky.status(403))
    file, _ = open_source(weather.grant(tmp_path), lambda: weather.grant(tmp_path))
    with file:
        assert file.read() == DATA


# --- Real media ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mp4", "mkv"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds of a picture that does not compress: about 14 MB."""
    path = tmp_path_factory.mktemp("film") / f"film.{request.param}"
    make_clip(
        path,
        frames=960,
        size=(320, 180),
        gop=48,
        audio=[AudioTrack()],
        options={
            "preset": "ultrafast",
            "b": "3M",
            "minrate": "3M",
            "maxrate": "3M",
            "bufsize": "1M",
            "nal-hrd": "cbr",
        },
    )
    return path


def test_a_cut_of_a_real_film_reads_little(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    with av.open(str(film)) as container:
        packets = [(p.pts, p.pos, bytes(p)) for p in container.demux(video=0) if p.size]
        base = container.streams.video[0].time_base
    assert base is not None
    chosen = [p for p in packets if 20 <= p[0] * base < 24]
    span = max(pos + len(p) for _, pos, p in chosen) - min(pos for _, pos, _ in chosen)
    index = len(data) - max(pos + len(p) for _, pos, p in packets)
    with Weather(data) as weather:
        file, _ = open_source(weather.grant(tmp_path), pytest.fail)
        got = []
        with file:
            with keeping(file), av.open(file) as container:
                assert container.streams.video
            # As units do: opened anew for each pass.
            for _ in range(2):
                file.seek(0)
                with av.open(file) as container:
                    stream = container.streams.video[0]
                    container.seek(int(20 / base), stream=stream)
                    got = []
                    for packet in container.demux(stream):
                        if packet.pts is None or packet.pts * base >= 24:
                            break
                        got.append((packet.pts, bytes(packet)))
            check_unchanged(file, weather.grant(), Pin(size=len(data), tag=ETAG))
        assert got == [(pts, packet) for pts, _, packet in chosen]
        assert weather.sent <= 1.2 * (index + span) + 2_000_000
        assert weather.sent < len(data) / 2


def test_a_real_film_is_decoded_reading_each_byte_once(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    with Weather(data) as weather, ExitStack() as stack:
        file, _ = open_source(weather.grant(tmp_path), pytest.fail)
        stack.enter_context(closing(file))
        expect_whole(file)
        with av.open(file) as container:
            assert sum(1 for _ in container.demux(video=0)) >= 960
        assert weather.sent <= len(data)


def test_media_libraries_do_not_hide_a_failure(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    with Weather(data) as weather:
        grant = weather.grant(tmp_path, wire=SHORT)
        file, pin = open_source(grant, pytest.fail)
        with file, av.open(file) as container:
            stream = container.streams.video[0]
            packets = container.demux(stream)
            for _ in range(100):
                next(packets)
            weather.will(*[sky.status(503)] * 1000)
            with pytest.raises((StorageError, av.FFmpegError)):  # noqa: PT012
                for _ in packets:
                    pass
                check_unchanged(file, grant, pin)
            with pytest.raises(StorageError):
                check_unchanged(file, grant, pin)
