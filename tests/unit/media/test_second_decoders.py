"""Segments of real footage, held against a decoder that shares no code with ours."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
from reelsplit_server.media.render import CutMode
from tests.clips import AudioTrack, make_clip
from tests.ffmpeg import FFMPEG
from tests.media import footage, real
from tests.unit.media.browser import CHROMIUM, watch
from tests.unit.media.hevc import HAS_LIBDE265, numbers_by_libde265
from tests.unit.media.rendering import cut, times
from tests.unit.media.second import play, play_once

needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg command")

TRAITS = [name for name in footage("traits") if "audio_only" not in name]
ENDINGS = [container.value for container in Container]
WAYS = {
    CutMode.AUTO: ["mp4", "mov", "mkv", "ts"],
    CutMode.EDIT_LIST: ["mp4", "mov"],
    CutMode.KEYFRAME: ["mp4", "mkv", "ts"],
}
#: What ffmpeg says of a good file because it is short.
FROM_SHORTNESS = "duration not set"


@cache
def ranges(source: Path) -> dict[str, tuple[Fraction, Fraction | None]]:
    shown = times(source)
    shown = [time - shown[0] for time in shown]
    count = len(shown)
    half = Fraction(1, 2)
    return {
        "off key": (shown[count // 3 + 1], shown[count * 3 // 4 + 1]),
        "from the first": (Fraction(0), shown[count // 2]),
        "at two seconds": (min(Fraction(2), shown[count // 2]), shown[count * 5 // 8]),
        "one frame": (shown[count // 2], shown[count // 2 + 1]),
        "three frames": (shown[count // 4], shown[count // 4 + 3]),
        "to the end": (shown[count * 6 // 7] - half * (shown[1] - shown[0]), None),
        "whole": (Fraction(0), None),
    }


def check(name: str, out: Path, which: str, mode: CutMode) -> None:
    source = real(name)
    start, end = ranges(source)[which]
    try:
        result = cut(source, out, start, end, mode=mode)
    except MediaError as error:
        if mode is CutMode.AUTO or error.reason != "COPY_IMPOSSIBLE":
            raise
        return
    played = play(out)
    new = played.said - play_once(source).said
    if result.frame_count < 4 and out.suffix == ".ts":
        new = frozenset(line for line in new if FROM_SHORTNESS not in line)
    assert not new, f"{which}: {sorted(new)}, {result.reason}"
    assert not played.failed
    assert played.frames == result.frame_count, f"{which}: {result.reason}"
    strictly, of_source = play(out, strict=True), play_once(source, strict=True)
    assert of_source.failed or not strictly.failed, f"{which}: {sorted(strictly.said)}"
    assert of_source.failed or strictly.frames == result.frame_count, which
    # What is told to be broken is: the one source whose end is missing.
    assert not result.damaged or "truncated" in name, f"{which}: {result}"


@needs_ffmpeg
@pytest.mark.parametrize("name", TRAITS)
def test_cuts_of_real_footage_play_in_another_decoder(name: str, tmp_path: Path) -> None:
    ending = ENDINGS[TRAITS.index(name) % len(ENDINGS)]
    check(name, tmp_path / f"o.{ending}", "off key", CutMode.AUTO)


@needs_ffmpeg
@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "ending"), [(mode, ending) for mode, endings in WAYS.items() for ending in endings]
)
@pytest.mark.parametrize("name", TRAITS)
def test_every_kind_of_cut_plays_in_another_decoder(
    name: str, mode: CutMode, ending: str, tmp_path: Path
) -> None:
    for which in ranges(real(name)):
        check(name, tmp_path / f"o.{ending}", which, mode)


RATE, GOP, FRAMES = 25, 24, 120
#: In frames: off key at both ends; on key frames; one frame; to the end.
FRAME_RANGES = [(31, 95), (48, 96), (50, 51), (70, FRAMES)]


def numbered(path: Path, **settings: Any) -> Path:
    make_clip(path, frames=FRAMES, rate=RATE, gop=GOP, size=(320, 192), **settings)
    return path


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("closed.mp4", {"bframes": 3, "audio": [AudioTrack()]}),
        ("open.mp4", {"bframes": 3, "open_gop": True, "audio": [AudioTrack()]}),
        ("plain.mp4", {"audio": [AudioTrack(codec="libopus")]}),
        ("closed.ts", {"bframes": 3, "audio": [AudioTrack()]}),
        ("vp9.mkv", {"codec": "libvpx-vp9", "audio": [AudioTrack(codec="libopus")]}),
        ("av1.mp4", {"codec": "libsvtav1", "audio": [AudioTrack(codec="libopus")]}),
    ],
)
def test_cuts_play_and_seek_in_a_browser(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    source = numbered(tmp_path / name, **settings)
    # Chromium dies of a seek in Matroska whose key frames have leading pictures, in sources too.
    endings = ["mp4"] if settings.get("open_gop") else ["mp4", "mkv"]
    made: list[tuple[str, int, int]] = []
    for mode in (CutMode.AUTO, CutMode.KEYFRAME, CutMode.EDIT_LIST):
        for ending in endings:
            for first, last in FRAME_RANGES:
                out = tmp_path / f"{mode.value}-{first}-{last}.{ending}"
                try:
                    result = cut(
                        source, out, Fraction(first, RATE), Fraction(last, RATE), mode=mode
                    )
                except MediaError as error:
                    if mode is CutMode.AUTO or error.reason != "COPY_IMPOSSIBLE":
                        raise
                    continue
                made.append((out.name, round(result.start * RATE), result.frame_count))
    sought = [
        sorted({0, 1, count // 3, count // 2, count - 1} & {*range(count)}) for *_, count in made
    ]
    files = [
        (file, [Fraction(2 * at + 1, 2 * RATE) for at in reversed(places)])
        for (file, _, _), places in zip(made, sought, strict=True)
    ]
    seen = watch(tmp_path, files, tmp_path / "profile")
    for (file, first, count), places, each in zip(made, sought, seen, strict=True):
        assert each.error is None, file
        assert each.sought == [first + at for at in reversed(places)], file
        # Opus before time 0 may be counted in.
        assert each.duration == pytest.approx(count / RATE, abs=0.09), file
        assert each.end is not None, file
        shown = [number for number in each.played if number is not None]
        assert len(shown) == len(each.played), file
        assert shown == sorted(shown), file
        assert {*shown} <= {*range(first, first + count)}, file


@pytest.mark.long
@pytest.mark.skipif(not HAS_LIBDE265, reason="no libde265 in GStreamer")
@pytest.mark.parametrize("source_ending", ["mp4", "mkv"])
@pytest.mark.parametrize("gops", ["closed", "open", "RADL"])
def test_hevc_comes_out_of_libde265(gops: str, source_ending: str, tmp_path: Path) -> None:
    parameters = f"keyint={GOP}:min-keyint={GOP}:scenecut=0:bframes=3:b-adapt=0:open-gop=0:radl=2"
    radl = {"x265-params": f"{parameters}:log-level=error:pools=1:frame-threads=1"}
    source = numbered(
        tmp_path / f"source.{source_ending}",
        codec="libx265",
        bframes=3,
        open_gop=gops == "open",
        options=radl if gops == "RADL" else None,
    )
    for mode in (CutMode.AUTO, CutMode.KEYFRAME):
        for ending in ("mp4", "mkv"):
            for first, last in [*FRAME_RANGES, (46, 97), (20, 70)]:
                out = tmp_path / f"o.{ending}"
                result = cut(source, out, Fraction(first, RATE), Fraction(last, RATE), mode=mode)
                start = round(result.start * RATE)
                wanted = list(range(start, start + result.frame_count))
                assert numbers_by_libde265(out, (320, 192)) == wanted
