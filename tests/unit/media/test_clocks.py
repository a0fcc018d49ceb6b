"""Clocks as transport streams have them: they wrap, start over, and leave times out."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from reelsplit_server.media.plan import CutMode
from reelsplit_server.media.shot_settings import AdaptiveSettings, ShotSettings
from reelsplit_server.media.shots import detect_shots
from reelsplit_server.media.timeline import Timeline, read_timeline
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.unit.media.rendering import cut

RATE = 24
TICK = 90_000 // RATE
WRAP = Fraction(1 << 33, 90_000)
"""Seconds after which the clock of a transport stream starts at 0 again."""


def timeline_of(path: Path) -> Timeline:
    with path.open("rb") as file:
        return read_timeline(file)


def steps(timeline: Timeline) -> set[int]:
    return {int(b - a) for a, b in pairwise(timeline.pts.tolist())}


def assert_cut(path: Path, out: Path, first: int, stop: int, mode: CutMode) -> None:
    """The frames from `first` to `stop`; those around them too where nothing is encoded."""
    found = timeline_of(path)
    result = cut(path, out, found.offset(first), found.offset(stop), mode=mode)
    numbers = read_numbers(out)
    assert result.frame_count == len(numbers)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    if mode is CutMode.KEYFRAME:
        assert numbers[0] <= first
        assert numbers[-1] >= stop - 1
    else:
        assert (numbers[0], numbers[-1]) == (first, stop - 1)


def wrapping(path: Path, before: Fraction, **more: object) -> None:
    """A transport stream whose clock wraps `before` seconds after its start."""
    make_clip(
        path,
        **{"rate": RATE, "gop": 24, "size": (160, 96), "audio": [AudioTrack()], **more},  # type: ignore[arg-type]
        container_options={"output_ts_offset": str(float(WRAP - before))},
    )
    with av.open(str(path), options={"correct_ts_overflow": "0"}) as container:
        raw = [packet.dts for packet in container.demux(video=0) if packet.dts is not None]
    assert any(b < a for a, b in pairwise(raw))


@pytest.mark.parametrize(
    "more",
    [
        {"bframes": 3},
        {"bframes": 3, "open_gop": True},
        {"codec": "libx265", "bframes": 3, "open_gop": True},
        {"codec": "mpeg2video", "bframes": 2},
    ],
)
def test_a_clock_that_wraps_goes_on(tmp_path: Path, more: dict[str, object]) -> None:
    path = tmp_path / "clip.ts"
    wrapping(path, Fraction(2), frames=96, **more)
    found = timeline_of(path)
    assert (found.frame_count, found.end, steps(found)) == (96, 4, {TICK})
    assert not found.damaged
    # Behind the wrap, over it, and inside the frame at it.
    for first, stop in [(60, 72), (40, 56), (48, 49)]:
        assert_cut(path, tmp_path / "out.mp4", first, stop, CutMode.ENCODE)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("before", [Fraction(2), Fraction(1, 30)])
def test_a_copy_over_a_wrap_has_every_frame(tmp_path: Path, ending: str, before: Fraction) -> None:
    path = tmp_path / "clip.ts"
    wrapping(path, before, frames=96, bframes=3)
    for first, stop in [(0, 10), (40, 56), (70, 96)]:
        assert_cut(path, tmp_path / f"out.{ending}", first, stop, CutMode.KEYFRAME)


def test_a_wrap_long_after_the_start_goes_on(tmp_path: Path) -> None:
    # FFmpeg treats a wrap within the first minute in another way.
    path = tmp_path / "clip.ts"
    wrapping(path, Fraction(70), frames=160, rate=2, bframes=2, gop=20, audio=[])
    found = timeline_of(path)
    assert (found.frame_count, found.end, steps(found)) == (160, 80, {45_000})
    for first, stop in [(130, 150), (145, 160)]:
        for mode in (CutMode.ENCODE, CutMode.KEYFRAME):
            assert_cut(path, tmp_path / "out.mp4", first, stop, mode)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_variable_rate_in_a_transport_stream(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "clip.ts"
    times = [0]
    for n in range(71):
        times.append(times[-1] + (1500, 3750, 45_000, 3000, 9000)[n * n % 5])
    make_clip(
        path,
        codec=codec,
        frames=72,
        times=times,
        time_base=Fraction(1, 90_000),
        size=(160, 96),
        bframes=3,
        gop=24,
    )
    found = timeline_of(path)
    assert [pts - found.pts[0] for pts in found.pts.tolist()] == times
    assert_cut(path, tmp_path / "out.mp4", 30, 55, CutMode.ENCODE)


# --- Packets without times -------------------------------------------------------------------


def without_times(path: Path, which: Callable[[int], bool]) -> None:
    """Take the times out of the video packets of a transport stream that `which` names."""
    data = bytearray(path.read_bytes())
    number = 0
    for at in range(0, len(data), 188):
        packet = memoryview(data)[at : at + 188]
        head = 4 + (packet[4] + 1 if packet[3] & 0x20 else 0)
        if not packet[1] & 0x40 or bytes(packet[head : head + 4]) != b"\0\0\1\xe0":
            continue
        if which(number):
            length = packet[head + 8]
            packet[head + 7] &= 0x3F
            packet[head + 9 : head + 9 + length] = b"\xff" * length
        number += 1
    path.write_bytes(data)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
@pytest.mark.parametrize(
    "which",
    [lambda n: n % 3 != 0, lambda n: n > 0, lambda n: True],
    ids=["every third has one", "only the first has one", "none has one"],
)
def test_frames_without_times_go_by_the_rate(
    tmp_path: Path, codec: str, which: Callable[[int], bool]
) -> None:
    path = tmp_path / "clip.ts"
    make_clip(path, codec=codec, frames=72, rate=RATE, gop=24, size=(160, 96), bframes=2)
    without_times(path, which)
    found = timeline_of(path)
    assert (found.frame_count, found.end) == (72, 3)
    # Before a key frame the decoder gives its last frames out together: one may come early.
    assert all(abs(found.offset(n) - Fraction(n, RATE)) < Fraction(1, RATE) for n in range(72))
    for first, stop in [(0, 5), (31, 53), (60, 72)]:
        assert_cut(path, tmp_path / "out.mp4", first, stop, CutMode.ENCODE)


# --- Clocks that start over ------------------------------------------------------------------


def joined(tmp_path: Path, first: str, second: str) -> bytes:
    data = b""
    for name, offset in (("a.ts", first), ("b.ts", second)):
        path = tmp_path / name
        make_clip(
            path,
            frames=48,
            rate=RATE,
            size=(160, 96),
            container_options={"output_ts_offset": offset},
        )
        data += path.read_bytes()
    return data


@pytest.mark.parametrize(
    ("first", "second", "restarts"),
    [("0", "0", True), ("1", "0", True), ("0", "2", False), ("0", "60", False)],
)
def test_a_clock_that_starts_over_is_told(
    tmp_path: Path, first: str, second: str, restarts: bool
) -> None:
    data = joined(tmp_path, first, second)
    found = read_timeline(io.BytesIO(data))
    assert (found.frame_count, found.restarts) == (96, restarts)
    settings = ShotSettings(detector=AdaptiveSettings())
    scan = detect_shots(io.BytesIO(data), settings, lambda shot: None)
    assert (scan.frame_count, scan.restarts) == (96, restarts)
