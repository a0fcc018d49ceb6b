"""What moves is told as it moves, and what stands still is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelsplit_server.storage import pulse
from reelsplit_server.storage.grants import PartsUpload, Request, Wire
from reelsplit_server.storage.http import Http, Repeats, WireError
from reelsplit_server.storage.spool import Spool
from reelsplit_server.storage.uploading import upload
from tests.unit.storage.weather import QUICK, Weather


@pytest.fixture
def beats() -> Iterator[list[float]]:
    told: list[float] = []
    pulse.listen(lambda: told.append(time.monotonic()))
    yield told
    pulse.listen(None)


@pytest.fixture
def weather() -> Iterator[Weather]:
    with Weather(data=bytes(2**20)) as made:
        yield made


def test_nobody_need_listen() -> None:
    pulse.beat()


def test_bytes_that_come_are_told(weather: Weather, beats: list[float]) -> None:
    http = Http(QUICK)
    with http.request("GET", weather.url(), {"Range": "bytes=0-1048575"}) as answer:
        before = len(beats)
        assert answer.read(2**10)
        assert len(beats) == before + 1
        list(answer.stream(2**20))
        after = len(beats)
        assert after > before + 1
        assert answer.read(2**10) == b""
        assert len(beats) == after
    http.close()


def test_bytes_that_go_are_told(tmp_path: Path, weather: Weather, beats: list[float]) -> None:
    made = tmp_path / "made"
    made.write_bytes(bytes(2**20))

    def sign(parts: Any) -> list[Request]:
        return [
            Request(url=weather.url(f"/{part.number}"), headers={"Content-MD5": part.md5})
            for part in parts
        ]

    upload(made, PartsUpload(wire=QUICK, part_size=2**18), sign, "made")
    assert len(beats) >= 4


def test_a_pause_between_two_tries_is_told_as_it_goes(
    beats: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelsplit_server.storage.http._LOOK", 0.05)
    repeats = Repeats(Wire(timeout=1, patience=60))
    repeats.wait(WireError("busy", hopeful=True, retry_after=3))
    assert 3 <= len(beats) <= 61
    with pytest.raises(WireError):
        repeats.wait(WireError("gone", hopeful=False))


def test_who_waits_for_what_another_fetches_shows_signs_of_life(
    tmp_path: Path, beats: list[float]
) -> None:
    spool, entered = Spool(tmp_path, "u", "u"), threading.Event()

    def wait() -> None:
        with spool.locked():
            entered.set()

    with Spool(tmp_path, "u", "u").locked():
        before = len(beats)
        other = threading.Thread(target=wait)
        other.start()
        deadline = time.monotonic() + 20
        while len(beats) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(beats) >= before + 3
        assert not entered.is_set()
    assert entered.wait(20)
    other.join()
