"""Black bars around the picture, found in a few frames from all over the analysed part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import Damage, prepare, presented, seek, time_base
from reelsplit_server.media.detection.thumbs import Crop
from reelsplit_server.media.probe import VideoFacts

#: Frames looked at; frames read on after each seek, since the first ones may not come out.
_FRAMES, _MOST_READ = 12, 64
#: 8-bit luma that is black, also where it is noisy; a frame whose brighter parts do not reach the
#: second says nothing.
_BLACK, _BRIGHT = 32, 56
#: Shares of a side: bars below the first are no bars, and a picture below the second is none.
_LEAST_BAR, _LEAST_PICTURE = 0.02, 0.25


def without_bars(
    file: BinaryIO,
    video: VideoFacts,
    low: int | None,
    high: int,
    crop: Crop | None,
) -> Crop | None:
    """The part of the picture inside its black bars: left, top, width, height in pixels; `crop`
    where there are none, or where they cannot be told from dark pictures.

    Only what is inside `crop` is looked at. `low` and `high` are ticks of the source's clock
    between which frames are taken; the same source always gives the same answer.
    """
    left, top, width, height = crop or (0, 0, video.width, video.height)
    right, bottom = min(video.width, left + width), min(video.height, top + height)
    if left >= right or top >= bottom:
        return crop
    inner: tuple[int, int, int, int] | None = None
    for luma in _frames(file, video, video.start_pts if low is None else low, high):
        found = _inside(luma[top:bottom, left:right])
        if found is not None and inner is not None:
            found = (
                min(found[0], inner[0]),
                min(found[1], inner[1]),
                max(found[2], inner[2]),
                max(found[3], inner[3]),
            )
        inner = found or inner
    if inner is None:
        return crop
    rows, columns = bottom - top, right - left
    first, last = _side(inner[0], inner[2], rows)
    begin, end = _side(inner[1], inner[3], columns)
    if (first, last, begin, end) == (0, rows, 0, columns):
        return crop
    return left + begin, top + first, end - begin, last - first


def _side(low: int, high: int, length: int) -> tuple[int, int]:
    """Where the picture begins and ends on a side of this length."""
    if high - low < length * _LEAST_PICTURE:
        return 0, length
    least = length * _LEAST_BAR
    # Whole samples of chroma.
    return (low + 1) // 2 * 2 if low >= least else 0, (
        high // 2 * 2 if length - high >= least else length
    )


def _inside(luma: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """Top, left, bottom, right of what is not black; None where the frame is too dark to tell."""
    if np.percentile(luma[::4, ::4], 90) < _BRIGHT:
        return None
    # A few bright pixels in a bar are noise, or a caption.
    rows = np.flatnonzero(np.percentile(luma, 97, axis=1) > _BLACK)
    columns = np.flatnonzero(np.percentile(luma, 97, axis=0) > _BLACK)
    if not len(rows) or not len(columns):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _frames(file: BinaryIO, video: VideoFacts, low: int, high: int) -> Iterator[NDArray[np.uint8]]:
    """The luma of frames that are spread over [low, high), of the source's size alone."""
    with open_source(file) as container:
        stream = video_stream(container)
        prepare(container, stream, 1)
        base = time_base(stream)
        for number in range(_FRAMES):
            target = low + (high - low) * (2 * number + 1) // (2 * _FRAMES)
            if not seek(container, stream, target, base):
                return
            for count, frame in enumerate(presented(container, stream, Damage())):
                if (frame.width, frame.height) == (video.width, video.height):
                    yield frame.to_ndarray(format="gray").astype(np.uint8, copy=False)
                    break
                if count >= _MOST_READ:
                    break
