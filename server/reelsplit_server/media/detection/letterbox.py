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

#: Frames looked at; how many others lie between two of them, and how many are decoded in all to
#: get there, where key frames are few.
_FRAMES, _BETWEEN, _MOST_READ = 20, 12, 200
#: Of the places of these frames, how many lie between one that is looked at and the next.
_STEP = 7
#: 8-bit luma that is black, also where it is noisy; a frame whose brighter parts do not reach the
#: second says nothing.
_BLACK, _BRIGHT = 32, 56
#: Shares of a side: bars below the first are no bars, and a picture below the second is none.
_LEAST_BAR, _LEAST_PICTURE = 0.02, 0.25
#: So many frames must have bars where nobody said that there are any; fewer where these are on two
#: sides only, and differ by no more than such a share of the picture. The last is enough for all.
_LEAST_FRAMES, _ALIKE, _ENOUGH = 4, 0.01, 10


def without_bars(
    file: BinaryIO,
    video: VideoFacts,
    low: int | None,
    high: int,
    crop: Crop | None,
    *,
    told: bool,
) -> Crop | None:
    """The part of the picture inside its black bars: left, top, width, height in pixels; `crop`
    where there are none, or where they cannot be told from dark pictures.

    Only what is inside `crop` is looked at. `low` and `high` are ticks of the source's clock
    between which frames are taken; the same source always gives the same answer. Where nobody
    `told` that there are bars, only those count that some frames have, and on both sides.
    """
    left, top, width, height = crop or (0, 0, video.width, video.height)
    right, bottom = min(video.width, left + width), min(video.height, top + height)
    if left >= right or top >= bottom:
        return crop
    rows, columns = bottom - top, right - left
    inner, count = (rows, columns, 0, 0), 0
    sides: tuple[int, int, int, int] | None = None
    for luma in _frames(file, video, video.start_pts if low is None else low, high):
        found = _inside(luma[top:bottom, left:right])
        if found is None:
            continue
        inner = (
            min(found[0], inner[0]),
            min(found[1], inner[1]),
            max(found[2], inner[2]),
            max(found[3], inner[3]),
        )
        count += 1
        sides = _sides(inner, rows, columns, told=told)
        if sides is None:
            return crop
        if count == _ENOUGH:
            break
    if sides is None:
        return crop
    first, last, begin, end = sides
    if not told and count < _LEAST_FRAMES:
        # A title on black has bars on all sides, a lone figure seldom in the middle.
        across, down = begin - (columns - end), first - (rows - last)
        one = (first == 0) != (begin == 0)
        if not one or abs(across) > _ALIKE * columns or abs(down) > _ALIKE * rows:
            return crop
    return left + begin, top + first, end - begin, last - first


def _sides(
    inner: tuple[int, int, int, int], rows: int, columns: int, *, told: bool
) -> tuple[int, int, int, int] | None:
    """Top, bottom, left, right of the picture inside its bars; None where there are none."""
    first, last = _side(inner[0], inner[2], rows)
    begin, end = _side(inner[1], inner[3], columns)
    if not told and (first == 0 or last == rows):
        first, last = 0, rows
    if not told and (begin == 0 or end == columns):
        begin, end = 0, columns
    sides = first, last, begin, end
    return None if sides == (0, rows, 0, columns) else sides


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
    rows = np.flatnonzero(np.percentile(luma[:, ::4], 97, axis=1) > _BLACK)
    columns = np.flatnonzero(np.percentile(luma[::4], 97, axis=0) > _BLACK)
    if not len(rows) or not len(columns):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _frames(file: BinaryIO, video: VideoFacts, low: int, high: int) -> Iterator[NDArray[np.uint8]]:
    """The luma of frames that are spread over [low, high), of the source's size alone; the first
    few from all over it."""
    left, seen = _MOST_READ, set[int]()
    with open_source(file) as container:
        stream = video_stream(container)
        prepare(container, stream, 1)
        base = time_base(stream)
        for number in range(_FRAMES):
            place = number * _STEP % _FRAMES
            target = low + (high - low) * (2 * place + 1) // (2 * _FRAMES)
            if not seek(container, stream, target, base):
                return
            # The key frame, or some frames behind those that were seen where it is one of them.
            ahead = 0
            for frame in presented(container, stream, Damage()):
                assert frame.pts is not None
                if frame.pts in seen:
                    ahead = _BETWEEN
                elif ahead <= 0:
                    seen.add(frame.pts)
                    if (frame.width, frame.height) == (video.width, video.height):
                        yield frame.to_ndarray(format="gray").astype(np.uint8, copy=False)
                    break
                ahead, left = ahead - 1, left - 1
                if left <= 0:
                    return
