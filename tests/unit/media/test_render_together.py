"""Several segments encoded in one pass: each as if it were alone, and no frame decoded twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import AudioCodec, Container
from reelsplit_server.media.reader import Reader
from reelsplit_server.media.render import (
    AudioSettings,
    Piece,
    RenderPlan,
    RenderResult,
    VideoSettings,
    render,
    render_all,
)
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.unit.media.sound import hear

RATE = Fraction(24)
FRAMES = 96
Range = tuple[int, int]

#: Neighbours, neighbours with holes between them, overlaps, and one within the next one's GOP.
RANGES: list[list[Range]] = [
    [(5, 30), (30, 41), (41, 70), (70, 96)],
    [(5, 9), (11, 30), (60, 62)],
    [(7, 40), (20, 50), (40, 60)],
    [(0, 96), (90, 96)],
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four seconds in two containers; open GOP of 24 with B-frames, two tracks of sound."""
    folder = tmp_path_factory.mktemp("together")
    made = {ending: folder / f"clip.{ending}" for ending in ("mp4", "mkv", "ts")}
    for path in made.values():
        make_clip(
            path,
            frames=FRAMES,
            gop=24,
            bframes=3,
            open_gop=True,
            audio=[AudioTrack(), AudioTrack(frequency=880.0)],
        )
    return made


def plan_of(wanted: Range, container: Container, audio: AudioSettings) -> RenderPlan:
    return RenderPlan(
        start=wanted[0] / RATE,
        end=wanted[1] / RATE,
        container=container,
        video=VideoSettings(preset="ultrafast"),
        audio=audio,
    )


def all_of(
    source: Path, folder: Path, ranges: list[Range], container: Container, audio: AudioSettings
) -> tuple[list[Path], list[RenderResult]]:
    paths = [folder / f"{index}.{container.value}" for index in range(len(ranges))]
    pieces = [
        Piece(plan=plan_of(wanted, container, audio), path=path, on_progress=lambda done: None)
        for wanted, path in zip(ranges, paths, strict=True)
    ]
    with source.open("rb") as file:
        return paths, list(render_all(file, pieces))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each packet of the video was decoded, by its presentation time."""
    times: Counter[int] = Counter()
    decode = Reader._decode

    def count(reader: Reader, packet: Packet[Stream] | None) -> list[VideoFrame]:
        if packet is not None and packet.pts is not None:
            times[packet.pts] += 1
        return decode(reader, packet)

    monkeypatch.setattr(Reader, "_decode", count)
    return times


@pytest.mark.parametrize("ranges", RANGES, ids=str)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_each_segment_is_as_if_it_were_made_alone(
    clips: dict[str, Path],
    tmp_path: Path,
    decoded: Counter[int],
    ending: str,
    ranges: list[Range],
) -> None:
    audio = AudioSettings(codec=AudioCodec.AAC if ending == "mkv" else None)
    container = Container(ending)
    paths, results = all_of(clips[ending], tmp_path, ranges, container, audio)
    assert set(decoded.values()) == {1}
    for path, result, wanted in zip(paths, results, ranges, strict=True):
        assert read_numbers(path) == list(range(*wanted))
        alone = tmp_path / f"alone.{ending}"
        with clips[ending].open("rb") as file:
            single = render(file, plan_of(wanted, container, audio), alone)
        assert replace(single, audio_offset=None) == replace(result, audio_offset=None)
        one, other = hear(path), hear(alone)
        # Matroska's milliseconds are another grid where the first packet is another.
        slack = Fraction(1, 1000) if ending == "mkv" else 0
        assert abs(one.first - other.first) <= slack
        assert abs(one.last - other.last) <= slack
        assert slack or (one.samples == other.samples).all()


def test_segments_apart_decode_their_own_frames_only(
    clips: dict[str, Path], tmp_path: Path, decoded: Counter[int]
) -> None:
    all_of(clips["mp4"], tmp_path, [(30, 34), (37, 40)], Container.MP4, AudioSettings())
    assert set(decoded.values()) == {1}
    assert len(decoded) < 40


def test_each_comes_as_soon_as_it_is_written(clips: dict[str, Path], tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.mp4" for index in range(2)]
    pieces = [
        Piece(
            plan=plan_of(wanted, Container.MP4, AudioSettings()),
            path=path,
            on_progress=lambda done: None,
        )
        for wanted, path in zip([(0, 24), (24, 96)], paths, strict=True)
    ]
    with clips["mp4"].open("rb") as file:
        results = render_all(file, pieces)
        assert next(results).frame_count == 24
        assert read_numbers(paths[0]) == list(range(24))
        assert next(results).frame_count == 72


def test_damage_ends_it_before_a_segment_is_touched(clips: dict[str, Path], tmp_path: Path) -> None:
    """What damage does to which segment shows when each is made alone."""
    broken = tmp_path / "broken.ts"
    data = bytearray(clips["ts"].read_bytes())
    video, middle = 0x100, len(data) // 2
    for at in range(0, len(data), 188):
        if at > middle and int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == video:
            data[at + 40 : at + 188] = bytes(148)
    broken.write_bytes(data)
    ranges = [(0, 20), (20, 96)]
    paths, results = all_of(broken, tmp_path, ranges, Container.MP4, AudioSettings())
    assert [result.frame_count for result in results] == [20]
    assert read_numbers(paths[0]) == list(range(20))


def test_a_range_without_frames_is_told(clips: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="ends before"):
        all_of(clips["mp4"], tmp_path, [(80, 96), (96, 100)], Container.MP4, AudioSettings())
