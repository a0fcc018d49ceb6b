from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from reelsplit_server.media.plan import CutMode
from tests.media import real
from tests.unit.media.rendering import cut
from tests.unit.media.sound import make_sounding

#: Seconds from and to.
Cue = tuple[Fraction, Fraction]


def cues(path: Path) -> list[tuple[str, Cue]]:
    """Text, and from when to when it is shown, seconds; without MP4's empty ones in between."""
    with av.open(str(path)) as container:
        found = []
        for packet in container.demux(container.streams.subtitles[0]):
            if packet.size > 2 and packet.pts is not None:
                base = packet.time_base
                text = bytes(packet)[2:] if path.suffix == ".mp4" else bytes(packet)
                shown = packet.pts * base
                found.append((text.decode(), (shown, shown + (packet.duration or 0) * base)))
    return found


@pytest.mark.parametrize("mode", [CutMode.AUTO, CutMode.ENCODE, CutMode.KEYFRAME])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_cue_across_a_border_is_shown_on_both_sides(
    tmp_path: Path, mode: CutMode, ending: str
) -> None:
    source = real("traits/bbb_h264_multi.mkv")
    whole = cues(source)
    text, (shown, until) = whole[len(whole) // 2]
    # The first picture, which is t = 0, is shown a little later than the file begins.
    shown, until = shown - Fraction(21, 1000), until - Fraction(21, 1000)
    border = (shown + until) / 2
    before, after = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    first = cut(source, before, shown - 1, border, mode=mode)
    second = cut(source, after, border, until + 1, mode=mode)
    tick = Fraction(1, 500)
    mine = dict(cues(before))[text]
    assert abs(mine[0] - (shown - first.start)) <= tick
    assert abs(mine[1] - min(until - first.start, first.duration)) <= tick
    theirs = dict(cues(after))[text]
    assert abs(theirs[0] - max(Fraction(0), shown - second.start)) <= tick
    assert abs(theirs[1] - (until - second.start)) <= tick


def test_a_long_cue_does_not_come_after_a_later_one(tmp_path: Path) -> None:
    """Held back until the end is known, it holds back what follows it in its stream."""
    source, out = tmp_path / "s.mkv", tmp_path / "o.mp4"
    texts = tmp_path / "s.srt"
    texts.write_text(
        "1\n00:00:00,500 --> 00:00:03,500\nlong\n\n2\n00:00:01,000 --> 00:00:01,500\nshort\n\n"
    )
    _with_cues(source, texts)
    result = cut(source, out, Fraction(1, 5), Fraction(5, 2), mode=CutMode.KEYFRAME)
    assert result.end == 3
    assert [text for text, _ in cues(out)] == ["long", "short"]


def _with_cues(path: Path, texts: Path) -> None:
    film = path.with_suffix(".film.mkv")
    make_sounding(film, seconds=4)
    with (
        av.open(str(film)) as pictures,
        av.open(str(texts)) as lines,
        av.open(str(path), "w") as container,
    ):
        streams = [
            container.add_stream_from_template(pictures.streams[0]),
            container.add_stream_from_template(lines.streams[0]),
        ]
        packets = [
            (packet.pts * packet.time_base, number, packet)
            for number, source in enumerate((pictures, lines))
            for packet in source.demux()
            if packet.pts is not None
        ]
        for _, number, packet in sorted(packets, key=lambda each: each[:2]):
            packet.stream = streams[number]
            container.mux(packet)
