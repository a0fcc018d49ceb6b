"""The checker finds what is wrong: each test makes one thing wrong."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.cutting.checker import Finding, Told, check, check_tiles, worst_block
from tests.cutting.film import Film, Shape, read_film
from tests.cutting.noise import listen, noise
from tests.cutting.pattern import number_of
from tests.cutting.pattern import picture as draw
from tests.cutting.ranges import fewest, ranges, tiles
from tests.cutting.recipes import Recipe, covering
from tests.cutting.units import Kind, same_payload
from tests.ffmpeg import FFMPEG

RATE = Fraction(25)

OPEN = Recipe(
    codec="h264",
    is_open=True,
    reordering="3",
    gop=12,
    container="mp4",
    rate="25",
    style="plain",
    audio="pcm_s16le",
)

Edit = Callable[[av.Packet], av.Packet | None]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """64 frames, open GOP of 12 with 3 B-frames, in Matroska with PCM."""
    folder = tmp_path_factory.mktemp("film")
    recipe = Recipe(**{name: getattr(OPEN, name) for name in OPEN.__slots__} | {"container": "mkv"})
    return read_film(recipe.make(folder))


def remux(
    film: Film, path: Path, *, video: Edit = lambda packet: packet, audio: Edit = lambda p: p
) -> None:
    """Copy a film's packets, each as an edit gives it, or not at all."""
    with av.open(str(film.path)) as source, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if not packet.size:
                continue
            edited = (video if packet.stream.type == "video" else audio)(packet)
            if edited is not None:
                edited.stream = streams[packet.stream.index]
                out.mux_one(edited)


def judged(film: Film, path: Path, first: int = 0, last: int | None = None) -> Finding:
    return check(film, path, first, len(film.frames) if last is None else last, rate=RATE)


def test_a_whole_copy_is_right(film: Film, tmp_path: Path) -> None:
    remux(film, tmp_path / "copy.mkv")
    finding = judged(film, tmp_path / "copy.mkv")
    assert finding.problems == []
    assert finding.identical == finding.carried == finding.expected == 64
    assert (finding.audio_start, finding.audio_end) == (0, 0)


def test_a_frame_left_out_is_missing(film: Film, tmp_path: Path) -> None:
    """One of the last B-frames, on which nothing leans."""
    gone = max((p for p in film.packets if p.kind is Kind.OTHER), key=lambda p: (p.dts, -p.pts)).pts
    remux(film, tmp_path / "a.mkv", video=lambda p: None if p.pts == gone else p)
    finding = judged(film, tmp_path / "a.mkv")
    assert (finding.missing, finding.extra) == (1, 0)


def test_frames_outside_are_extra(film: Film, tmp_path: Path) -> None:
    remux(film, tmp_path / "a.mkv")
    finding = judged(film, tmp_path / "a.mkv", 5, 60)
    assert (finding.missing, finding.doubled, finding.extra) == (0, 0, 9)


def test_a_picture_that_decodes_to_something_else_is_corrupt(film: Film, tmp_path: Path) -> None:
    """A P picture is replaced by the one after it, so that all that lean on it show its clouds."""
    with av.open(str(film.path)) as source:
        packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
    place = {packet.pts: at for at, packet in enumerate(film.packets)}

    def replace(packet: av.Packet) -> av.Packet:
        if place[packet.pts] != 5:
            return packet
        other = av.Packet(packets[9])
        other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
        other.stream = packet.stream
        return other

    remux(film, tmp_path / "a.mkv", video=replace)
    finding = judged(film, tmp_path / "a.mkv")
    assert finding.corrupt > 0


def test_a_moved_frame_has_a_wrong_time(film: Film, tmp_path: Path) -> None:
    def move(packet: av.Packet) -> av.Packet:
        if packet.pts == film.packets[-1].pts:
            packet.pts += 13
        return packet

    remux(film, tmp_path / "a.mkv", video=move)
    assert any("frame 6" in problem for problem in judged(film, tmp_path / "a.mkv").problems)


@pytest.mark.parametrize("by", [-40, 3, 40])
def test_sound_out_of_step_is_found(film: Film, tmp_path: Path, by: int) -> None:
    def move(packet: av.Packet) -> av.Packet:
        packet.pts, packet.dts = packet.pts + by, (packet.dts or 0) + by
        return packet

    remux(film, tmp_path / "a.mkv", audio=move)
    found = judged(film, tmp_path / "a.mkv")
    assert found.audio_sync == pytest.approx(abs(by) / 1000, abs=0.0011)
    assert any("off the picture" in problem for problem in found.problems)


def test_a_gap_in_the_sound_is_found(film: Film, tmp_path: Path) -> None:
    seen: list[int] = []

    def drop(packet: av.Packet) -> av.Packet | None:
        seen.append(packet.size // 2)
        return None if len(seen) == 20 else packet

    remux(film, tmp_path / "a.mkv", audio=drop)
    heard = listen(tmp_path / "a.mkv")
    assert heard is not None
    assert sum(heard.jumps) == pytest.approx(seen[19], abs=1)
    assert any("jumps" in problem for problem in judged(film, tmp_path / "a.mkv").problems)


def test_a_table_of_sync_samples_that_lies_is_found(film: Film, tmp_path: Path) -> None:
    """An MP4 in which pictures that are merely open count as sync samples."""
    path = tmp_path / "a.mov"
    remux(film, path)
    assert any("sync table" in problem for problem in judged(film, path).problems)


def test_what_the_cutter_says_is_checked(film: Film, tmp_path: Path) -> None:
    remux(film, tmp_path / "a.mkv")
    for copied, encoded, word in ((60, 3, "told"), (0, 64, "would do"), (65, -1, "copied")):
        told = Told(copied=copied, encoded=encoded)
        found = check(film, tmp_path / "a.mkv", 0, 64, rate=RATE, told=told)
        assert any(word in problem for problem in found.problems), found.problems
    assert check(film, tmp_path / "a.mkv", 0, 64, told=Told(copied=64, encoded=0)).problems == []


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg command")
def test_the_second_decoder_sees_the_same(film: Film) -> None:
    assert film.second.frames == film.frames
    assert film.second.lines == []


def test_tiles_that_overlap_are_found(film: Film, tmp_path: Path) -> None:
    remux(film, tmp_path / "a.mkv")
    assert check_tiles(film, [tmp_path / "a.mkv"]) == []
    assert check_tiles(film, [tmp_path / "a.mkv", tmp_path / "a.mkv"])


def test_the_pattern_tells_its_number_and_moves() -> None:
    shape = Shape(width=192, height=112, pixels="gray")
    one, other = (draw(number)[:, :, 1] for number in (1234, 1235))
    assert (number_of(one), number_of(other)) == (1234, 1235)
    assert worst_block(one.tobytes(), shape, other.tobytes(), shape) > 40
    assert number_of(np.full_like(one, 99)) is None


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_noise_is_found_where_it_lies(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        piece = np.concatenate([noise(rate)[31_000:60_000], noise(rate)[60_700:90_000]])
        frame = av.AudioFrame.from_ndarray(piece[None], format="flt", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    heard = listen(path, near=0)
    assert heard is not None
    assert (heard.first, heard.last, heard.jumps) == (31_000, 90_000, [700])


def test_the_covering_set_holds_every_pair() -> None:
    recipes = covering()
    assert len(set(recipes)) == 120
    for one in ("codec", "is_open", "reordering", "gop", "container", "rate", "style"):
        for other in ("gop", "container", "rate", "reordering"):
            pairs = {(getattr(r, one), getattr(r, other)) for r in recipes}
            values = {getattr(r, one) for r in recipes}, {getattr(r, other) for r in recipes}
            assert len(pairs) == (
                len(values[0]) if one == other else len(values[0]) * len(values[1])
            )
    assert covering() == recipes


def test_ranges_are_of_every_kind(film: Film) -> None:
    chosen = ranges(film, 20)
    assert len(set(chosen)) == 20
    assert all(0 <= first < last <= 64 for first, last in chosen)
    assert (0, 64) in chosen
    assert any(last - first == 1 for first, last in chosen)
    cover = tiles(film)
    assert [first for first, _ in cover[1:]] == [last for _, last in cover[:-1]]


def test_the_fewest_frames_to_encode(film: Film) -> None:
    """I0 b b b P4 b b b P8 b b b I12 …: the leading pictures 9, 10, 11 of I12 come after it."""
    assert [fewest(film, *r) for r in ((0, 64), (0, 9), (0, 12), (0, 14))] == [0, 0, 3, 1]
    assert [fewest(film, *r) for r in ((9, 13), (12, 13), (13, 20), (1, 24))] == [3, 0, 7, 14]


def test_payloads_are_told_apart() -> None:
    one, other = bytes(range(100)), bytes(range(99, -1, -1))
    assert same_payload((one,), (b"edited" + one[6:],))
    assert not same_payload((one,), (other,))
    assert not same_payload((one,), (one, one))
