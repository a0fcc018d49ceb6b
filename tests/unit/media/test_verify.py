"""Checking written segments: good files of all kinds pass, broken ones of all kinds do not."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import pytest
from av.packet import Packet

from reelsplit_server.media.formats import Container
from reelsplit_server.media.mp4_edit import hide_after
from reelsplit_server.media.output import MOVIE_TIMESCALE
from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.verify import Expected, VerificationFailed, verify
from tests.clips import AudioTrack, make_clip

RATE = 24
GOP = 12
FRAMES = 48
OPTIONS = {
    "mp4": {"movflags": "+faststart", "movie_timescale": str(MOVIE_TIMESCALE)},
    "mov": {"movflags": "+faststart", "movie_timescale": str(MOVIE_TIMESCALE)},
    "mkv": {"avoid_negative_ts": "disabled"},
    "webm": {"avoid_negative_ts": "disabled"},
    "ts": {},
}

#: Changes a file's packets, all streams' in the order of the file; the video is stream 0.
Edit: TypeAlias = "Callable[[list[Packet[Any]]], None]"


def clip(path: Path, **settings: Any) -> Path:
    settings = {"frames": FRAMES, "rate": RATE, "gop": GOP, "size": (192, 112), **settings}
    make_clip(path, container_options=OPTIONS[path.suffix[1:]], **settings)
    return path


def expected(path: Path, **changes: Any) -> Expected:
    """What a clip of `clip` has to show, if nothing else is said."""
    frames = changes.pop("frames", FRAMES)
    rate = Fraction(changes.pop("rate", RATE))
    usual = Expected(
        container=Container(path.suffix[1:]),
        times=np.arange(frames, dtype=np.int64),
        time_base=1 / rate,
        end=frames / rate,
        frame_rate=rate,
    )
    return dataclasses.replace(usual, **changes)


def remux(source: Path, path: Path, edit: Edit, extradata: bytes | None = None) -> Path:
    """Write the source's packets anew after `edit`."""
    with (
        av.open(str(source)) as old,
        av.open(str(path), "w", container_options=OPTIONS[path.suffix[1:]]) as new,
    ):
        streams = [new.add_stream_from_template(stream, opaque=True) for stream in old.streams]
        context: Any = streams[0].codec_context
        context.framerate = old.streams.video[0].average_rate
        if extradata is not None:
            context.extradata = extradata
        packets = [packet for packet in old.demux() if packet.size]
        if old.format.name.startswith("matroska"):
            settle(packets)
        for packet in packets:
            packet.stream = streams[packet.stream_index]
        edit(packets)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            new.mux_one(packet)
    return path


def settle(packets: Sequence[Packet[Any]]) -> None:
    """Matroska has no decoding times, and FFmpeg's first ones are none."""
    pictures = [packet for packet in packets if packet.stream_index == 0]
    times = sorted(packet.pts or 0 for packet in pictures)
    for packet, time in zip(pictures, times, strict=True):
        packet.dts = time - 200


def pictures(packets: list[Packet[Any]]) -> list[Packet[Any]]:
    return [packet for packet in packets if packet.stream_index == 0]


def replaced(packets: list[Packet[Any]], index: int, data: bytes) -> None:
    """Put other data in the place of a video packet's."""
    old = pictures(packets)[index]
    new: Packet[Any] = Packet(data)
    new.pts, new.dts, new.duration, new.time_base = old.pts, old.dts, old.duration, old.time_base
    new.is_keyframe = old.is_keyframe
    new.stream = old.stream
    packets[packets.index(old)] = new


def failing(path: Path, wanted: Expected) -> str:
    """Which check the file fails."""
    with pytest.raises(VerificationFailed) as caught:
        verify(path, wanted)
    assert caught.value.reason == "VERIFICATION_FAILED"
    assert caught.value.message.startswith("The written segment did not pass its check: ")
    return caught.value.metadata["check"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with B-frames and closed GOPs, and AAC, in MP4."""
    folder = tmp_path_factory.mktemp("good")
    return clip(folder / "good.mp4", bframes=3, audio=[AudioTrack()])


@pytest.fixture(scope="module")
def good_ts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("good") / "good.ts", bframes=3, audio=[AudioTrack()])


SOUND = AudioPlaced(
    index=1,
    codec="aac",
    first=Fraction(0),
    last=Fraction(FRAMES, RATE),
    tolerance=Fraction(1, 48_000),
    overrun=Fraction(0),
)


@pytest.mark.parametrize(
    ("ending", "settings"),
    [
        ("mp4", {"codec": "libx264", "bframes": 0}),
        ("mov", {"codec": "libx264", "bframes": 3, "rate": Fraction(30000, 1001)}),
        ("mp4", {"codec": "libx264", "bframes": 3, "rate": Fraction(60000, 1001)}),
        ("mkv", {"codec": "libx264", "bframes": 3, "rate": Fraction(30000, 1001)}),
        ("mkv", {"codec": "libx264", "bframes": 0, "rate": Fraction(24000, 1001)}),
        ("ts", {"codec": "libx264", "bframes": 3, "rate": 25}),
        ("ts", {"codec": "libx264", "bframes": 0, "rate": Fraction(24000, 1001)}),
        ("mp4", {"codec": "libx265", "bframes": 3}),
        ("mkv", {"codec": "libx265", "bframes": 3, "open_gop": True}),
        ("ts", {"codec": "libx265", "bframes": 2}),
        ("mp4", {"codec": "libsvtav1"}),
        ("mkv", {"codec": "libsvtav1", "rate": Fraction(24000, 1001)}),
        ("webm", {"codec": "libvpx-vp9"}),
        ("webm", {"codec": "libvpx"}),
        ("mp4", {"codec": "mpeg4", "bframes": 2}),
        ("ts", {"codec": "mpeg2video", "bframes": 2, "rate": 25}),
        ("mov", {"codec": "prores_ks", "frames": 12}),
        ("mkv", {"codec": "ffv1", "frames": 12}),
        ("mp4", {"codec": "libx264", "frames": 1}),
        ("ts", {"codec": "libx264", "frames": 1}),
        ("mkv", {"codec": "libx264", "frames": 2}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_good_files_pass_as_copies_and_as_encoded(
    tmp_path: Path, ending: str, settings: dict[str, Any]
) -> None:
    path = clip(tmp_path / f"clip.{ending}", **settings)
    frames = settings.get("frames", FRAMES)
    wanted = expected(path, frames=frames, rate=settings.get("rate", RATE))
    copied = verify(path, wanted)
    assert copied.frame_count == frames
    assert copied.decoded_frames == min(frames, 4)
    assert copied.audio_offset is None
    encoded = verify(path, dataclasses.replace(wanted, encoded_head=frames))
    assert encoded.decoded_frames == frames


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_a_variable_rate_passes(tmp_path: Path, ending: str) -> None:
    times = [0, 40, 80, 200, 230, 700, 740, 780, 2000, 2040]
    path = clip(
        tmp_path / f"clip.{ending}",
        frames=10,
        times=times,
        time_base=Fraction(1, 1000),
        bframes=2,
    )
    wanted = expected(path, frames=10, frame_rate=None, end=Fraction("2.0815"))
    wanted = dataclasses.replace(
        wanted, times=np.array(times, dtype=np.int64), time_base=Fraction(1, 1000)
    )
    if ending == "mp4":
        # FFmpeg does not know how long the last frame is shown: as long as one decoding step.
        wanted = dataclasses.replace(wanted, end=shown_until(path))
    assert verify(path, wanted).frame_count == 10
    moved = wanted.times.copy()
    moved[5] += 2
    assert failing(path, dataclasses.replace(wanted, times=moved)) == "times"


def shown_until(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        last = max((p for p in container.demux(video=0) if p.size), key=lambda p: p.pts or 0)
        return ((last.pts or 0) + (last.duration or 0)) * last.time_base


def test_only_frames_around_seams_are_decoded(good: Path) -> None:
    found = verify(good, expected(good, encoded_head=GOP, encoded_tail=GOP, audio=[SOUND]))
    # The head and 8 after it; the GOP before the tail and the tail.
    assert found.decoded_frames == GOP + 8 + 2 * GOP
    assert found.audio_offset == 0


def test_an_encoded_end_begins_with_a_key_frame(good: Path) -> None:
    assert failing(good, expected(good, encoded_tail=GOP // 2)) == "keys"


@pytest.mark.parametrize(
    ("index", "check"),
    [(5, "decoding"), (GOP + 3, "decoding"), (30, "decoding"), (40, "decoding"), (21, None)],
    ids=["head", "after the head", "before the end", "end", "middle"],
)
def test_pictures_that_cannot_be_decoded_are_found_where_they_matter(
    good: Path, tmp_path: Path, index: int, check: str | None
) -> None:
    def spoil(packets: list[Packet[Any]]) -> None:
        data = bytearray(bytes(pictures(packets)[index]))
        # The slice header and what follows, not the length before it nor the type.
        data[5:16] = b"\xff" * len(data[5:16])
        replaced(packets, index, bytes(data))

    path = remux(good, tmp_path / "spoilt.mp4", spoil)
    wanted = expected(path, encoded_head=GOP, encoded_tail=GOP)
    if check is None:
        assert verify(path, wanted).frame_count == FRAMES
    else:
        assert failing(path, wanted) == check


def drop(*indexes: int) -> Edit:
    def edit(packets: list[Packet[Any]]) -> None:
        for packet in [pictures(packets)[index] for index in indexes]:
            packets.remove(packet)

    return edit


def show_late(index: int, ticks: int) -> Edit:
    def edit(packets: list[Packet[Any]]) -> None:
        packet = pictures(packets)[index]
        packet.pts = (packet.pts or 0) + ticks

    return edit


def all_late(packets: list[Packet[Any]]) -> None:
    for packet in packets:
        late = round(Fraction(1, RATE) / packet.time_base)
        packet.pts, packet.dts = (packet.pts or 0) + late, (packet.dts or 0) + late


def unmark(index: int) -> Edit:
    def edit(packets: list[Packet[Any]]) -> None:
        pictures(packets)[index].is_keyframe = False

    return edit


def mark(index: int) -> Edit:
    def edit(packets: list[Packet[Any]]) -> None:
        pictures(packets)[index].is_keyframe = True

    return edit


def swap(one: int, other: int) -> Edit:
    """Exchange the data of two packets, which keep their times."""

    def edit(packets: list[Packet[Any]]) -> None:
        first, second = bytes(pictures(packets)[one]), bytes(pictures(packets)[other])
        replaced(packets, one, second)
        replaced(packets, other, first)

    return edit


def stretch(packets: list[Packet[Any]]) -> None:
    for packet in pictures(packets):
        if packet.pts == max(p.pts or 0 for p in pictures(packets)):
            packet.duration = 3 * (packet.duration or 0)


def repeat_sets(packets: list[Packet[Any]]) -> None:
    first = bytes(pictures(packets)[GOP])
    sets = bytes.fromhex("00000004 68ebe3cb")
    replaced(packets, GOP, sets + first)


def break_lengths(packets: list[Packet[Any]]) -> None:
    data = bytes(pictures(packets)[20])
    replaced(packets, 20, (len(data) + 9).to_bytes(4, "big") + data[4:])


def drop_sound(first: int, last: int | None) -> Edit:
    def edit(packets: list[Packet[Any]]) -> None:
        sound = [packet for packet in packets if packet.stream_index == 1]
        for packet in sound[first:last]:
            packets.remove(packet)

    return edit


def late_sound(samples: int) -> Edit:
    def edit(packets: list[Packet[Any]]) -> None:
        for packet in packets:
            if packet.stream_index == 1:
                packet.pts = packet.dts = (packet.pts or 0) + samples

    return edit


@pytest.mark.parametrize(
    ("edit", "checks"),
    [
        (drop(20), {"frame_count"}),
        (drop(0), {"keys"}),
        (drop(FRAMES - 1), {"frame_count"}),
        (drop(*range(GOP, 2 * GOP)), {"frame_count"}),
        (show_late(FRAMES - 1, 3), {"times"}),
        (show_late(21, -1), {"times"}),
        (show_late(21, 512), {"times"}),
        (all_late, {"times"}),
        (unmark(0), {"keys"}),
        (unmark(2 * GOP), {"keys"}),
        (mark(2 * GOP + 1), {"keys"}),
        (swap(1, 3), {"decoding"}),
        (swap(GOP, GOP + 1), {"keys"}),
        (stretch, {"duration"}),
        (repeat_sets, {"sets"}),
        (break_lengths, {"units"}),
        (drop_sound(0, 12), {"audio"}),
        (drop_sound(-3, None), {"audio"}),
        (drop_sound(0, None), {"audio", "unreadable", "parameters"}),
        (late_sound(5), {"audio"}),
        (late_sound(-100), {"audio"}),
    ],
)
def test_wrong_files_fail(good: Path, tmp_path: Path, edit: Edit, checks: set[str]) -> None:
    path = remux(good, tmp_path / "wrong.mp4", edit)
    wanted = expected(path, encoded_head=GOP, audio=[SOUND])
    assert failing(path, wanted) in checks


def test_the_same_file_unchanged_passes(good: Path, tmp_path: Path) -> None:
    path = remux(good, tmp_path / "same.mp4", lambda packets: None)
    verify(path, expected(path, encoded_head=GOP, audio=[SOUND]))


@pytest.mark.parametrize(
    ("edit", "checks"),
    [
        (drop(20), {"frame_count"}),
        (drop(0), {"keys", "frame_count", "unreadable", "units"}),
        (show_late(21, 200), {"times"}),
        (swap(1, 3), {"decoding"}),
        (late_sound(5000), {"audio"}),
        (drop_sound(0, 12), {"audio"}),
    ],
)
def test_wrong_transport_streams_fail(
    good_ts: Path, tmp_path: Path, edit: Edit, checks: set[str]
) -> None:
    path = remux(good_ts, tmp_path / "wrong.ts", edit)
    sound = dataclasses.replace(SOUND, tolerance=Fraction(1024, 48_000))
    wanted = expected(path, encoded_head=GOP, audio=[sound])
    verify(remux(good_ts, tmp_path / "same.ts", lambda packets: None), wanted)
    assert failing(path, wanted) in checks


def test_parameter_sets_of_something_else_fail(good: Path, tmp_path: Path) -> None:
    other = clip(tmp_path / "other.mp4", codec="libx264", options={"coder": "vlc", "refs": "1"})
    with av.open(str(other)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    path = remux(good, tmp_path / "wrong.mp4", lambda packets: None, extradata)
    assert failing(path, expected(path)) == "decoding"


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"frames": FRAMES + 1}, "frame_count"),
        ({"frames": FRAMES - 1}, "frame_count"),
        ({"rate": Fraction(24000, 1001)}, "times"),
        ({"end": Fraction(FRAMES, RATE) + Fraction(1, 1000)}, "duration"),
        ({"end": Fraction(FRAMES - 1, RATE)}, "duration"),
        ({"frame_rate": Fraction(25)}, "frame_rate"),
        ({"audio": [dataclasses.replace(SOUND, codec="opus")]}, "audio"),
        ({"audio": [dataclasses.replace(SOUND, index=2)]}, "audio"),
        ({"audio": [dataclasses.replace(SOUND, index=0)]}, "audio"),
        ({"audio": [dataclasses.replace(SOUND, empty=True)]}, "audio"),
    ],
)
def test_other_expectations_fail(good: Path, changes: dict[str, Any], check: str) -> None:
    assert failing(good, expected(good, **changes)) == check


def test_a_frame_less_than_the_header_says(tmp_path: Path) -> None:
    """The average rate is what players show, and a missing duration spoils it."""
    path = clip(tmp_path / "clip.mkv")
    wanted = expected(path)
    verify(path, wanted)
    other = tmp_path / "other.mkv"
    with av.open(str(path)) as old, av.open(str(other), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        stream.codec_context.framerate = Fraction(3125, 131)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux_one(packet)
    assert failing(other, wanted) == "frame_rate"


def preroll(path: Path, frames: int) -> Path:
    """Hide the first `frames` frames of a clip by an edit list, and all from the 36th on."""

    def earlier(packets: list[Packet[Any]]) -> None:
        for packet in packets:
            ticks = round(Fraction(frames, RATE) / packet.time_base)
            packet.pts, packet.dts = (packet.pts or 0) - ticks, (packet.dts or 0) - ticks

    hidden = remux(path, path.with_name("hidden.mp4"), earlier)
    hide_after(hidden, Fraction(36 - frames, RATE))
    return hidden


@pytest.mark.parametrize("bframes", [0, 3])
def test_what_an_edit_list_hides_may_lie_in_the_file_where_that_is_wanted(
    tmp_path: Path, bframes: int
) -> None:
    path = preroll(clip(tmp_path / "clip.mp4", bframes=bframes), 7)
    wanted = expected(path, frames=29, hides=True)
    assert verify(path, wanted).frame_count == 29
    assert failing(path, dataclasses.replace(wanted, hides=False)) == "frame_count"
    assert failing(path, expected(path, frames=30, hides=True)) == "frame_count"


def test_truncated_files_fail(good: Path, good_ts: Path, tmp_path: Path) -> None:
    mkv = clip(tmp_path / "clip.mkv", bframes=3, audio=[AudioTrack()])
    # The containers that keep no edit list play the encoder's delay, and miss a little.
    sound = dataclasses.replace(SOUND, tolerance=Fraction(1024, 48_000))
    for source in (good, good_ts, mkv):
        data = source.read_bytes()
        verify(source, expected(source, audio=[sound]))
        for part in (0, 10, 400, len(data) // 2, len(data) * 9 // 10):
            path = tmp_path / f"cut{source.suffix}"
            path.write_bytes(data[:part])
            assert failing(path, expected(path, audio=[sound]))


def patched(source: Path, path: Path, box: bytes, at: int, data: bytes) -> Path:
    """Put `data` at a place behind the name of a file's first box of a kind."""
    whole = source.read_bytes()
    place = whole.index(box) + len(box) + at
    path.write_bytes(whole[:place] + data + whole[place + len(data) :])
    return path


def test_two_packets_decoded_at_once_fail(tmp_path: Path) -> None:
    times = [0, 40, 80, 200, 240]
    source = clip(tmp_path / "clip.mp4", frames=5, times=times, time_base=Fraction(1, 1000))
    # The second entry of the table of decoding times: none until the next packet.
    path = patched(source, tmp_path / "wrong.mp4", b"stts", 20, bytes(4))
    assert failing(path, expected(path, frames=5, frame_rate=None)) == "decode_times"


def test_a_frame_shown_before_it_is_decoded_fails(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.ts", bframes=3)
    data = bytearray(source.read_bytes())
    for place in range(0, len(data), 188):
        packet = data[place : place + 188]
        start = packet.find(b"\x00\x00\x01\xe0")
        # Of a picture in the middle, which has both times: put the time of showing last.
        if start > 0 and packet[start + 7] >> 6 == 3 and place > len(data) // 2:
            data[place + start + 14 : place + start + 19] = bytes.fromhex("11ffffffff")
            break
    path = tmp_path / "wrong.ts"
    path.write_bytes(data)
    assert failing(path, expected(path)) in ("decode_times", "times")


def test_a_file_that_says_it_is_shorter_than_its_video_fails(good: Path, tmp_path: Path) -> None:
    path = patched(good, tmp_path / "wrong.mp4", b"mvhd", 16, MOVIE_TIMESCALE.to_bytes(4, "big"))
    assert failing(path, expected(path)) == "duration"


def test_pictures_that_a_decoder_leaves_out_without_a_word_are_missed(tmp_path: Path) -> None:
    """HEVC: leading pictures that lean on what was before the first key frame."""
    source = clip(tmp_path / "clip.ts", codec="libx265", bframes=3, open_gop=True)

    def from_second_key(packets: list[Packet[Any]]) -> None:
        second = [i for i, packet in enumerate(pictures(packets)) if packet.is_keyframe][1]
        drop(*range(second))(packets)

    path = remux(source, tmp_path / "cut.ts", from_second_key)
    with av.open(str(path)) as container:
        frames = sum(1 for packet in container.demux(video=0) if packet.size)
        assert sum(1 for _ in reopened(path)) < frames
    assert failing(path, expected(path, frames=frames)) in ("decoding", "times")


def reopened(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(("index", "check"), [(20, "decoding"), (60, None), (80, "decoding")])
def test_of_a_whole_encoded_segment_start_and_end_are_decoded(
    tmp_path: Path, index: int, check: str | None
) -> None:
    def spoil(packets: list[Packet[Any]]) -> None:
        data = bytes(pictures(packets)[index])
        replaced(packets, index, data[:5] + b"\xff" * (len(data) - 5))

    source = clip(tmp_path / "clip.mp4", frames=96, gop=24, bframes=2)
    wanted = expected(source, frames=96, encoded_head=96)
    assert verify(source, wanted).decoded_frames == 48 + 24
    path = remux(source, tmp_path / "spoilt.mp4", spoil)
    if check is None:
        verify(path, wanted)
    else:
        assert failing(path, wanted) == check


def test_sound_that_cannot_be_decoded_fails(good: Path, tmp_path: Path) -> None:
    def spoil(packets: list[Packet[Any]]) -> None:
        for old in [packet for packet in packets if packet.stream_index == 1]:
            new: Packet[Any] = Packet(b"\xa5" * old.size)
            new.pts, new.dts, new.duration = old.pts, old.dts, old.duration
            new.time_base, new.stream, new.is_keyframe = old.time_base, old.stream, True
            packets[packets.index(old)] = new

    path = remux(good, tmp_path / "spoilt.mp4", spoil)
    verify(path, expected(path))
    assert failing(path, expected(path, audio=[SOUND])) == "audio"


def test_a_missing_file_fails(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    assert failing(path, expected(path)) == "unreadable"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_flipped_bytes_end_in_a_failed_check_or_do_no_harm(tmp_path: Path, ending: str) -> None:
    track = [AudioTrack()]
    data = clip(tmp_path / f"clip.{ending}", frames=16, bframes=2, audio=track).read_bytes()
    path = tmp_path / f"flipped.{ending}"
    wanted = expected(path, frames=16, encoded_head=16)
    dice = random.Random(ending)
    caught = 0
    for _ in range(60):
        spoilt = bytearray(data)
        for _ in range(3):
            spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoilt)
        try:
            verify(path, wanted)
        except VerificationFailed:
            caught += 1
    # Most of the bytes are sound, of which only the first packets are looked into.
    assert caught >= 5


def test_more_encoded_frames_than_there_are_make_no_sense(good: Path) -> None:
    with pytest.raises(ValueError, match="frames encoded"):
        verify(good, expected(good, encoded_head=40, encoded_tail=20))
