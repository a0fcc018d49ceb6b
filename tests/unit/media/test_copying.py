"""What a copy refuses, how much of a source it holds on to, and that it ends where ENCODE does."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain, count
from pathlib import Path

import av
import av.error
import pytest
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media import splice, video_track
from reelsplit_server.media.approach import exact
from reelsplit_server.media.container import (
    decoder_like,
    most_pixels,
    open_source,
    video_stream,
)
from reelsplit_server.media.elementary import Whole, elementary_of
from reelsplit_server.media.ends import AtEntry, Coded, End, GapFree
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.order import Order
from reelsplit_server.media.pacing import Pacer
from reelsplit_server.media.render import CutMode
from reelsplit_server.media.seam import Encoder
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.unit.media.broken import box, outcome
from tests.unit.media.rendering import cut
from tests.unit.media.reordering import leave_untold

# --- The last picture --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [CutMode.AUTO, CutMode.EDIT_LIST, CutMode.ENCODE])
@pytest.mark.parametrize("bframes", [0, 2])
def test_a_pause_behind_the_end_is_not_shown(tmp_path: Path, mode: CutMode, bframes: int) -> None:
    source = tmp_path / "s.mp4"
    shown = [40 * at for at in range(30)] + [11_200 + 40 * at for at in range(10)]
    make_clip(
        source,
        frames=40,
        gop=10,
        bframes=bframes,
        times=shown,
        time_base=Fraction(1, 1000),
        audio=[AudioTrack()],
    )
    result = cut(source, tmp_path / "o.mp4", Fraction("0.4"), 2, mode=mode)
    assert result.mode is mode
    assert (result.frame_count, result.end, result.duration) == (20, 2, Fraction("1.6"))


def test_an_entry_goes_along_with_its_leading_pictures_alone() -> None:
    """Others are looked at for when it ends; one shown before it then may lean on them."""
    end = AtEntry(7)
    order = [0, 4, 2, 8, 6, 16, 7, 12, 10, 14, *range(18, 99)]
    entries = (0, 8)
    taken: list[Coded] = []
    for pts in order:
        taken += end.push(_coded(pts, Picture.IDR if pts in entries else Picture.OTHER))
        if end.done:
            break
    taken += end.finish()
    assert [coded.pts for coded in taken] == [0, 4, 2, 8, 6]
    assert (end.done, end.beyond) == (True, 10)


@pytest.mark.parametrize("bframes", [1, 3])
def test_what_is_reordered_untold_is_copied(tmp_path: Path, bframes: int) -> None:
    source = tmp_path / "s.mp4"
    make_clip(source, frames=72, gop=12, bframes=bframes)
    leave_untold(source)
    result = cut(source, tmp_path / "o.mp4", Fraction(5, 24), Fraction(65, 24), mode=CutMode.AUTO)
    assert result.copied_frames >= 36
    assert read_numbers(tmp_path / "o.mp4") == list(range(5, 65))


# --- Ranges without a frame --------------------------------------------------------------------


@pytest.mark.parametrize("mode", CutMode)
@pytest.mark.parametrize("start", [5, 10**18])
def test_a_range_behind_the_end_is_refused(tmp_path: Path, mode: CutMode, start: int) -> None:
    source = tmp_path / "s.mp4"
    make_clip(source, frames=24, gop=12)
    came = outcome(source, tmp_path / "o.mp4", start, start + 1, mode)
    assert came.reason == "RANGE_OUTSIDE_SOURCE"


@pytest.mark.parametrize("mode", CutMode)
def test_a_range_in_a_pause_is_refused(tmp_path: Path, mode: CutMode) -> None:
    source = tmp_path / "s.mp4"
    shown = [*range(20), *range(100, 120)]
    make_clip(source, frames=40, gop=10, times=shown, time_base=Fraction(1, 25))
    came = outcome(source, tmp_path / "o.mp4", 2, 3, mode)
    assert came.reason == "RANGE_OUTSIDE_SOURCE"
    assert "the next one comes at 4.000 s" in str(came.error)


# --- Parameter sets that the container changes -------------------------------------------------


def test_sample_descriptions_that_differ_are_not_copied(tmp_path: Path) -> None:
    """The second one's chroma quantiser is another: copied under the first one's sets, its
    pictures would decode, in wrong colours."""
    source, out = tmp_path / "s.mp4", tmp_path / "o.mp4"
    _two_descriptions(tmp_path, source)
    before = cut(source, out, 0, Fraction(1, 6), mode=CutMode.AUTO)
    assert before.copied_frames == 4
    for start, end in ((Fraction(1, 2), Fraction(3, 2)), (Fraction(3, 2), Fraction(2))):
        result = cut(source, out, start, end, mode=CutMode.AUTO)
        assert result.mode is CutMode.ENCODE
        assert "parameter sets change" in (result.reason or "")
        assert read_numbers(out) == list(range(int(start * 24), int(end * 24)))
        came = outcome(source, out, start, end, CutMode.KEYFRAME)
        assert came.reason == "COPY_IMPOSSIBLE"


def _two_descriptions(folder: Path, path: Path) -> None:
    """24 frames of one encoder and 24 of another, in one track."""
    parts = folder / "a.mp4", folder / "b.mp4"
    for index, part in enumerate(parts):
        options = {"x264-params": f"chroma-qp-offset={12 * index}"}
        make_clip(part, frames=24, gop=12, first_number=24 * index, options=options)
    joined = folder / "joined.mp4"
    with av.open(str(joined), "w") as out:
        stream, moved = None, 0
        for part in parts:
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                stream = stream or out.add_stream_from_template(source, opaque=True)
                for packet in container.demux(source):
                    if packet.size:
                        assert packet.pts is not None
                        assert packet.dts is not None
                        packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                        end = packet.dts + (packet.duration or 0)
                        packet.stream = stream
                        out.mux(packet)
            moved = end
    with av.open(str(joined)) as container:
        places = [packet.pos or 0 for packet in container.demux() if packet.size]
    data, other = joined.read_bytes(), parts[1].read_bytes()
    entries = [each[slice(*box(each, b"stsd"))][8:] for each in (data, other)]
    assert entries[0] != entries[1]
    path.write_bytes(
        _replaced(
            data,
            {
                b"stsd": struct.pack(">II", 0, 2) + b"".join(entries),
                # A chunk for each sample.
                b"stsc": struct.pack(">8I", 0, 2, 1, 1, 1, 25, 1, 2),
                b"stco": struct.pack(f">{2 + len(places)}I", 0, len(places), *places),
            },
        )
    )


def _replaced(data: bytes, contents: Mapping[bytes, bytes]) -> bytes:
    """An MP4 with other contents of some boxes."""
    made, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = contents.get(kind, data[at + 8 : at + size])
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            body = _replaced(body, contents)
        made += struct.pack(">I4s", 8 + len(body), kind) + body
        at += size
    return made


# --- Where the container refuses the copy ------------------------------------------------------


def test_what_the_muxer_refuses_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that reorders more than it admits: decode times come out too late."""

    class Unaware(Pacer):
        def __init__(self, *args: object, depth: int, **named: object) -> None:
            super().__init__(*args, depth=0, **named)  # type: ignore[arg-type]

    source, out = tmp_path / "s.mp4", tmp_path / "o.mp4"
    make_clip(source, frames=48, gop=12, bframes=3)
    monkeypatch.setattr(video_track, "Pacer", Unaware)
    result = cut(source, out, Fraction(1, 2), Fraction(3, 2), mode=CutMode.AUTO)
    assert result.mode is CutMode.ENCODE
    assert "the container refused" in (result.reason or "")
    assert read_numbers(out) == list(range(12, 36))
    with pytest.raises(MediaError, match="CONTAINER_REFUSED"):
        cut(source, out, Fraction(1, 2), Fraction(3, 2), mode=CutMode.KEYFRAME)


def test_pictures_that_are_never_shown_are_not_copied() -> None:
    with pytest.raises(CannotJoin, match="never shown"):
        Whole("vp8").read(Packet(b"\x01\x00\x00\x00"))
    assert Whole("vp8").read(Packet(b"\x10\x00\x00\x00")).picture is Picture.IDR


# --- What is held ------------------------------------------------------------------------------


def _coded(pts: int, picture: Picture = Picture.OTHER) -> Coded:
    packet: Packet[Stream] = Packet(b"....")
    packet.pts = pts
    access = AccessUnit(
        units=(), picture=picture, slice_type="P", quantiser=None, is_reference=True
    )
    return Coded(packet=packet, pts=pts, access=access)


@pytest.mark.parametrize("end", [GapFree(10**9), AtEntry(10**5)], ids=["gap-free", "at-entry"])
def test_pictures_are_not_held_without_end(end: End) -> None:
    """The first one is shown last of all: nothing can be said of any before the end."""
    end.push(_coded(10**8, Picture.IDR))
    rest = map(_coded, range(5000))
    with pytest.raises(CannotJoin, match="far from the order"):
        list(map(end.push, rest))
    assert len(list(rest)) > 1000


def test_packets_without_a_successor_are_not_held_without_end() -> None:
    order = Order(depth=2, step=1)
    packets = (_coded(pts).packet for pts in (9, 5, 5, *range(6, 5000)))
    with pytest.raises(CannotJoin, match="the same time"):
        list(chain.from_iterable(map(order.push, packets)))


def test_sound_counts_as_held_until_the_next_key_frame() -> None:
    packets = 0

    def events() -> Iterator[Coded | Packet[Stream]]:
        nonlocal packets
        yield _coded(0, Picture.IDR)
        for _ in count():
            packets += 1
            yield Packet(100_000)

    base = Fraction(1, 24)
    span = Span.of(start=Fraction(1), end=Fraction(99), origin=0, time_base=base)
    with pytest.raises(CannotJoin, match="next key frame lies too far"):
        exact(events(), span, joins=True)
    assert packets < 1000


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sound_is_not_held_until_a_far_key_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    held: list[int] = []

    class Watched(Tracks):
        def take(self, packet: Packet[Stream]) -> None:
            super().take(packet)
            held.append(len(self._held or ()))

    monkeypatch.setattr(splice, "Tracks", Watched)
    source, out = tmp_path / f"s.{ending}", tmp_path / "o.mp4"
    make_clip(source, frames=40 * 24, gop=40 * 24, size=(64, 48), audio=[AudioTrack()])
    result = cut(source, out, 0, 1, mode=CutMode.KEYFRAME)
    assert (result.copied_frames, result.end) == (40 * 24, 40)
    assert len(held) > 1800
    assert max(held) < 300
    with av.open(str(out)) as container:
        sound = container.streams.audio[0]
        length = Fraction(sound.duration or 0) * Fraction(sound.time_base or 0)
    assert abs(length - 40) < Fraction(1, 20)


def test_sound_is_whole_far_behind_the_only_key_frame(tmp_path: Path) -> None:
    source, out = tmp_path / "s.mkv", tmp_path / "o.mkv"
    make_clip(source, frames=20 * 24, gop=20 * 24, size=(64, 48), audio=[AudioTrack()])
    for mode in (CutMode.AUTO, CutMode.ENCODE):
        result = cut(source, out, 18, 19, mode=mode)
        assert result.mode is CutMode.ENCODE
        assert result.frame_count == 24
        assert result.audio_offset is not None
        assert abs(result.audio_offset) < Fraction(1, 20)


def test_no_encoder_is_opened_for_more_pixels_than_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, frames=4)
    with path.open("rb") as file, open_source(file) as container:
        video = video_stream(container)
        elementary = elementary_of(video, Container.MP4)
        elementary.enter(elementary.read(next(container.demux(video))), drops_references=False)
        allowed = most_pixels.set(video.width * video.height - 1)
        try:
            with pytest.raises(CannotJoin, match="too large"):
                Encoder(elementary, video, 24)
        finally:
            most_pixels.reset(allowed)
        Encoder(elementary, video, 24)


def test_no_picture_beside_a_copy_is_larger_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, frames=4)
    for fewer in (1, 0):
        allowed = most_pixels.set(320 * 180 - fewer)
        try:
            with path.open("rb") as file, open_source(file) as container:
                video = video_stream(container)
                decoder = decoder_like(video.codec_context, threads=1)
                packet = next(container.demux(video))
                if fewer:
                    with pytest.raises(av.error.InvalidDataError):
                        decoder.decode(packet)
                else:
                    decoder.decode(packet)
        finally:
            most_pixels.reset(allowed)
