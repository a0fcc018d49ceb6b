from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.timeline import Timeline, read_timeline
from tests.clips import make_clip
from tests.media import footage, real


def read(path: Path) -> Timeline:
    with path.open("rb") as file:
        return read_timeline(file)


def decoded_times(path: Path, format: str | None = None) -> list[int | None]:
    with av.open(str(path), format=format) as container:
        container.streams.video[0].thread_type = "AUTO"
        return [frame.pts for frame in container.decode(video=0)]


def timeline(*pts: int, base: Fraction = Fraction(1, 10), last: int = 1) -> Timeline:
    return Timeline(time_base=base, pts=np.array(pts, dtype=np.int64), last_duration=last)


def quick() -> list[str]:
    return [
        name
        for name in footage("traits", "splices", "real")
        if "audio_only" not in name and "full" not in name and "/dev_B_x265" not in name
    ]


def slow() -> list[str]:
    return [name for name in footage() if "audio_only" not in name and name not in quick()]


def assert_equals_decoding(name: str) -> None:
    path = real(name)
    assert read(path).pts.tolist() == decoded_times(path)


@pytest.mark.parametrize("name", quick())
def test_it_equals_decoding_everything(name: str) -> None:
    assert_equals_decoding(name)


@pytest.mark.long
@pytest.mark.parametrize("name", slow())
def test_it_equals_decoding_everything_in_big_files(name: str) -> None:
    assert_equals_decoding(name)


@pytest.mark.parametrize(
    ("codec", "suffix", "bframes"),
    [
        ("libx264", "mp4", 3),
        ("libx264", "ts", 3),
        ("libx264", "flv", 2),
        ("libx265", "mkv", 3),
        ("libvpx", "webm", 0),
        ("libsvtav1", "mkv", 0),
        ("mpeg2video", "ts", 2),
        ("mpeg2video", "mpg", 2),
        ("mpeg4", "avi", 2),
    ],
)
def test_it_equals_decoding_made_clips(
    tmp_path: Path, codec: str, suffix: str, bframes: int
) -> None:
    path = tmp_path / f"clip.{suffix}"
    make_clip(path, codec=codec, frames=40, rate=25, bframes=bframes)
    assert read(path).pts.tolist() == decoded_times(path)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_hidden_frames_do_not_count(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "clip.webm"
    hidden = {"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "20", "b": "300k"}
    make_clip(path, codec=codec, frames=60, gop=40, options={**hidden, "cpu-used": "5"})
    assert read(path).frame_count == 60


def test_variable_rate_keeps_every_time(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    make_clip(
        path, frames=6, times=[0, 40, 50, 300, 310, 1000], time_base=Fraction(1, 1000), bframes=2
    )
    found = read(path)
    assert (found.pts - found.pts[0]).tolist() == [0, 40, 50, 300, 310, 1000]
    assert found.offset(3) == Fraction(3, 10)


def test_h264_in_avi_has_one_slot_for_each_frame(tmp_path: Path) -> None:
    # FFmpeg's own times for it come out of order.
    path = tmp_path / "clip.avi"
    make_clip(path, frames=40, bframes=3)
    found = read(path)
    assert np.diff(found.pts).tolist() == [1] * 39
    assert not found.damaged


def test_raw_streams_without_times_go_by_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.h264"
    make_clip(path, frames=30, rate=24, bframes=2)
    found = read(path)
    assert found.frame_count == 30
    assert found.end == Fraction(30, 24)


def test_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=1)
    found = read(path)
    assert (found.frame_count, found.offset(0), found.end) == (1, Fraction(0), Fraction(1, 24))


def test_a_start_within_a_gop_begins_with_the_first_frame_that_comes_out(tmp_path: Path) -> None:
    whole = tmp_path / "whole.ts"
    make_clip(whole, frames=60, bframes=3, open_gop=True)
    data = whole.read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(data[len(data) // 188 // 3 * 188 :])
    found = read(path)
    assert 0 < found.frame_count < 60
    assert found.pts.tolist() == decoded_times(path)


def test_a_file_that_breaks_off_keeps_what_can_be_decoded(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    make_clip(whole, frames=100, bframes=3, container_options={"movflags": "faststart"})
    data = whole.read_bytes()
    full = read(whole)
    found = read_timeline(io.BytesIO(data[: len(data) * 2 // 3]))
    assert found.truncated
    assert found.detail is not None
    assert 30 < found.frame_count < 100
    assert found.pts.tolist() == full.pts[: found.frame_count].tolist()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_what_is_left_of_a_broken_file_does_not_depend_on_threads(
    tmp_path: Path, threads: int
) -> None:
    whole = tmp_path / "whole.mp4"
    make_clip(whole, frames=60, bframes=3, container_options={"movflags": "faststart"})
    data = whole.read_bytes()[: whole.stat().st_size * 2 // 3]
    one = read_timeline(io.BytesIO(data), threads=1)
    assert read_timeline(io.BytesIO(data), threads=threads).pts.tolist() == one.pts.tolist()


def test_a_corrupt_stretch_drops_what_cannot_be_decoded(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    make_clip(whole, frames=60, bframes=3, container_options={"movflags": "faststart"})
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    found = read_timeline(io.BytesIO(data))
    assert found.damaged
    assert not found.truncated
    assert 30 < found.frame_count < 60


def test_a_lost_connection_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    make_clip(path, frames=60)
    size = path.stat().st_size

    class Lost(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            if self.tell() > size // 2:
                raise ConnectionError("gone")
            return super().read(min(count or 1, 4096))

    with pytest.raises(ConnectionError, match="gone"):
        read_timeline(Lost(path.read_bytes()))


def test_files_joined_end_to_end_go_on(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    make_clip(path, frames=50, rate=25)
    data = path.read_bytes()
    found = read_timeline(io.BytesIO(data + data))
    assert found.frame_count == 100
    assert found.end == 4
    assert found.damaged


def test_no_frame_at_all_is_an_error() -> None:
    with pytest.raises(MediaError) as caught:
        read_timeline(io.BytesIO(b"\x00" * 4000))
    assert caught.value.reason == "SOURCE_UNREADABLE"


@pytest.mark.parametrize("suffix", ["mp4", "mpg"])
def test_progress_rises_to_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    make_clip(path, codec="mpeg2video", frames=50, rate=25)
    told: list[Fraction] = []
    with path.open("rb") as file:
        read_timeline(file, told.append)
    assert told == sorted(set(told))
    assert told[-1] == 1
    assert len(told) > 2


def test_the_end_is_that_of_the_last_frame() -> None:
    assert timeline(5, 6, 9, last=4).end == Fraction(8, 10)


def test_offsets_are_counted_from_the_first_frame() -> None:
    times = timeline(5, 6, 9, last=4)
    assert [times.offset(n) for n in range(4)] == [0, Fraction(1, 10), Fraction(4, 10), times.end]
    with pytest.raises(IndexError):
        times.offset(4)


def test_a_frame_is_found_by_a_time_up_to_half_a_tick_late() -> None:
    times = timeline(5, 6, 9)
    assert times.first_at(Fraction(0)) == 0
    assert times.first_at(Fraction(10, 100)) == 1
    assert times.first_at(Fraction(15, 100)) == 1
    assert times.first_at(Fraction(16, 100)) == 2
    assert times.first_at(Fraction(-3)) == 0
    assert times.first_at(Fraction(100)) == 3


SPANS = [
    (Fraction(0), Fraction(1, 10), range(1)),
    (Fraction(1, 10), Fraction(4, 10), range(1, 2)),
    (Fraction(1, 10), Fraction(5, 10), range(1, 3)),
    (Fraction(2, 10), Fraction(3, 10), range(2, 2)),
    (Fraction(3, 10), Fraction(1, 10), range(2, 2)),
]


@pytest.mark.parametrize(("start", "end", "frames"), SPANS)
def test_a_span_is_half_open(start: Fraction, end: Fraction, frames: range) -> None:
    assert timeline(5, 6, 9).span(start, end) == frames
