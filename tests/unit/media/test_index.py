"""Reading by the index: the same answers as from all bytes, out of few of them."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media import encoding, entrance, matroska, render
from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.cues import SparseTimeline, read_cues
from reelsplit_server.media.ebml import Block, OddLayout
from reelsplit_server.media.formats import Container
from reelsplit_server.media.matroska import Matroska
from reelsplit_server.media.mp4_index import Mp4Index, read_mp4_index
from reelsplit_server.media.probe import probe
from reelsplit_server.media.render import CutMode, RenderPlan, VideoSettings
from reelsplit_server.media.shot_settings import AdaptiveSettings, ShotSettings
from reelsplit_server.media.shots import detect_shots
from reelsplit_server.media.timeline import Timeline, read_timeline
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.media import footage, real

RATE = 24
FRAMES = 30 * RATE
GOP = 2 * RATE
BLOCK = 64 << 10


class Metered(io.BytesIO):
    """A file as a remote source is read: in blocks, of which some are kept."""

    def __init__(self, path: Path, *, kept: int | None = None) -> None:
        """`kept` blocks are remembered, those used last; None: all."""
        data = path.read_bytes()
        super().__init__(data)
        self._size = len(data)
        self._cache: OrderedDict[int, None] = OrderedDict()
        self._kept = kept
        self.blocks: set[int] = set()
        self.fetched = 0
        """Bytes."""

    def size_of(self, blocks: set[int]) -> int:
        return sum(min(BLOCK, self._size - block * BLOCK) for block in blocks)

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        data = super().read(size)
        if data:
            for block in range(at // BLOCK, (at + len(data) - 1) // BLOCK + 1):
                self._touch(block)
        return data

    def _touch(self, block: int) -> None:
        if block not in self._cache:
            self.fetched += self.size_of({block})
            self.blocks.add(block)
        self._cache[block] = None
        self._cache.move_to_end(block)
        if self._kept is not None and len(self._cache) > self._kept:
            self._cache.popitem(last=False)


def remux(
    source: Path,
    path: Path,
    keep: Callable[[Packet[Stream]], bool] = lambda packet: True,
    **options: str,
) -> None:
    """Copy the packets that `keep` wants into another container."""
    with av.open(str(source)) as old, av.open(str(path), "w", container_options=options) as new:
        streams = {
            stream.index: new.add_stream_from_template(stream)
            for stream in old.streams
            if stream.type in ("video", "audio")
        }
        for packet in old.demux():
            if packet.size and keep(packet):
                packet.stream = streams[packet.stream_index]
                new.mux(packet)


#: Names of the large sources.
SOURCES = ("end.mp4", "front.mp4", "clip.mov", "clip.mkv")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sources of half a minute, of 1 MB for each second: mostly padding."""
    folder = tmp_path_factory.mktemp("index")
    padded = (
        f"min-keyint={GOP}:keyint={GOP}:scenecut=0:"
        "nal-hrd=cbr:bitrate=8000:vbv-maxrate=8000:vbv-bufsize=8000"
    )
    make_clip(
        folder / "end.mp4",
        frames=FRAMES,
        rate=RATE,
        gop=GOP,
        bframes=2,
        audio=[AudioTrack()],
        options={"preset": "ultrafast", "crf": "-1", "x264-params": padded},
    )
    remux(folder / "end.mp4", folder / "front.mp4", movflags="faststart")
    for name in ("clip.mov", "clip.mkv"):
        remux(folder / "end.mp4", folder / name)
    return folder


@dataclass(frozen=True)
class Group:
    start: Fraction
    """Seconds from the first frame; `end` is where the next group starts."""
    end: Fraction
    size: int
    """Bytes from its key frame to the next one, sound included."""


@cache
def groups(path: Path) -> list[Group]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        first = min(packet.pts for packet in packets if packet.pts is not None)
        last = packets[-1]
        borders = [
            ((packet.pts - first) * Fraction(packet.time_base), packet.pos)
            for packet in packets
            if packet.is_keyframe and packet.pts is not None and packet.pos is not None
        ]
        borders.append((Fraction(10**6), (last.pos or 0) + last.size))
    return [
        Group(start, borders[at + 1][0], borders[at + 1][1] - place)
        for at, (start, place) in enumerate(borders[:-1])
    ]


def index_size(path: Path) -> int:
    """Bytes of the index, found without the code under test."""
    data = path.read_bytes()
    if path.suffix == ".mkv":
        return data.index(b"\x1f\x43\xb6\x75") + len(data) - data.rindex(b"\x1c\x53\xbb\x6b")
    at = 0
    while data[at + 4 : at + 8] != b"moov":
        size = int.from_bytes(data[at : at + 4], "big")
        at += size if size != 1 else int.from_bytes(data[at + 8 : at + 16], "big")
    return int.from_bytes(data[at : at + 4], "big")


def analyse(file: Metered, ranges: list[tuple[Fraction, Fraction]]) -> Timeline | SparseTimeline:
    """What the first unit of a job does."""
    probe(file)
    found = read_cues(file) or read_timeline(file, prefer_index=True)
    for start, end in ranges:
        assert found.holds(start, end) is not False
        found.ends_before(end)
    return found


#: At the start; one group; inside of one; over a border; several; to the end; beyond; within
#: the last group.
RANGES = [
    ("0", "5"),
    ("14", "16"),
    ("15", "31/2"),
    ("335/24", "355/24"),
    ("7", "11"),
    ("27", "30"),
    ("28", "40"),
    ("29", "59/2"),
]
CASES = [
    (name, start, end)
    for name in SOURCES
    for start, end in (RANGES if name in ("end.mp4", "clip.mkv") else RANGES[1:3])
]


@pytest.mark.parametrize(("name", "start", "end"), CASES)
def test_a_cut_reads_the_index_and_its_groups(
    sources: Path, tmp_path: Path, name: str, start: str, end: str
) -> None:
    path = sources / name
    begin, stop = Fraction(start), Fraction(end)
    touched = sum(group.size for group in groups(path) if group.start < stop and group.end > begin)
    for mode in (CutMode.ENCODE, CutMode.KEYFRAME, CutMode.AUTO):
        first, out = Metered(path), tmp_path / f"{mode}.mp4"
        analyse(first, [(begin, stop)])
        second = Metered(path)
        plan = RenderPlan(
            start=begin,
            end=stop,
            container=Container.MP4,
            mode=mode,
            video=VideoSettings(preset="ultrafast"),
            threads=2,
        )
        render.render(second, plan, out)
        read = first.fetched + first.size_of(second.blocks - first.blocks)
        assert read <= 1.2 * (index_size(path) + touched) + 2e6
        if mode is CutMode.ENCODE:
            last = min(FRAMES, int(stop * RATE))
            assert read_numbers(out) == list(range(int(begin * RATE), last))


def test_a_job_of_neighbouring_segments_reads_the_file_hardly_more_than_once(
    sources: Path, tmp_path: Path
) -> None:
    for name in ("end.mp4", "clip.mkv"):
        path = sources / name
        ranges = [(Fraction(at), Fraction(at + 6)) for at in range(0, 30, 6)]
        first = Metered(path)
        analyse(first, ranges)
        read = first.fetched
        for start, end in ranges:
            file = Metered(path)
            plan = RenderPlan(
                start=start, end=end, container=Container.MP4, mode=CutMode.KEYFRAME, threads=2
            )
            assert render.render(file, plan, tmp_path / "o.mp4").frame_count == 6 * RATE
            read += first.size_of(file.blocks - first.blocks)
        assert read <= 1.2 * path.stat().st_size + 2e6


@pytest.mark.parametrize("mode", CutMode)
@pytest.mark.parametrize("has_audio", [False, True])
def test_sound_that_is_missing_is_not_looked_for(
    sources: Path, tmp_path: Path, has_audio: bool, mode: CutMode
) -> None:
    path = tmp_path / "s.mp4"

    def keep(packet: Packet[Stream]) -> bool:
        early = packet.pts is not None and packet.pts * packet.time_base < 4
        return packet.stream.type == "video" or (has_audio and early)

    remux(sources / "end.mp4", path, keep)
    file = Metered(path)
    plan = RenderPlan(
        start=Fraction(10),
        end=Fraction(12),
        container=Container.MP4,
        mode=mode,
        video=VideoSettings(preset="ultrafast"),
    )
    assert render.render(file, plan, tmp_path / "o.mp4").frame_count == 2 * RATE
    [touched] = [group.size for group in groups(path) if group.start == 10]
    assert file.fetched <= 1.2 * (index_size(path) + touched) + 2e6


@pytest.mark.parametrize("name", ["end.mp4", "front.mp4", "clip.mkv"])
def test_detection_reads_each_byte_once(sources: Path, name: str) -> None:
    path = sources / name
    file = Metered(path, kept=32)
    scan = detect_shots(file, ShotSettings(detector=AdaptiveSettings()), lambda shot: None)
    assert scan.frame_count == FRAMES
    # An index at the end shares its first block with the last frames.
    assert path.stat().st_size * 0.9 < file.fetched <= path.stat().st_size + BLOCK


def packets_of(path: Path, *types: str) -> list[tuple[int, int | None, int | None, bytes]]:
    with av.open(str(path)) as container:
        return sorted(
            (packet.stream_index, packet.pts or 0, packet.duration, bytes(packet))
            for packet in container.demux()
            if packet.size and packet.stream.type in types
        )


def same_both_ways(
    monkeypatch: pytest.MonkeyPatch, source: Path, folder: Path, ranges: list[tuple[str, str]]
) -> None:
    """What the index leads to is what reading from early on gives."""
    for mode in (CutMode.ENCODE, CutMode.KEYFRAME, CutMode.AUTO):
        for start, end in ranges:
            made = []
            for way in ("index", "plain"):
                out = folder / f"{way}.mp4"
                plan = RenderPlan(
                    start=Fraction(start),
                    end=Fraction(end),
                    container=Container.MP4,
                    mode=mode,
                    video=VideoSettings(preset="ultrafast"),
                )
                with monkeypatch.context() as patched, source.open("rb") as file:
                    if way == "plain":
                        for module in (encoding, entrance):
                            patched.setattr(module, "early_packets", lambda *_, **__: None)
                    render.render(file, plan, out)
                # Copying from a key frame finds cues that reading from there on misses.
                types = ["video", "audio"] + ["subtitle"] * (mode is CutMode.ENCODE)
                made.append(packets_of(out, *types))
            assert [(each[0], each[3]) for each in made[0]] == [
                (each[0], each[3]) for each in made[1]
            ]
            # Sound is put on whole samples from the first packet on, which is not the same one.
            for one, other in zip(*made, strict=True):
                assert abs(one[1] - other[1]) <= 48


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("bframes", [0, 3])
def test_what_lies_before_a_cut_is_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str, bframes: int
) -> None:
    source = tmp_path / f"s.{ending}"
    make_clip(source, frames=120, gop=24, bframes=bframes, audio=[AudioTrack(), AudioTrack()])
    ranges = [("2", "5/2"), ("47/24", "13/6")]
    same_both_ways(monkeypatch, source, tmp_path, ranges)


def test_a_caption_that_began_before_the_cut_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    plan = RenderPlan(
        start=Fraction(4), end=Fraction(5), container=Container.MP4, mode=CutMode.KEYFRAME
    )
    with real("traits/bbb_h264_multi.mkv").open("rb") as file:
        render.render(file, plan, out)
    cues = [data[2:] for *_, data in packets_of(out, "subtitle") if len(data) > 2]
    assert cues[0] == b"Caption 1"


@pytest.mark.parametrize("name", ["multi.mkv", "movtext.mp4", "audio_late.mkv", "2997_ac3.mov"])
def test_what_lies_before_a_cut_is_the_same_in_real_footage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    source = real(f"traits/bbb_h264_{name}")
    same_both_ways(monkeypatch, source, tmp_path, [("4", "5"), ("26/5", "6")])


def both(path: Path) -> tuple[Timeline, Timeline, int]:
    """By the index and by all packets, and the bytes that the first one read."""
    file = Metered(path)
    by_index = read_timeline(file, prefer_index=True)
    with path.open("rb") as whole:
        return by_index, read_timeline(whole), file.fetched


def assert_same(one: Timeline, other: Timeline) -> None:
    assert one.pts.tolist() == other.pts.tolist()
    assert (one.last_duration, one.time_base) == (other.last_duration, other.time_base)


def index_of(path: Path) -> Mp4Index | None:
    with path.open("rb") as file:
        with open_source(file) as container:
            track = video_stream(container).id
        return read_mp4_index(file, track)


def assert_demuxed(path: Path, index: Mp4Index) -> None:
    """Each packet of the demuxer is in the index, in every field."""
    rows = {
        int(position): (pts, duration, size, key, shown)
        for position, pts, duration, size, key, shown in zip(
            index.positions.tolist(),
            index.pts.tolist(),
            index.durations.tolist(),
            index.sizes.tolist(),
            index.keys.tolist(),
            index.shown.tolist(),
            strict=True,
        )
    }
    with path.open("rb") as file, open_source(file) as container:
        for packet in container.demux(video_stream(container)):
            if packet.size:
                assert packet.pos is not None
                assert rows[packet.pos] == (
                    packet.pts,
                    packet.duration,
                    packet.size,
                    packet.is_keyframe,
                    not packet.is_discard,
                )


@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize(
    "more",
    [
        {"bframes": 0},
        {"bframes": 3, "open_gop": True},
        {"codec": "libx265", "bframes": 3},
        {"codec": "mpeg2video", "bframes": 2},
        {"bframes": 2, "container_options": {"movflags": "negative_cts_offsets"}},
        {"bframes": 2, "audio": [AudioTrack(start=Fraction(1))]},
        {
            "bframes": 2,
            "time_base": Fraction(1, 1000),
            "times": [300 + 40 * n + n % 7 for n in range(48)],
        },
    ],
)
def test_an_index_tells_what_the_packets_tell(
    tmp_path: Path, ending: str, more: dict[str, object]
) -> None:
    path = tmp_path / f"s.{ending}"
    make_clip(path, **{"frames": 48, "gop": 12, **more})  # type: ignore[arg-type]
    by_index, by_packets, _ = both(path)
    assert_same(by_index, by_packets)
    index = index_of(path)
    assert index is not None
    assert_demuxed(path, index)


@pytest.mark.parametrize("name", [n for n in footage() if n.endswith((".mp4", ".mov"))])
def test_an_index_of_real_footage_tells_what_the_packets_tell(name: str) -> None:
    path = real(name)
    by_index, by_packets, read = both(path)
    assert_same(by_index, by_packets)
    index = index_of(path)
    if "fmp4" in name:
        assert index is None
    else:
        assert index is not None
        assert_demuxed(path, index)
        assert read <= index.bytes_of_index + 8 * BLOCK


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("libvpx-vp9", {}),
    ],
)
def test_where_the_index_does_not_tell_packets_do(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, codec=codec, frames=30, container_options=options)
    by_index, by_packets, read = both(path)
    assert_same(by_index, by_packets)
    assert read >= path.stat().st_size * 0.9


def test_a_truncated_file_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, frames=48, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-2000])
    assert read_timeline(Metered(path), prefer_index=True).truncated


def lie(path: Path, kind: bytes, at: int, value: int) -> io.BytesIO:
    """The file with four bytes of the first box of this kind changed."""
    data = bytearray(path.read_bytes())
    place = data.index(kind) + 4 + at
    data[place : place + 4] = value.to_bytes(4, "big")
    return io.BytesIO(bytes(data))


LIES = [
    (b"stsz", 8, 60_000_000),
    (b"stsz", 8, 1 << 31),
    (b"stsz", 12, 1 << 30),
    (b"stsz", 12, 0),
    (b"stts", 4, 60_000_000),
    (b"stts", 8, 1 << 30),
    (b"stts", 12, 1 << 31),
    (b"ctts", 8, 7),
    (b"ctts", 12, 1 << 30),
    (b"stsc", 4, 1 << 28),
    (b"stsc", 8, 2),
    (b"stsc", 12, 1 << 31),
    (b"stsc", 16, 2),
    (b"stco", 4, 1 << 29),
    (b"stco", 8, 1 << 31),
    (b"stss", 4, 1 << 30),
    (b"stss", 8, 1 << 20),
    (b"elst", 4, 3),
    (b"elst", 8, 0),
    (b"mvhd", 12, 0),
    (b"mdhd", 12, 0),
    (b"stsd", 4, 2),
]


@pytest.mark.parametrize(("kind", "at", "value"), LIES)
def test_tables_that_lie_are_refused(tmp_path: Path, kind: bytes, at: int, value: int) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, frames=30, bframes=2)
    assert read_mp4_index(io.BytesIO(path.read_bytes()), 1) is not None
    assert read_mp4_index(lie(path, kind, at, value), 1) is None


def test_uniform_samples_claim_no_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, frames=30, bframes=2)
    file = lie(path, b"stsz", 4, 1)
    file = io.BytesIO(
        file.getvalue().replace(
            b"stsz" + b"\0" * 7 + b"\1\0\0\0\x1e", b"stsz" + b"\0" * 7 + b"\1\0\x3f\0\0"
        )
    )
    assert read_mp4_index(file, 1) is None


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_broken_indexes_raise_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"s.{ending}"
    make_clip(path, frames=60, bframes=2, gop=12, audio=[AudioTrack()])
    whole = path.read_bytes()
    random = np.random.default_rng(7)
    start = whole.index(b"moov") if ending == "mp4" else 0
    for _ in range(300):
        data = bytearray(whole)
        for at in random.integers(start, len(data), size=4):
            data[at] = random.integers(256)
        file = io.BytesIO(bytes(data[: random.integers(start, len(data)) + 1]))
        if ending == "mp4":
            read_mp4_index(file, 1)
        else:
            pick(file)


def pick(file: io.BytesIO) -> list[Block]:
    """All that is ever picked out of a Matroska file, as far as its layout allows."""
    blocks: list[Block] = []
    try:
        layout = Matroska.read(file)
        for cue in layout.cues.get(1, []):
            blocks.append(layout.at(cue))
            for cluster in layout.clusters(cue.cluster):
                blocks += layout.head_of(cluster, until=1, time=cue.time)
                blocks += layout.tail_of(cluster, track=1, since=None, least=3)
        layout.excerpt(blocks)
    except OddLayout:
        pass
    return blocks


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_cues_tell_key_frames_and_the_end(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "s.mkv"
    make_clip(path, codec=codec, frames=100, gop=20, bframes=3, audio=[AudioTrack()])
    assert_cues(path)


def test_the_last_frame_is_found_among_pictures_out_of_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "s.mkv"
    more = {"b-pyramid": "normal", "b_strategy": "0"}
    make_clip(path, frames=1 + 9 * 6, gop=60, bframes=8, options=more)
    monkeypatch.setattr(matroska, "_TAIL", 200)
    monkeypatch.setattr(matroska, "_LEAST_CHAIN", 1)
    assert_cues(path)


@pytest.mark.parametrize("name", [n for n in footage() if n.endswith((".mkv", ".webm"))])
def test_cues_of_real_footage_tell_key_frames_and_the_end(name: str) -> None:
    if "truncated" in name:
        with real(name).open("rb") as file:
            assert read_cues(file) is None
    else:
        assert_cues(real(name))


def assert_cues(path: Path) -> None:
    with path.open("rb") as file:
        whole = read_timeline(file)
        found = read_cues(file)
        assert found is not None
        assert found.known_end is None
        assert (found.time_base, found.origin) == (whole.time_base, int(whole.pts[0]))
        assert set(found.keys) <= set(whole.pts.tolist())
        step = whole.end / whole.frame_count
        for at in range(0, whole.frame_count, 7):
            start = whole.offset(at)
            for end in (start + step, start + 3 * step, whole.end + 1):
                assert found.holds(start, end) in (None, whole.holds(start, end))
                assert found.ends_before(end) == whole.ends_before(end)
        assert found.holds(whole.end, whole.end + 9) is False
        assert found.known_end == found.end == whole.end


def test_the_end_is_read_only_where_it_matters(sources: Path) -> None:
    path = sources / "clip.mkv"
    file = Metered(path)
    found = read_cues(file)
    assert found is not None
    before = file.fetched
    assert found.holds(Fraction(3), Fraction(9)) is True
    assert found.holds(Fraction(3), Fraction(7, 2)) is None
    assert not found.ends_before(Fraction(27))
    assert file.fetched == before
    assert found.ends_before(Fraction(31))
    assert file.fetched - before < 2e6
    assert found.end == read_timeline(file).end


def test_what_has_no_cues_is_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    make_clip(path, frames=30, container_options={"live": "1"})
    with path.open("rb") as file:
        assert read_cues(file) is None
        assert read_timeline(file, prefer_index=True).frame_count == 30
