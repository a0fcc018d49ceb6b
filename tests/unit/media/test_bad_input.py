"""Cuts from files that are broken, or lie: a right segment, one whose damage is told, or an error
that says why; never a wrong one without a word."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from av.packet import Packet
from av.stream import Stream
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from reelsplit_server.media import approach, entrance, splice
from reelsplit_server.media.render import CutMode
from tests.clips import AudioTrack, make_clip
from tests.unit.media.broken import (
    Outcome,
    box,
    numbers,
    outcome,
    patched,
    remuxed,
    samples,
)

FRAMES, RATE, GOP = 96, 24, 12
#: In frames: neither lies on a key frame, and there are two in between.
FIRST, LAST = 31, 70
START, END = Fraction(FIRST, RATE), Fraction(LAST, RATE)
MODES = list(CutMode)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered clips of four seconds: ``s.mp4`` (index at the end), ``f.mp4`` (in front),
    ``fragments.mp4``, ``s.mkv``, ``s.ts``."""
    folder = tmp_path_factory.mktemp("sources")
    for name, options in {
        "s.mp4": {},
        "f.mp4": {"movflags": "faststart"},
        "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
        "s.mkv": {},
        "s.ts": {},
    }.items():
        make_clip(
            folder / name,
            frames=FRAMES,
            gop=GOP,
            bframes=3,
            size=(160, 96),
            audio=[AudioTrack()],
            container_options=options,
        )
    return folder


def wanted(mode: CutMode, first: int = FIRST, last: int = LAST) -> list[int]:
    """The frames that a right segment has; KEYFRAME's range grows to key frames."""
    if mode is CutMode.KEYFRAME:
        first, last = first // GOP * GOP, min(-(-last // GOP) * GOP, FRAMES)
    return list(range(first, last))


def is_right(found: Outcome, mode: CutMode, first: int = FIRST, last: int = LAST) -> bool:
    return list(found.numbers) == wanted(mode, first, last)


def tells(found: Outcome, mode: CutMode) -> bool:
    """Whether nothing is wrong without a word."""
    return bool(found.reason or is_right(found, mode) or (found.result and found.result.damaged))


def broken(tmp_path: Path, data: bytes, ending: str = "mp4") -> Path:
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(data)
    return path


# Files that end too soon


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["f.mp4", "fragments.mp4", "s.mkv"])
def test_a_range_that_reaches_beyond_the_break_says_so(
    sources: Path, tmp_path: Path, name: str, mode: CutMode
) -> None:
    data = (sources / name).read_bytes()
    path = broken(tmp_path, data[: len(data) * 6 // 10], Path(name).suffix[1:])
    before = outcome(path, tmp_path / "o.mp4", Fraction(10, RATE), Fraction(40, RATE), mode)
    assert is_right(before, mode, 10, 40)
    assert before.result is not None
    assert before.result.damaged == 0
    over = outcome(path, tmp_path / "o.mp4", START, END, mode)
    assert over.result is not None
    assert over.result.damaged
    assert over.result.broken is not None
    assert Fraction(40, RATE) < over.result.broken[0] <= over.result.broken[1] < END
    assert set(over.numbers) < set(wanted(mode))


def test_without_an_index_nothing_can_be_read(sources: Path, tmp_path: Path) -> None:
    data = (sources / "s.mp4").read_bytes()
    path = broken(tmp_path, data[: box(data, b"moov")[0] - 8])
    assert outcome(path, tmp_path / "o.mp4", START, END, CutMode.AUTO).reason == "SOURCE_UNREADABLE"


@pytest.mark.parametrize("change", ["gone", "cut off", "a lie"])
def test_without_cues_the_range_is_found_all_the_same(
    sources: Path, tmp_path: Path, change: str
) -> None:
    data = (sources / "s.mkv").read_bytes()
    at = data.rindex(b"\x1c\x53\xbb\x6b")
    changed = {
        "gone": data[:at] + b"\xec" + data[at + 1 :],
        "cut off": data[:at],
        "a lie": patched(data, at + 20, bytes(40)),
    }[change]
    path = broken(tmp_path, changed, "mkv")
    found = outcome(path, tmp_path / "o.mp4", START, END, CutMode.AUTO)
    assert is_right(found, CutMode.AUTO)
    assert found.result is not None
    assert found.result.copied_frames


# Headers that lie


@pytest.mark.parametrize("value", [0, 1, (1 << 31) - 1, (1 << 32) - 1])
@pytest.mark.parametrize(("kind", "at"), [(b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)])
def test_a_wrong_duration_is_not_believed(
    sources: Path, tmp_path: Path, kind: bytes, at: int, value: int
) -> None:
    data = (sources / "s.mp4").read_bytes()
    start, _ = box(data, kind)
    path = broken(tmp_path, patched(data, start + at, struct.pack(">I", value)))
    found = outcome(path, tmp_path / "o.mp4", START, None, CutMode.AUTO)
    assert is_right(found, CutMode.AUTO, last=FRAMES)
    assert found.result is not None
    assert found.result.copied_frames
    assert not found.result.damaged


@pytest.mark.parametrize("value", [0.0, 1.0, 1e12])
def test_a_wrong_duration_in_matroska_is_not_believed(
    sources: Path, tmp_path: Path, value: float
) -> None:
    data = (sources / "s.mkv").read_bytes()
    at = data.index(b"\x44\x89\x88") + 3
    path = broken(tmp_path, patched(data, at, struct.pack(">d", value)), "mkv")
    found = outcome(path, tmp_path / "o.mkv", START, None, CutMode.AUTO)
    assert is_right(found, CutMode.AUTO, last=FRAMES)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lie", ["listed", "one more", "none listed"])
def test_key_frames_are_not_taken_from_the_sync_table(
    sources: Path, tmp_path: Path, mode: CutMode, lie: str
) -> None:
    data = (sources / "s.mp4").read_bytes()
    start, end = box(data, b"stss")
    count = (end - start - 8) // 4
    listed = list(struct.unpack_from(f">{count}I", data, start + 8))
    if lie == "none listed":
        # Without the table, every packet is a key frame.
        changed = patched(data, start - 4, b"free")
    else:
        lies = [each for each in listed if each > 1 and (lie == "listed" or each == 37)]
        moved = [each + 2 if each in lies else each for each in listed]
        changed = patched(data, start + 8, struct.pack(f">{count}I", *moved))
    found = outcome(broken(tmp_path, changed), tmp_path / "o.mp4", START, END, mode)
    assert is_right(found, mode)
    assert found.result is not None
    assert found.result.mode is mode


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keys", ["some P", "only the first", "none"])
def test_key_flags_of_matroska_are_not_believed(
    sources: Path, tmp_path: Path, mode: CutMode, keys: str
) -> None:
    def flagged(packets: Sequence[Packet[Stream]]) -> Iterable[Packet[Stream]]:
        for index, packet in enumerate(packets):
            packet.is_keyframe = {
                "some P": packet.is_keyframe or index % 5 == 2,
                "only the first": index == 0,
                "none": False,
            }[keys]
            yield packet

    path = remuxed(sources / "s.mkv", tmp_path / "keys.mkv", flagged)
    found = outcome(path, tmp_path / "o.mp4", START, END, mode)
    if keys == "none":
        # Then FFmpeg finds no place to read from.
        assert found.reason == "COPY_IMPOSSIBLE" or is_right(found, mode)
        return
    assert is_right(found, mode)
    assert found.result is not None
    assert found.result.mode is mode


def test_an_edit_list_that_hides_the_end_is_kept_to(sources: Path, tmp_path: Path) -> None:
    data = (sources / "s.mp4").read_bytes()
    start, _ = box(data, b"elst")
    path = broken(tmp_path, patched(data, start + 8, struct.pack(">I", 2000)))
    found = outcome(path, tmp_path / "o.mp4", START, None, CutMode.AUTO)
    assert list(found.numbers) == list(range(FIRST, 48))
    assert outcome(path, tmp_path / "o.mp4", START, None, CutMode.EDIT_LIST).reason


def test_an_edit_list_that_hides_the_beginning_moves_time(sources: Path, tmp_path: Path) -> None:
    data = (sources / "s.mp4").read_bytes()
    start, _ = box(data, b"elst")
    (media,) = struct.unpack_from(">i", data, start + 12)
    hidden = patched(data, start + 12, struct.pack(">i", media + 5 * 12_288 // RATE))
    path = broken(tmp_path, hidden)
    for mode in (CutMode.AUTO, CutMode.EDIT_LIST, CutMode.ENCODE):
        found = outcome(path, tmp_path / "o.mp4", START, END, mode)
        assert is_right(found, mode, FIRST + 5, LAST + 5)


# Times that are broken


@pytest.mark.parametrize("mode", MODES)
def test_two_frames_at_one_time(sources: Path, tmp_path: Path, mode: CutMode) -> None:
    def doubled(packets: Sequence[Packet[Stream]]) -> Iterable[Packet[Stream]]:
        shown = sorted(packets, key=lambda packet: packet.pts or 0)
        shown[50].pts = shown[49].pts
        return packets

    path = remuxed(sources / "s.mp4", tmp_path / "times.mkv", doubled)
    found = outcome(path, tmp_path / "o.mp4", START, END, mode)
    assert found.reason in ("", "COPY_IMPOSSIBLE")
    assert found.reason or is_right(found, mode)


def test_frames_without_times(tmp_path: Path) -> None:
    for name in ("raw.h264", "film.avi"):
        source = tmp_path / name
        make_clip(source, frames=FRAMES, gop=GOP, bframes=3, size=(160, 96), rate=25)
        for mode in (CutMode.AUTO, CutMode.ENCODE):
            start, end = Fraction(FIRST, 25), Fraction(LAST, 25)
            found = outcome(source, tmp_path / "o.mp4", start, end, mode)
            assert is_right(found, mode), (name, found.numbers)
            assert found.result is not None
            assert not found.result.damaged


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", [False, True])
def test_an_empty_packet_is_told(sources: Path, tmp_path: Path, mode: CutMode, key: bool) -> None:
    data = (sources / "s.mp4").read_bytes()
    start, _ = box(data, b"stsz")
    index = 36 if key else 40
    path = broken(tmp_path, patched(data, start + 12 + 4 * index, bytes(4)))
    found = outcome(path, tmp_path / "o.mp4", START, END, mode)
    assert found.reason == "COPY_IMPOSSIBLE" or (found.result and found.result.damaged)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kind", "at"),
    [(b"stts", 4), (b"stts", 8), (b"ctts", 4), (b"stsc", 4), (b"stsc", 8), (b"stsc", 12)],
)
def test_tables_that_lie_end_in_an_error_or_a_right_segment(
    sources: Path, tmp_path: Path, kind: bytes, at: int, mode: CutMode
) -> None:
    data = (sources / "s.mp4").read_bytes()
    start, _ = box(data, kind)
    path = broken(tmp_path, patched(data, start + at, b"\x00\x00\x40\x07"))
    assert tells(outcome(path, tmp_path / "o.mp4", START, END, mode), mode)


# Bitstreams that change or are broken


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("change", ["size", "same id"])
def test_parameter_sets_that_change_in_the_middle(tmp_path: Path, change: str, ending: str) -> None:
    one, other = tmp_path / "one.ts", tmp_path / "other.ts"
    make_clip(one, frames=48, gop=GOP, bframes=3, size=(160, 96))
    size = (320, 192) if change == "size" else (160, 96)
    plain = {"x264-params": f"keyint={GOP}:min-keyint={GOP}:ref=1:cabac=0:8x8dct=0"}
    make_clip(
        other,
        frames=48,
        gop=GOP,
        bframes=3,
        size=size,
        first_number=48,
        options=plain if change == "same id" else None,
    )

    def both(packets: Sequence[Packet[Stream]]) -> Iterable[Packet[Stream]]:
        yield from packets
        for pos in rest:
            pos.pts = (pos.pts or 0) + 48 * 90_000 // RATE
            pos.dts = (pos.dts or 0) + 48 * 90_000 // RATE
            yield pos

    rest = packets_of(other)
    path = remuxed(one, tmp_path / "both.ts", both)
    for mode in (CutMode.AUTO, CutMode.KEYFRAME, CutMode.ENCODE):
        found = outcome(path, tmp_path / f"o.{ending}", START, END, mode)
        assert found.reason == "COPY_IMPOSSIBLE" or is_right(found, mode), mode


def packets_of(path: Path) -> list[Packet[Stream]]:
    kept: list[Packet[Stream]] = []
    remuxed(path, path.with_suffix(".kept.ts"), lambda packets: kept.extend(packets) or packets)  # type: ignore[func-returns-value]
    return kept


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frame", [24, 31, 36, 50, 69])
@pytest.mark.parametrize("what", ["length", "header"])
def test_a_frame_that_cannot_be_taken_apart_is_told(
    sources: Path, tmp_path: Path, what: str, frame: int, mode: CutMode
) -> None:
    data = (sources / "s.mp4").read_bytes()
    place, _, _ = sorted(samples(sources / "s.mp4"), key=lambda sample: sample[2])[frame]
    if what == "length":
        changed = patched(data, place, b"\x7f\xff\xff\xff")
    else:
        changed = patched(data, place + 4, b"\x22\xc7\x1d\x84\x5f\x0e\xfa\x39")
    found = outcome(broken(tmp_path, changed), tmp_path / "o.mp4", START, END, mode)
    assert found.reason == "COPY_IMPOSSIBLE" or (found.result and found.result.damaged)
    if found.result is not None:
        assert found.result.broken is not None
        # Not told of a place that is somewhere else.
        assert any(abs(time - Fraction(frame, RATE)) < 1 for time in found.result.broken)


@pytest.mark.parametrize("mode", [CutMode.AUTO, CutMode.ENCODE])
@pytest.mark.parametrize("frame", [24, 31, 36])
def test_slices_broken_inside_are_told_where_they_are_decoded(
    sources: Path, tmp_path: Path, frame: int, mode: CutMode
) -> None:
    data = (sources / "s.mp4").read_bytes()
    place, size, _ = sorted(samples(sources / "s.mp4"), key=lambda sample: sample[2])[frame]
    changed = patched(data, place + size // 2, b"\x9a\x31\xe7\x55\x0b\xcd")
    found = outcome(broken(tmp_path, changed), tmp_path / "o.mp4", START, END, mode)
    assert found.result is not None
    assert found.result.damaged
    assert len(found.numbers) == LAST - FIRST


def test_what_is_copied_is_as_broken_as_its_source(sources: Path, tmp_path: Path) -> None:
    data = (sources / "s.mp4").read_bytes()
    place, size, _ = sorted(samples(sources / "s.mp4"), key=lambda sample: sample[2])[50]
    path = broken(tmp_path, patched(data, place + size // 2, b"\x9a\x31\xe7\x55\x0b\xcd"))
    found = outcome(path, tmp_path / "o.mp4", START, END, CutMode.AUTO)
    assert list(found.numbers) == numbers(path)[FIRST:LAST]


def test_a_header_with_a_broken_parameter_set_is_encoded(sources: Path, tmp_path: Path) -> None:
    data = (sources / "s.mp4").read_bytes()
    at = data.index(b"avcC")
    for offset in (5, 8, 14, 16, 17, 20, 23, 26, 29, 33, 37):
        path = broken(tmp_path, patched(data, at + offset, bytes([data[at + offset] ^ 0x15])))
        found = outcome(path, tmp_path / "o.mp4", START, END, CutMode.AUTO)
        assert tells(found, CutMode.AUTO) or list(found.numbers) == numbers(path)[FIRST:LAST]


def test_any_number_of_nal_units_in_one_packet(sources: Path, tmp_path: Path) -> None:
    def stuffed(packets: Sequence[Packet[Stream]]) -> Iterable[Packet[Stream]]:
        for index, packet in enumerate(packets):
            made = packet
            if index == 44:
                # Filler data, of one byte each.
                made = Packet(b"\0\0\0\2\x0c\x80" * 200_000 + bytes(packet))
                made.pts, made.dts = packet.pts, packet.dts
                made.time_base, made.duration = packet.time_base, packet.duration
            yield made

    path = remuxed(sources / "s.mp4", tmp_path / "stuffed.mp4", stuffed)
    found = outcome(path, tmp_path / "o.mp4", START, END, CutMode.AUTO)
    assert is_right(found, CutMode.AUTO)


@pytest.mark.parametrize("most", [300, 2_000, 6_000])
def test_groups_larger_than_the_memory_that_is_given_to_them(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for module in (approach, entrance, splice):
        monkeypatch.setattr(module, "_MOST_HELD", most)
    for mode in MODES:
        for ending in ("mp4", "ts"):
            if mode is CutMode.EDIT_LIST and ending == "ts":
                continue
            found = outcome(sources / "s.mp4", tmp_path / f"o.{ending}", START, END, mode)
            assert found.reason == "COPY_IMPOSSIBLE" or is_right(found, mode)


def test_a_tail_whose_group_was_too_large_is_read_anew(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice, "_MOST_HELD", 300)
    found = outcome(sources / "s.mp4", tmp_path / "o.mp4", START, END, CutMode.AUTO)
    assert is_right(found, CutMode.AUTO)
    assert found.result is not None
    assert found.result.copied_frames


def test_sound_that_is_noise_is_told(sources: Path, tmp_path: Path) -> None:
    data = (sources / "s.mp4").read_bytes()
    for place, size, _ in samples(sources / "s.mp4", "audio"):
        data = patched(data, place, bytes(at * 37 % 251 for at in range(size)))
    path = broken(tmp_path, data)
    for mode in MODES:
        found = outcome(path, tmp_path / "o.mp4", Fraction(0), END, mode)
        assert found.reason or list(found.numbers) == wanted(mode, 0)


@pytest.mark.parametrize("name", ["s.mp4", "s.mkv", "s.ts", "fragments.mp4"])
@seed(20)
@settings(max_examples=6)
@given(data=st.data())
def test_flipped_bytes(
    sources: Path, tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray((sources / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8), label="flips")):
        place = data.draw(st.integers(0, len(content) - 1), label="place")
        content[place] ^= data.draw(st.integers(1, 255), label="by")
    folder = tmp_path_factory.mktemp("flipped")
    path = broken(folder, bytes(content), Path(name).suffix[1:])
    mode = data.draw(st.sampled_from(MODES), label="mode")
    found = outcome(path, folder / "o.mp4", START, END, mode)
    # What decodes wrongly in the source, too, is copied as it is.
    assert tells(found, mode) or set(found.numbers) - {None} <= set(numbers(path))
