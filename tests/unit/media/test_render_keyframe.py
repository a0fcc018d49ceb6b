from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
from reelsplit_server.media.mp4_edit import lengths
from reelsplit_server.media.render import CutMode
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.unit.media.rendering import cut, times

RATE = Fraction(24)
HOLDERS = [Container.MP4, Container.MOV, Container.MKV, Container.TS]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("container", HOLDERS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_closed_groups_are_copied_whole(
    tmp_path: Path, ending: str, container: Container, codec: str
) -> None:
    source, out = tmp_path / f"s.{ending}", tmp_path / f"o.{container.value}"
    make_clip(source, codec=codec, frames=48, gop=12, bframes=2, audio=[AudioTrack()])
    result = cut(source, out, 15 / RATE, 30 / RATE, mode=CutMode.KEYFRAME)
    assert read_numbers(out) == list(range(12, 36))
    tick = Fraction(1, 1000)
    assert abs(result.start - 12 / RATE) <= tick
    assert abs(result.end - 36 / RATE) <= tick
    assert (result.copied_frames, result.encoded_frames) == (24, 0)
    shown = times(out)
    for index, time in enumerate(shown):
        assert abs(time - shown[0] - index / RATE) <= tick


@pytest.mark.parametrize("container", HOLDERS)
def test_an_open_group_is_left_with_its_leading_pictures(
    tmp_path: Path, container: Container
) -> None:
    source, out = tmp_path / "s.mp4", tmp_path / f"o.{container.value}"
    make_clip(source, frames=60, gop=12, bframes=3, open_gop=True)
    result = cut(source, out, 26 / RATE, 40 / RATE, mode=CutMode.KEYFRAME)
    numbers = read_numbers(out)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= 26
    assert numbers[-1] >= 39
    assert result.start == numbers[0] / RATE
    assert result.end == (numbers[-1] + 1) / RATE


@pytest.mark.parametrize("container", HOLDERS)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_an_entry_that_goes_along_ends_where_the_next_picture_is_shown(
    tmp_path: Path, ending: str, container: Container
) -> None:
    """Where the rate varies, nothing else tells: the source's packets last as long as decoding
    them would, or do not say."""
    source, out = tmp_path / f"s.{ending}", tmp_path / f"o.{container.value}"
    shown = list(accumulate((10, 120, 40, 33, 17)[n * n % 5] for n in range(60)))
    base = Fraction(1, 1000)
    make_clip(
        source,
        frames=60,
        gop=12,
        bframes=3,
        open_gop=True,
        times=shown,
        time_base=base,
        audio=[AudioTrack()],
    )
    start, end = ((shown[at] - shown[0]) * base for at in (26, 33))
    result = cut(source, out, start, end, mode=CutMode.KEYFRAME)
    numbers = read_numbers(out)
    ends = (shown[numbers[-1] + 1] - shown[0]) * base
    assert numbers[-1] > 33
    assert abs(result.end - ends) <= base / 2
    if container in (Container.MP4, Container.MOV):
        with out.open("rb") as file:
            _, said = lengths(file)
        assert abs(said - (ends - result.start)) <= base / 2


def test_to_the_end_of_the_source(tmp_path: Path) -> None:
    source, out = tmp_path / "s.mp4", tmp_path / "o.mp4"
    make_clip(source, frames=30, gop=12)
    result = cut(source, out, 13 / RATE, None, mode=CutMode.KEYFRAME)
    assert read_numbers(out) == list(range(12, 30))
    assert result.end == 30 / RATE


def test_a_container_that_cannot_hold_the_codec_refuses(tmp_path: Path) -> None:
    source = tmp_path / "s.mp4"
    make_clip(source, frames=12)
    with pytest.raises(MediaError) as caught:
        cut(source, tmp_path / "o.webm", 0, 1, mode=CutMode.KEYFRAME)
    assert caught.value.reason == "COPY_IMPOSSIBLE"
    assert "h264" in caught.value.message
