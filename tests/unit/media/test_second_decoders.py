"""Segments of real footage, held against a decoder that shares no code with ours."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
from reelsplit_server.media.render import CutMode
from tests.media import footage, real
from tests.unit.media import second
from tests.unit.media.rendering import cut, times
from tests.unit.media.second import play, play_once

pytestmark = pytest.mark.skipif(second.FFMPEG is None, reason="no ffmpeg command")

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


@pytest.mark.parametrize("name", TRAITS)
def test_cuts_of_real_footage_play_in_another_decoder(name: str, tmp_path: Path) -> None:
    ending = ENDINGS[TRAITS.index(name) % len(ENDINGS)]
    check(name, tmp_path / f"o.{ending}", "off key", CutMode.AUTO)


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
