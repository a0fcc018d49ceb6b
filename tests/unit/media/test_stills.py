"""Small pictures of stretches of a video."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit_server.media import stills
from reelsplit_server.media.stills import Picture, Stretch, take_stills
from tests.clips import BITS, make_clip
from tests.media import real

RATE = 25


def make(path: Path, **settings: Any) -> None:
    make_clip(path, **{"frames": 120, "rate": RATE, **settings})


def pixels(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(picture.data, np.uint8), 1), dtype=np.uint8)


def number(picture: Picture | None) -> int:
    """The number of the frame that a picture shows."""
    assert picture is not None
    gray = pixels(picture).mean(axis=2)
    width = gray.shape[1]
    columns = [gray[2 : gray.shape[0] // 8 - 2, b * width // BITS + 2] for b in range(BITS)]
    return int("".join(str(int(column.mean() > 127)) for column in columns), 2)


def taken(path: Path, stretches: Sequence[tuple[int, int]], **options: Any) -> list[Any]:
    """Pictures of stretches of frames, of a file that begins anywhere."""
    with av.open(str(path)) as container:
        zero = min(p.pts for p in container.demux(video=0) if p.pts is not None)
        base = container.streams.video[0].time_base
    assert base is not None
    frame = Fraction(1, RATE) / base
    wanted = [
        Stretch(start=zero + round(first * frame), end=zero + round(stop * frame))
        for first, stop in stretches
    ]
    with path.open("rb") as file:
        return list(take_stills(file, wanted, **options))


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize(("bframes", "gop"), [(0, 24), (3, 24), (0, 600)])
def test_each_picture_is_of_its_own_stretch(
    tmp_path: Path, ending: str, bframes: int, gop: int
) -> None:
    path = tmp_path / f"clip.{ending}"
    codec = "mpeg4" if ending == "avi" else "libx264"
    make(path, codec=codec, bframes=0 if ending == "avi" else bframes, gop=gop)
    stretches = [(0, 3), (3, 30), (30, 31), (31, 47), (60, 61), (61, 120)]
    pictures = taken(path, stretches)
    for (first, stop), picture in zip(stretches, pictures, strict=True):
        assert first <= number(picture) < stop


def test_stretches_may_come_in_any_order_and_twice(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    stretches = [(90, 100), (0, 5), (90, 100), (119, 120), (50, 60)]
    for (first, stop), picture in zip(stretches, taken(path, stretches), strict=True):
        assert first <= number(picture) < stop


def test_where_there_is_nothing_there_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    assert taken(path, [(0, 5), (500, 600), (10, 20)])[1] is None
    assert number(taken(path, [(500, 600), (10, 20)])[1]) in range(10, 20)


def test_key_frames_are_enough_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    make(path, frames=250, gop=25)
    read = 0
    inner = stills.carried

    def counted(*arguments: Any) -> Any:
        nonlocal read
        for packet in inner(*arguments):
            read += 1
            yield packet

    monkeypatch.setattr(stills, "carried", counted)
    taken(path, [(n, n + 25) for n in range(0, 250, 25)])
    assert read < 60
    # With one key frame only, no part is decoded much more than twice.
    make(path, frames=250, gop=600)
    read = 0
    pictures = taken(path, [(n, n + 25) for n in range(0, 250, 25)])
    assert [number(picture) // 25 for picture in pictures] == list(range(10))
    assert read < 600


def test_many_pictures_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    noise = np.random.default_rng(1)
    make(
        path,
        frames=8,
        picture=lambda n: noise.integers(0, 256, (180, 320, 3), dtype=np.uint8),
        options={"crf": "1"},
    )
    stretches = [(n, n + 1) for n in range(8)]
    full, small = taken(path, stretches), taken(path, stretches, room=8 * 1500)
    assert all(len(picture.data) <= 12_000 for picture in full)
    assert all(len(picture.data) <= 1500 for picture in small)
    assert {(picture.width, picture.height) for picture in small} == {(160, 90)}
    assert taken(path, stretches, room=8 * 100) == [None] * 8


@pytest.mark.parametrize(
    ("rotation", "shape", "size"),
    [
        (0, None, (160, 90)),
        (90, None, (90, 160)),
        (0, Fraction(3, 4), (160, 120)),
        (180, 2, (160, 45)),
    ],
)
def test_a_picture_is_shaped_as_it_is_shown(
    tmp_path: Path, rotation: int, shape: Fraction | None, size: tuple[int, int]
) -> None:
    path = tmp_path / "clip.mp4"
    make(path, frames=2)
    (picture,) = taken(path, [(0, 1)], rotation=rotation, shape=shape)
    assert (picture.width, picture.height) == size
    assert pixels(picture).shape[:2] == size[::-1]


def test_a_turned_picture_stands_upright(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    left = np.zeros((180, 320, 3), dtype=np.uint8)
    left[:, :160] = 255
    make(path, frames=1, picture=lambda n: left)
    (picture,) = taken(path, [(0, 1)], rotation=90)
    # Clockwise: what was at the left is on top.
    rows = pixels(picture).mean(axis=(1, 2))
    assert rows[10] > 200
    assert rows[-10] < 50


@pytest.mark.parametrize("name", ["bbb_hevc_hdr10.mp4", "bbb_prores_pcm.mov", "bbb_av1_opus.mp4"])
def test_other_formats_have_pictures_too(name: str) -> None:
    pictures = taken(real(f"traits/{name}"), [(0, 6), (12, 20)])
    assert all(pixels(picture).std() > 5 for picture in pictures)


def test_damage_costs_pictures_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    make(path, frames=120, gop=12)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    wanted = [Stretch(start=n * 3600, end=(n + 12) * 3600) for n in range(-10, 400, 12)]
    pictures = list(take_stills(io.BytesIO(data), wanted))
    assert len(pictures) == len(wanted)
    assert any(pictures)
