"""Small pictures of frames of every format and size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.thumbs import StripBuilder, ThumbMaker
from reelsplit_server.media.errors import MediaError
from tests.clips import make_clip

#: What FFmpeg's decoders give, one of each kind of layout.
FORMATS = (
    "yuv420p",
    "yuv422p",
    "yuv440p",
    "yuv444p",
    "yuv410p",
    "yuv411p",
    "yuva420p",
    "nv12",
    "nv21",
    "nv16",
    "nv24",
    "yuv420p10le",
    "yuv420p10be",
    "yuv422p12le",
    "yuv444p16le",
    "yuv420p9le",
    "yuva444p10le",
    "p010le",
    "p016be",
    "p210le",
    "yuyv422",
    "uyvy422",
    "y210le",
    "ayuv64le",
)
FULL_RANGE = (
    "yuvj420p",
    "yuvj444p",
    "rgb24",
    "bgr24",
    "rgba",
    "bgra",
    "argb",
    "0rgb",
    "bgr0",
    "rgb48le",
    "bgra64be",
    "gbrp",
    "gbrp10le",
    "gbrap",
)
GRAY = (
    "gray",
    "gray10le",
    "gray16be",
    "ya8",
    "monow",
)


def picture(width: int = 322, height: int = 180) -> av.VideoFrame:
    """Colours that run across and down, in yuv444p."""
    across = np.linspace(0, 255, width)[None, :]
    down = np.linspace(0, 255, height)[:, None]
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = across
    rgb[..., 1] = down
    rgb[..., 2] = 255 - across
    rgb[height // 3 : height // 2, width // 3 : width // 2] = (250, 30, 30)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv444p")


def apart(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_the_same(name: str) -> None:
    reference = picture()
    expected = ThumbMaker(reference).make(reference)
    frame = reference.reformat(format=name)
    thumb = ThumbMaker(frame).make(frame)
    assert [part.shape for part in thumb] == [(36, 64), (18, 32), (18, 32)]
    assert all(part.dtype == np.uint8 for part in thumb)
    for part, other in zip(thumb, expected, strict=True):
        assert apart(part, other) < 2.0


@pytest.mark.parametrize("name", FULL_RANGE)
def test_full_range_formats_show_the_same_stretched(name: str) -> None:
    reference = picture()
    y, u, v = ThumbMaker(reference).make(reference)
    frame = reference.reformat(format=name)
    thumb = ThumbMaker(frame).make(frame)
    stretched = ((y.astype(float) - 16) * 255 / 219).clip(0, 255).astype(np.uint8)
    assert apart(thumb[0], stretched) < 3.0
    for part, other in zip(thumb[1:], (u, v), strict=True):
        wide = ((other.astype(float) - 128) * 255 / 224 + 128).clip(0, 255).astype(np.uint8)
        assert apart(part, wide) < 4.0


@pytest.mark.parametrize("name", GRAY)
def test_without_chroma_it_is_neutral(name: str) -> None:
    frame = picture().reformat(format=name)
    _, u, v = ThumbMaker(frame).make(frame)
    assert (u == 128).all()
    assert (v == 128).all()


def test_a_palette() -> None:
    pixels = np.zeros((40, 80), np.uint8)
    pixels[:, 40:] = 1
    palette = np.zeros((256, 4), np.uint8)
    palette[:] = (255, 0, 0, 0)
    palette[1] = (255, 250, 250, 250)
    frame = av.VideoFrame.from_ndarray((pixels, palette), format="pal8")
    y, _, _ = ThumbMaker(frame).make(frame)
    assert y[:, :30].mean() < 30 < 220 < y[:, 34:].mean()


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (3, 5), (16, 16), (65, 37), (641, 361), (4_000, 2), (2, 3_000)]
)
@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv410p", "rgb24"])
def test_any_size(size: tuple[int, int], name: str) -> None:
    frame = av.VideoFrame(*size, name)
    for plane in frame.planes:
        plane.update(bytes([90]) * plane.buffer_size)
    y, u, v = ThumbMaker(frame, downscale=3).make(frame)
    assert (y.shape, u.shape, v.shape) == ((36, 64), (18, 32), (18, 32))
    assert abs(int(y[0, 0]) - 90) <= 1
    assert (y == y[0, 0]).all()


def test_a_crop_shows_that_part_only() -> None:
    frame = picture(640, 360)
    y, _, _ = ThumbMaker(frame, crop=(320, 0, 320, 360)).make(frame)
    whole, _, _ = ThumbMaker(frame).make(frame)
    assert apart(y[:, ::2], whole[:, 32:]) < 6.0
    assert apart(y[:, ::2], whole[:, :32]) > 20.0


def test_a_crop_follows_a_change_of_size() -> None:
    large = picture(640, 360)
    small = large.reformat(width=320, height=180)
    maker = ThumbMaker(large, crop=(320, 180, 320, 180))
    assert apart(maker.make(large)[0], maker.make(small)[0]) < 3.0


@pytest.mark.parametrize("crop", [(700, 0, 10, 10), (0, 0, 0, 10), (-1, 0, 10, 10), (0, 360, 9, 9)])
def test_a_crop_outside_is_refused(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(MediaError) as caught:
        ThumbMaker(picture(640, 360), crop=crop)
    assert caught.value.reason == "CROP_OUTSIDE_SOURCE"


@pytest.mark.parametrize("downscale", [1, 4, 16, 1_000])
def test_downscale(downscale: int) -> None:
    frame = picture(1_280, 720)
    maker = ThumbMaker(frame, downscale=downscale)
    reference, _, _ = ThumbMaker(frame).make(frame)
    assert apart(maker.make(frame)[0], reference) < (90.0 if downscale == 1_000 else 6.0)


def test_size_and_format_may_change_from_frame_to_frame() -> None:
    frame = picture()
    maker = ThumbMaker(frame)
    expected = maker.make(frame)
    for other in (
        frame.reformat(width=200, height=100, format="nv12"),
        frame.reformat(width=1_000, height=700, format="yuv420p10le"),
    ):
        for part, reference in zip(maker.make(other), expected, strict=True):
            assert apart(part, reference) < 4.0


def test_pictures_do_not_share_memory_with_the_frame() -> None:
    frame = av.VideoFrame(64, 36, "gray")
    frame.planes[0].update(bytes([50]) * frame.planes[0].buffer_size)
    y, _, _ = ThumbMaker(frame).make(frame)
    frame.planes[0].update(bytes([200]) * frame.planes[0].buffer_size)
    assert (y == 50).all()


def test_a_builder_gives_strips_that_follow_each_other() -> None:
    frame = picture()
    thumb = ThumbMaker(frame).make(frame)
    builder = StripBuilder(7)
    assert len(builder.take()) == 0
    for pts in (10, 20, 30):
        builder.add(pts, thumb)
    assert len(builder) == 3
    strip = builder.take()
    assert (strip.first, strip.stop, list(strip.pts)) == (7, 10, [10, 20, 30])
    assert strip.y.shape == (3, 36, 64)
    assert strip.u.shape == (3, 18, 32)
    builder.add(40, thumb)
    assert builder.take().first == 10


def test_cuts_of_a_decoded_clip_are_found(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=100, shots=(30, 61), size=(640, 360), gop=24)
    builder = StripBuilder()
    with av.open(str(path)) as container:
        maker = None
        for number, frame in enumerate(container.decode(video=0)):
            maker = maker or ThumbMaker(frame)
            builder.add(number, maker.make(frame))
    finder = RuleFinder(rate=Fraction(24))
    found = finder.push(builder.take()) + finder.finish()
    assert [boundary.start for boundary in found] == [30, 61]
