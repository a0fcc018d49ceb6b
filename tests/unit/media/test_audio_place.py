"""Where sound lies in a segment: its position to the sample, its beginning, its end, the seams."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from reelsplit_server.media.formats import AUDIO_IN, AudioCodec, Container
from reelsplit_server.media.plan import Action, AudioSettings, CutMode, RenderResult, StreamKind
from tests.unit.media.rendering import cut
from tests.unit.media.sound import (
    FRAME_RATE,
    WINDOW,
    Heard,
    Sound,
    hear,
    hear_elsewhere,
    make_sounding,
    position,
)

SOUNDS = {
    "aac.mp4": Sound(),
    "aac44.mp4": Sound(rate=44_100, layout="stereo"),
    "aac51.mp4": Sound(layout="5.1"),
    "alac.mp4": Sound(codec="alac", layout="stereo"),
    "flac.mp4": Sound(codec="flac"),
    "mp3.mp4": Sound(codec="libmp3lame", rate=44_100),
    "opus.mp4": Sound(codec="libopus"),
    "pcm.mov": Sound(codec="pcm_s16le", layout="stereo"),
    "pcm24.mov": Sound(codec="pcm_s24le"),
    "aac.mkv": Sound(),
    "ac3.mkv": Sound(codec="ac3", rate=44_100, layout="stereo"),
    "flac.mkv": Sound(codec="flac", rate=44_100),
    "mp3.mkv": Sound(codec="libmp3lame"),
    "opus.mkv": Sound(codec="libopus", layout="stereo"),
    "pcm.mkv": Sound(codec="pcm_s16le"),
    "vorbis.mkv": Sound(codec="vorbis", layout="stereo"),
    "aac.ts": Sound(),
    "mp2.ts": Sound(codec="mp2"),
    "pcm.avi": Sound(codec="pcm_s16le"),
    "mp3.avi": Sound(codec="libmp3lame"),
}
#: Samples in a packet, at most.
PACKET = 1152
#: FFmpeg's names of what the encoders make.
CODECS = {"libmp3lame": "mp3", "libopus": "opus"}
EXACT = ("flac", "alac", "pcm_s16le", "pcm_s24le")

Clips = Callable[[str], Path]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    folder = tmp_path_factory.mktemp("sound")

    def made(name: str) -> Path:
        path = folder / name
        if not path.exists():
            # H.264 in AVI has no times of its own; that is not what this is about.
            video = "mpeg4" if name.endswith("avi") else "libx264"
            make_sounding(path, SOUNDS[name], seconds=3, video_codec=video)
        return path

    return made


def tick(ending: str) -> Fraction:
    """Seconds to which a container rounds the times of sound; AVI counts whole packets."""
    known = {"mkv": Fraction(1, 1000), "webm": Fraction(1, 1000), "ts": Fraction(1, 90_000)}
    return known.get(ending, Fraction(0))


def check_position(
    result: RenderResult,
    source: Heard,
    heard: Heard,
    allowed: Fraction,
    *,
    is_in_tune: bool = True,
) -> tuple[int, int]:
    """Everything that is heard lies where it lay in the source, without gap or repetition.
    Answers the samples of the source that were heard first and last."""
    count, rate = len(heard.samples), heard.rate
    assert rate == source.rate
    found = []
    # Where nothing comes before, some decoders need 80 ms to get in tune.
    for at in (256 if is_in_tune else 4000, count // 2, count - WINDOW - 1200):
        piece = heard.samples[at : at + WINDOW]
        where = position(piece, source.samples)
        found.append(where - at)
        then = heard.first + Fraction(at, rate)
        before = source.first + Fraction(where, rate) - result.start
        assert abs(then - before) <= allowed + Fraction(1, rate)
    assert found[0] == found[1] == found[2]
    assert all(abs(jump) <= max(Fraction(1, 1000), allowed) for jump in heard.jumps)
    return found[0], found[0] + count


def pairs() -> list[tuple[str, str]]:
    return [
        (name, ending)
        for name, sound in SOUNDS.items()
        for ending in ("mp4", "mov", "mkv", "webm", "ts")
        if CODECS.get(sound.codec, sound.codec) in AUDIO_IN[Container(ending)]
        if ending != "webm" or name == "opus.mkv"
        if ending != "mov" or "pcm" in name
    ]


@pytest.mark.parametrize(("name", "ending"), pairs())
def test_copied_sound_lies_where_it_lay(
    clip: Clips, tmp_path: Path, name: str, ending: str
) -> None:
    out = tmp_path / f"o.{ending}"
    mode = CutMode.ENCODE if ending == "webm" else CutMode.AUTO
    result = cut(clip(name), out, Fraction(33, FRAME_RATE), Fraction(64, FRAME_RATE), mode=mode)
    source, heard = hear(clip(name)), hear(out)
    sample = Fraction(1, heard.rate)
    allowed = tick(ending) + tick(name[-3:].strip(".")) + sample
    check_position(result, source, heard, allowed, is_in_tune=ending != "ts")
    sound = next(s for s in result.streams if s.kind is StreamKind.AUDIO)
    is_exact = SOUNDS[name].codec in EXACT
    keeps_packets = not is_exact or SOUNDS[name].codec.startswith("pcm")
    assert sound.action is (Action.COPIED if keeps_packets else Action.ENCODED)
    assert keeps_packets or "without any loss" in (sound.reason or "")
    late = heard.last - result.duration
    if ending == "ts":
        # Whole packets only, by their middle.
        reach = Fraction(PACKET, 2) * sample + allowed
        assert -reach <= heard.first <= reach
        assert -reach <= late <= reach
    elif ending in ("mkv", "webm") or is_exact:
        assert abs(heard.first) <= allowed
        assert abs(late) <= allowed
    else:
        assert abs(heard.first) <= allowed
        # The header is exact; this decoder gives all of the last packet.
        assert -allowed <= late <= PACKET * sample
        # Whatever clock the source's times were rounded to, its samples follow one another.
        assert set(heard.jumps) == {0}
        with av.open(str(out)) as container:
            stream = container.streams.audio[0]
            length = Fraction(stream.duration or 0) * Fraction(stream.time_base or 0)
            assert (stream.start_time, abs(length - result.duration) <= sample) == (0, True)


@pytest.mark.parametrize("mode", [CutMode.KEYFRAME, CutMode.ENCODE])
@pytest.mark.parametrize("name", ["aac.mp4", "opus.mkv", "pcm.mov"])
@pytest.mark.parametrize("ending", ["mov", "mkv", "ts"])
def test_the_mode_does_not_matter(
    clip: Clips, tmp_path: Path, mode: CutMode, name: str, ending: str
) -> None:
    out = tmp_path / f"o.{ending}"
    result = cut(clip(name), out, Fraction(33, FRAME_RATE), Fraction(48, FRAME_RATE), mode=mode)
    allowed = tick(ending) + tick(name[-3:].strip(".")) + Fraction(1, 48_000)
    heard = hear(out)
    check_position(result, hear(clip(name)), heard, allowed, is_in_tune=ending != "ts")
    assert abs(heard.first) <= Fraction(1024, 48_000)


@pytest.mark.parametrize("name", ["aac.mp4", "opus.mkv", "mp3.mkv", "aac.ts", "vorbis.mkv"])
def test_another_decoder_hears_it_at_the_same_place(clip: Clips, tmp_path: Path, name: str) -> None:
    """An old one, which leaves nothing out of Matroska but for Opus."""
    for ending in ("mp4", "mkv"):
        if name == "vorbis.mkv" and ending == "mp4":
            continue
        out = tmp_path / f"o.{ending}"
        cut(clip(name), out, Fraction(33, FRAME_RATE), Fraction(64, FRAME_RATE), mode=CutMode.AUTO)
        elsewhere, here = hear_elsewhere(out), hear(out).samples
        early = position(here[256 : 256 + WINDOW], elsewhere) - 256
        if ending == "mp4" or name == "opus.mkv":
            assert (early, len(elsewhere)) == (0, len(here))
        else:
            assert 0 <= early <= Fraction(11, 100) * 48_000


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        *[
            (name, ending)
            for name in ("aac.mp4", "opus.mp4", "aac.mkv")
            for ending in ("mkv", "ts")
        ],
        ("mp3.mkv", "mkv"),
        ("flac.mkv", "mkv"),
        ("flac.mp4", "mp4"),
        ("pcm.mkv", "mov"),
        ("pcm.mov", "mkv"),
        ("alac.mp4", "mov"),
        ("ac3.mkv", "ts"),
    ],
)
def test_pieces_in_order_are_the_source(
    clip: Clips, tmp_path: Path, name: str, ending: str
) -> None:
    """Decoded one after the other, neighbours give every sample once."""
    source = hear(clip(name))
    borders = [Fraction(0), *(Fraction(n, FRAME_RATE) for n in (19, 38, 57)), None]
    ends: list[tuple[int, int]] = []
    pieces = []
    for number, (start, end) in enumerate(pairwise(borders)):
        out = tmp_path / f"{number}.{ending}"
        result = cut(clip(name), out, start or 0, end, mode=CutMode.AUTO)
        heard = hear(out)
        allowed = tick(ending) + tick(name[-3:].strip(".")) + Fraction(2, heard.rate)
        in_tune = ending != "ts"
        ends.append(check_position(result, source, heard, allowed, is_in_tune=in_tune))
        pieces.append(heard.samples)
    is_exact = SOUNDS[name].codec in EXACT
    for (_, last), (first, _) in pairwise(ends):
        # Lossy packets of a source in MKV lie on a clock of a millisecond.
        slack = 48 if name.endswith("mkv") and not is_exact and ending != "ts" else 0
        assert abs(first - last) <= slack
    if is_exact:
        whole = np.concatenate(pieces)
        assert np.array_equal(whole, source.samples[-ends[0][0] if ends[0][0] < 0 else 0 :])


@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_each_packet_goes_to_one_of_two_neighbours(
    clip: Clips, tmp_path: Path, ending: str
) -> None:
    """Where nothing can be trimmed; in MKV what is trimmed needs what comes before."""
    data = []
    for number, (start, end) in enumerate([(0, 29), (29, 51), (51, None)]):
        out = tmp_path / f"{number}.{ending}"
        stop = None if end is None else Fraction(end, FRAME_RATE)
        cut(clip("mp2.ts"), out, Fraction(start, FRAME_RATE), stop, mode=CutMode.AUTO)
        data.append(packets(out))
    source = packets(clip("mp2.ts"))
    if ending == "ts":
        assert [packet for piece in data for packet in piece] == source
    else:
        assert [packet for packet in source if any(packet in piece for piece in data)] == source
        assert max(sum(packet in piece for piece in data) for packet in source) == 2


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("codec", AudioCodec)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_encoded_sound_is_exact_at_both_ends(
    clip: Clips, tmp_path: Path, codec: AudioCodec, ending: str
) -> None:
    out = tmp_path / f"o.{ending}"
    asked = AudioSettings(codec=codec)
    start, end = Fraction(33, FRAME_RATE), Fraction(64, FRAME_RATE)
    result = cut(clip("pcm.mov"), out, start, end, mode=CutMode.AUTO, audio=asked)
    heard = hear(out)
    allowed = tick(ending) + Fraction(1, 48_000)
    check_position(result, hear(clip("pcm.mov")), heard, allowed)
    assert abs(heard.first) <= allowed
    assert -allowed <= heard.last - result.duration <= Fraction(1024, 48_000)
