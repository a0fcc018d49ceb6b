"""Hiding the end of an MP4 or MOV: exact in both readers, whatever rounds where."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.mp4_edit import hide_after, lengths
from reelsplit_server.media.mp4_index import read_mp4_index
from reelsplit_server.media.output import MOVIE_TIMESCALE
from tests.clips import AudioTrack, make_clip, read_numbers

SIZE = (192, 112)
FRAMES = 24
_RAW_PICTURES = ("-an", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray")
OPTIONS = {"movflags": "+faststart", "movie_timescale": str(MOVIE_TIMESCALE)}


def clip(path: Path, *, options: dict[str, str] | None = None, **settings: Any) -> Path:
    chosen = {"frames": FRAMES, "gop": 12, "size": SIZE, "audio": [AudioTrack()], **settings}
    make_clip(path, container_options=OPTIONS if options is None else options, **chosen)
    return path


def with_preroll(source: Path, path: Path, hidden: int, rate: Fraction) -> Path:
    """The same packets, so early that the first `hidden` frames lie before time 0."""
    with av.open(str(source)) as old, av.open(str(path), "w", container_options=OPTIONS) as new:
        streams = [new.add_stream_from_template(stream, opaque=True) for stream in old.streams]
        packets: list[Packet[Any]] = [packet for packet in old.demux() if packet.size]
        for packet in packets:
            ticks = round(hidden / rate / packet.time_base)
            packet.pts, packet.dts = (packet.pts or 0) - ticks, (packet.dts or 0) - ticks
            packet.stream = streams[packet.stream_index]
            new.mux_one(packet)
    return path


def durations(path: Path) -> tuple[Fraction, Fraction]:
    with path.open("rb") as file:
        return lengths(file)


def second_reader(path: Path) -> tuple[int, str]:
    """How many frames Debian's ffmpeg gets out of a file, and what it says to that."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg command")
    done = subprocess.run(
        ["ffmpeg", "-v", "warning", "-i", path, *_RAW_PICTURES, "-"],
        capture_output=True,
        check=True,
    )
    return len(done.stdout) // (SIZE[0] * SIZE[1]), done.stderr.decode()


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(60000, 1001)])
def test_not_one_frame_more_nor_less(tmp_path: Path, bframes: int, rate: Fraction) -> None:
    source = clip(tmp_path / "clip.mp4", bframes=bframes, rate=rate)
    path = tmp_path / "hidden.mp4"
    for count in (1, 2, 11, 12, 13, 17, 23):
        shutil.copy(source, path)
        hide_after(path, count / rate)
        assert read_numbers(path) == list(range(count))
        assert durations(path)[1] == Fraction(int(count / rate * MOVIE_TIMESCALE), MOVIE_TIMESCALE)
        with path.open("rb") as file:
            index = read_mp4_index(file, 1)
        assert index is not None
        assert int(index.shown.sum()) == count
    hide_after(path, 7 / rate)
    assert second_reader(path) == (7, "")


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_start_and_end_both_hidden(tmp_path: Path, bframes: int, ending: str) -> None:
    rate = Fraction(30000, 1001)
    source = clip(tmp_path / f"clip.{ending}", bframes=bframes, rate=rate)
    path = with_preroll(source, tmp_path / f"hidden.{ending}", 5, rate)
    hide_after(path, 9 / rate)
    assert read_numbers(path) == list(range(5, 14))
    assert second_reader(path) == (9, "")
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.start_time == 0
        assert abs((video.duration or 0) * (video.time_base or 0) - 9 / rate) < Fraction(1, 30000)


@pytest.mark.parametrize("options", [{"movie_timescale": "1000"}, {"movflags": "+faststart"}, {}])
def test_index_at_either_end_and_coarse_clocks(tmp_path: Path, options: dict[str, str]) -> None:
    path = clip(tmp_path / "clip.mp4", options=options, rate=Fraction(60000, 1001), bframes=3)
    hide_after(path, Fraction(10 * 1001, 60000))
    assert read_numbers(path) == list(range(10))


def test_without_sound_the_movie_ends_with_its_video(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", bframes=3, audio=())
    hide_after(path, Fraction(7, 24))
    assert durations(path) == (Fraction(7, 24), Fraction(7, 24))
    with av.open(str(path)) as container:
        assert container.duration == round(Fraction(7, 24) * av.time_base)


def test_wide_boxes(tmp_path: Path) -> None:
    """Version 1 boxes, which come with durations of 32 bits and more."""
    path = clip(tmp_path / "clip.mp4", frames=50, options={"movie_timescale": "2000000000"})
    data = path.read_bytes()
    for box in (b"mvhd", b"tkhd", b"elst"):
        assert data[data.index(box) + 4] == 1
    hide_after(path, Fraction(31, 24))
    assert read_numbers(path) == list(range(31))
    assert durations(path)[1] == Fraction(int(Fraction(31, 24) * 2_000_000_000), 2_000_000_000)


def test_an_empty_edit_before_counts(tmp_path: Path) -> None:
    """A video that begins after time 0 ends at the same moment, so it shows less."""
    source = clip(tmp_path / "clip.mp4", bframes=2, audio=())
    path = with_preroll(source, tmp_path / "late.mp4", -6, Fraction(24))
    assert durations(path)[1] == Fraction(30, 24)
    hide_after(path, Fraction(14, 24))
    assert durations(path)[1] == Fraction(14, 24)
    assert read_numbers(path) == list(range(8))


def test_nothing_is_made_longer(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", bframes=3)
    before = path.read_bytes()
    hide_after(path, Fraction(10))
    assert path.read_bytes() == before


def test_sound_keeps_its_own_end(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", bframes=3)
    hide_after(path, Fraction(1, 2))
    assert durations(path) == (Fraction(1), Fraction(1, 2))
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        assert (audio.duration or 0) * (audio.time_base or 0) == Fraction(1)
        assert container.duration == av.time_base


def test_only_packets_marked_as_key_frames_are_sync_samples(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", frames=36, audio=())
    path = tmp_path / "marked.mp4"
    with av.open(str(source)) as old, av.open(str(path), "w", container_options=OPTIONS) as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for index, packet in enumerate(p for p in old.demux(video=0) if p.size):
            packet.is_keyframe = index in (0, 24)
            packet.stream = stream
            new.mux_one(packet)
    with path.open("rb") as file:
        index_of_file = read_mp4_index(file, 1)
    assert index_of_file is not None
    assert index_of_file.keys.nonzero()[0].tolist() == [0, 24]


@pytest.mark.parametrize("end", [Fraction(0), Fraction(-1), Fraction(1, 1_000_000)])
def test_an_end_that_leaves_nothing_is_refused(tmp_path: Path, end: Fraction) -> None:
    path = clip(tmp_path / "clip.mp4")
    before = path.read_bytes()
    with pytest.raises(MediaError) as caught:
        hide_after(path, end)
    assert caught.value.reason == "CONTAINER_REFUSED"
    assert path.read_bytes() == before


def test_files_that_are_not_as_expected_are_refused_and_kept(tmp_path: Path) -> None:
    whole = clip(tmp_path / "clip.mp4").read_bytes()
    fragmented = clip(
        tmp_path / "fragmented.mp4", options={"movflags": "frag_keyframe+empty_moov"}
    ).read_bytes()
    path = tmp_path / "odd.mp4"
    late_header = clip(
        tmp_path / "late.mp4", options={"movflags": "frag_keyframe+delay_moov"}
    ).read_bytes()
    no_edit_list = whole.replace(b"edts", b"free")
    many_edits = whole.replace(b"elst\0\0\0\0\0\0\0\1", b"elst\0\0\0\0\xff\xff\xff\xff")
    no_edits = whole.replace(b"elst\0\0\0\0\0\0\0\1", b"elst\0\0\0\0\0\0\0\0")
    for data in (b"", whole[:500], fragmented, late_header, no_edit_list, many_edits, no_edits):
        path.write_bytes(data)
        with pytest.raises(MediaError) as caught:
            hide_after(path, Fraction(1, 2))
        assert caught.value.reason == "CONTAINER_REFUSED"
        assert path.read_bytes() == data
    with pytest.raises(MediaError):
        hide_after(tmp_path / "none.mp4", Fraction(1))
