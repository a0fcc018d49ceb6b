"""Sound that begins late or ends early, has holes or lies; several tracks; real footage."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from reelsplit_server.media import tracks
from reelsplit_server.media.audio import plan_audio
from reelsplit_server.media.audio_grid import Grid
from reelsplit_server.media.container import open_source
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import AudioCodec, Container
from reelsplit_server.media.plan import (
    Action,
    AudioSettings,
    CutMode,
    StreamKind,
)
from tests.media import footage, real
from tests.unit.media.rendering import cut
from tests.unit.media.sound import FRAME_RATE, WINDOW, Heard, Sound, hear, make_sounding, position

SAMPLE = Fraction(1, 48_000)
TICK = {"mkv": Fraction(1, 1000), "ts": Fraction(1, 90_000)}
PACKET = 1024 * SAMPLE

Made = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("odd")

    def make(name: str, *sounds: Sound, **settings: int) -> Path:
        path = folder / name
        if not path.exists():
            make_sounding(path, *sounds, seconds=3, **settings)
        return path

    return make


def near(heard: Heard, source: Heard, start: Fraction, at: int) -> Fraction:
    """Seconds by which `WINDOW` samples from `at` on sound later than they should, within some
    hundredths of a second."""
    # One of the sources has a hole behind its first packet.
    hole = source.jumps[1] if source.jumps[1] > Fraction(1, 100) else 0
    when = heard.first + Fraction(at, heard.rate) + start - source.first - hole
    expected, reach = round(when * source.rate), 1500
    low = max(expected - reach, 0)
    found = position(
        heard.samples[at : at + WINDOW], source.samples[low : expected + WINDOW + reach]
    )
    return when - Fraction(low + found, source.rate)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_late_sound_begins_when_it_did(made: Made, tmp_path: Path, ending: str) -> None:
    source = made("late.mp4", Sound(start=Fraction(4, 5)))
    out = tmp_path / f"o.{ending}"
    cut(source, out, Fraction(2, 5), Fraction(2), mode=CutMode.AUTO)
    heard = hear(out)
    before = hear(source)
    assert before.first > Fraction(3, 4)
    assert abs(heard.first - (before.first - Fraction(2, 5))) <= TICK.get(ending, 0) + SAMPLE
    assert abs(near(heard, before, Fraction(2, 5), 2048)) <= TICK.get(ending, 0) + SAMPLE


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("codec", [None, AudioCodec.AAC])
def test_sound_that_ends_early_ends_there(
    made: Made, tmp_path: Path, ending: str, codec: AudioCodec | None
) -> None:
    source = made("early.mkv", Sound(stop=Fraction(3, 2)))
    out = tmp_path / f"o.{ending}"
    asked = AudioSettings(codec=codec)
    result = cut(source, out, 1, Fraction(5, 2), mode=CutMode.AUTO, audio=asked)
    heard = hear(out)
    assert result.frame_count == 38
    assert abs(heard.last - Fraction(1, 2)) <= 2 * PACKET
    out = tmp_path / f"none.{ending}"
    result = cut(source, out, 2, Fraction(5, 2), mode=CutMode.AUTO, audio=asked)
    assert result.audio_offset is None
    with av.open(str(out)) as container:
        assert not [p for p in container.demux() if p.size and p.stream.type == "audio"]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_holes_stay_holes_and_nothing_drifts(made: Made, tmp_path: Path, ending: str) -> None:
    hole = Fraction(6, 5), Fraction(9, 5)
    source = made("hole.mkv", Sound(hole=hole))
    out = tmp_path / f"o.{ending}"
    cut(source, out, Fraction(4, 5), Fraction(13, 5), mode=CutMode.AUTO)
    heard = hear(out)
    assert heard.first <= PACKET / 2 + TICK.get(ending, 0)
    widths = np.diff(np.array([float(jump) for jump in heard.jumps]))
    assert 0.58 < widths.max() < 0.63
    assert np.count_nonzero(np.abs(widths) > 0.002) == 1
    # Behind the hole everything is where it was.
    with av.open(str(source)) as before, av.open(str(out)) as after:
        theirs = [(p.pts or 0) * p.time_base for p in before.demux(audio=0) if p.size]
        mine = [(p.pts or 0) * p.time_base for p in after.demux(audio=0) if p.size]
    behind = [time - Fraction(4, 5) for time in theirs if Fraction(9, 5) <= time < Fraction(13, 5)]
    zero = mine[-1] - behind[-1]
    tail = [time - zero for time in mine[-len(behind) :]]
    assert all(abs(a - b) <= Fraction(1, 500) for a, b in zip(tail, behind, strict=True))


def test_a_hole_is_filled_where_sound_is_encoded(made: Made, tmp_path: Path) -> None:
    source = made("hole.mkv", Sound(hole=(Fraction(6, 5), Fraction(9, 5))))
    out = tmp_path / "o.mp4"
    asked = AudioSettings(codec=AudioCodec.OPUS)
    cut(source, out, Fraction(4, 5), Fraction(13, 5), mode=CutMode.AUTO, audio=asked)
    heard = hear(out)
    assert max(heard.jumps) == min(heard.jumps) == 0
    assert 0 <= heard.last - Fraction(9, 5) <= PACKET
    silent = heard.samples[round(0.5 * 48_000) : round(0.9 * 48_000)]
    assert np.abs(silent).max() < 0.01
    assert abs(near(heard, hear(source), Fraction(4, 5), 4000)) <= Fraction(1, 500)


@pytest.mark.parametrize("mode", [CutMode.AUTO, CutMode.ENCODE, CutMode.KEYFRAME])
def test_several_tracks_each_keep_their_place(made: Made, tmp_path: Path, mode: CutMode) -> None:
    sounds = [
        Sound(language="eng"),
        Sound(codec="libopus", language="fra", seed=2),
        Sound(codec="flac", language="deu", start=Fraction(1, 2), seed=3),
    ]
    source, out = made("three.mkv", *sounds), tmp_path / "o.mkv"
    result = cut(source, out, Fraction(28, FRAME_RATE), Fraction(53, FRAME_RATE), mode=mode)
    with av.open(str(out)) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "fra", "deu"]
    for track in range(3):
        heard, before = hear(out, track), hear(source, track)
        assert abs(near(heard, before, result.start, 3000)) <= Fraction(2, 1000) + SAMPLE
        assert abs(heard.first) <= TICK["mkv"]
        assert abs(heard.last - result.duration) <= TICK["mkv"] * 2


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_sound_from_before_the_first_picture_is_not_heard(
    made: Made, tmp_path: Path, ending: str
) -> None:
    source = made("video_late.mp4", Sound(start=Fraction(0), stop=Fraction(3)), video_start=1)
    out = tmp_path / f"o.{ending}"
    cut(source, out, 0, 1, mode=CutMode.AUTO)
    heard = hear(out)
    assert abs(heard.first) <= PACKET / 2 + TICK.get(ending, 0)
    assert abs(near(heard, hear(source), Fraction(0), 2048)) <= TICK.get(ending, 0) + SAMPLE


def test_to_the_end_of_the_source_nothing_is_added(made: Made, tmp_path: Path) -> None:
    """The padding at the end of the source's last packet is no sound in the copy either."""
    source = made("end.mkv", Sound(codec="libopus", stop=Fraction(28_765, 10_000)))
    out = tmp_path / "o.mkv"
    cut(source, out, 1, None, mode=CutMode.AUTO)
    assert abs(hear(source).last - hear(out).last - 1) <= Fraction(2, 1000)


def test_a_segment_within_one_packet_is_told_as_it_is(made: Made, tmp_path: Path) -> None:
    """Both ends of the only packet are cut off; FFmpeg's reader knows of one of them."""
    source = made("short.mkv", Sound(codec="ac3", rate=32_000, start=Fraction(1, 200)))
    out = tmp_path / "o.mkv"
    result = cut(source, out, 0, Fraction(1, FRAME_RATE), mode=CutMode.AUTO)
    assert result.frame_count == 1
    assert result.audio_offset is not None
    assert abs(result.audio_offset) <= TICK["mkv"] + SAMPLE
    assert hear(out).last <= Fraction(1536, 32_000)


def test_thousands_of_tracks_are_not_all_carried(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tracks, "_MOST_TRACKS", 2)
    sounds = [Sound(), Sound(codec="libopus"), Sound(codec="flac")]
    result = cut(made("many.mkv", *sounds), tmp_path / "o.mkv", 1, 2, mode=CutMode.AUTO)
    last = [stream for stream in result.streams if stream.kind is StreamKind.AUDIO][-1]
    assert last.action is Action.DROPPED
    assert "only the first 2" in (last.reason or "")


@pytest.mark.parametrize(("rate", "channels"), [(0, 2), (2**31 - 1, 2), (48_000, 0), (48_000, 500)])
def test_an_absurd_format_is_dropped_with_a_reason(rate: int, channels: int) -> None:
    context = SimpleNamespace(
        sample_rate=rate, channels=channels, codec=SimpleNamespace(canonical_name="aac")
    )
    stream = SimpleNamespace(codec_context=context, index=1, language=None)
    outcome = plan_audio(cast(AudioStream, stream), Container.MP4, AudioSettings())
    assert (outcome.action, outcome.reason) == (Action.DROPPED, "its codec or format is unknown")


def test_times_and_durations_that_lie_are_bounded(made: Made) -> None:
    with made("lies.mp4", Sound()).open("rb") as file, open_source(file) as container:
        grid = Grid(container.streams.audio[0], Fraction(0))
        packet = av.Packet(b"\0" * 100)
        packet.pts = packet.dts = 2**62
        assert grid.time(packet) is None
        packet.pts = packet.dts = None
        assert grid.time(packet) is None
        packet.duration = 2**40
        assert grid.length(packet) == 1024
        packet.duration = 0
        assert grid.length(packet) == 1024
        assert grid.settle(Fraction(1), 1024) == 48_000
        # Without a time it follows the one before.
        assert grid.time(packet) == 1 + PACKET


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_corrupt_sound_ends_in_a_segment_or_a_reason(
    made: Made, tmp_path: Path, ending: str
) -> None:
    data = bytearray(made("corrupt.mkv", Sound(), Sound(codec="flac", seed=2)).read_bytes())
    random = np.random.default_rng(7)
    for seed in range(2):
        broken = bytearray(data)
        for at in random.integers(2000, len(data), 40):
            broken[at] = int(random.integers(256))
        path = tmp_path / f"{seed}.mkv"
        path.write_bytes(broken)
        for codec in (None, AudioCodec.AAC):
            asked = AudioSettings(codec=codec)
            try:
                cut(path, tmp_path / f"o.{ending}", 1, 2, mode=CutMode.AUTO, audio=asked)
            except MediaError as error:
                assert error.reason  # noqa: PT017 - either is right


@pytest.mark.parametrize(("at", "damaged"), [(Fraction(1), False), (Fraction(5, 2), True)])
def test_broken_sound_is_damage_where_it_is_heard(
    made: Made, tmp_path: Path, at: Fraction, damaged: bool
) -> None:
    source = made("torn.mkv", Sound(codec="mp2"))
    with av.open(str(source)) as container:
        sound = next(
            bytes(packet)
            for packet in container.demux(audio=0)
            if packet.pts is not None and packet.pts * packet.time_base >= at
        )
    data = source.read_bytes()
    assert data.count(sound) == 1
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data.replace(sound, b"U" * len(sound)))
    asked = AudioSettings(codec=AudioCodec.AAC)
    result = cut(broken, tmp_path / "o.mp4", 2, 3, mode=CutMode.ENCODE, audio=asked)
    assert bool(result.damaged) is damaged


TRAITS = [
    name
    for name in footage("traits")
    if not any(without in name for without in ("audio_only", "noaudio", "truncated", "vfr_pause"))
]


@pytest.mark.parametrize("name", TRAITS)
def test_real_sound_is_in_step(name: str, tmp_path: Path) -> None:
    source = real(name)
    with av.open(str(source)) as container:
        indexes = [stream.index for stream in container.streams.audio]
        short = (container.duration or 0) < 6 * av.time_base
        ticks = {s.index: Fraction(s.time_base or 0) for s in container.streams.audio}
    ranges = [(Fraction(1, 4), Fraction(1))] if short else [(Fraction(32, 10), Fraction(41, 10))]
    ranges = [(Fraction(0), Fraction(1)), *ranges]
    if "audio_late" in name:
        ranges = ranges[1:]
    befores = {index: hear(source, number) for number, index in enumerate(indexes)}
    for (start, end), ending in (
        zip(ranges, ("mkv", "mp4"), strict=True) if len(ranges) == 2 else [(ranges[0], "mkv")]
    ):
        out = tmp_path / f"o.{ending}"
        result = cut(source, out, start, end, mode=CutMode.AUTO)
        kept = [
            stream
            for stream in result.streams
            if stream.kind is StreamKind.AUDIO and stream.action is not Action.DROPPED
        ]
        assert [stream.source_index for stream in kept] == indexes
        for number, stream in enumerate(kept):
            heard, before = hear(out, number), befores[stream.source_index]
            tick = ticks[stream.source_index] if "avi" not in name else Fraction(0)
            allowed = TICK.get(ending, 0) + tick + 2 * SAMPLE
            assert abs(heard.first) <= allowed
            if number:
                # The second tracks are one long tone: nothing in them tells the place.
                continue
            for at in (2048, len(heard.samples) // 2, len(heard.samples) - WINDOW - 2400):
                assert abs(near(heard, before, result.start, at)) <= allowed
