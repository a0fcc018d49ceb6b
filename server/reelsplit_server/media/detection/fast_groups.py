"""Groups of pictures of a stretch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.fast_coding import Coded, starts_of
from reelsplit_server.media.detection.index import Samples
from reelsplit_server.media.detection.stretches import Stretch

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """The frames from one key frame up to the next, in presentation order."""

    entry: int | None
    """Ticks: when the key frame is shown; None where the file begins with it."""
    high: int | None
    """Ticks: when the next key frame is shown, or where the analysed part ends; None for the end
    of the source."""
    first: int
    """The number of its first frame in the stretch."""
    pts: Ints
    """Shape (frames,): ticks at which they are shown."""
    begun: bool
    """Whether it begins with its key frame."""
    ended: bool
    """Whether the next key frame ends it."""
    coded: Coded
    """Its packets."""

    @property
    def stop(self) -> int:
        """The number of the frame after its last."""
        return self.first + len(self.pts)


def groups_of(stretch: Stretch, samples: Samples, pts: Ints) -> Iterator[Group]:
    """The groups of a stretch. `samples` are its packets in the order of decoding, `pts` the
    ticks of its frames in the order in which they are shown. What makes a group lies between its
    two key frames, so where stretches begin and end makes no difference."""
    starts = starts_of(samples).tolist()
    if not starts or not len(pts):
        return
    entries = samples.pts[starts].tolist()
    for place, (start, entry) in enumerate(zip(starts, entries, strict=True)):
        last = place + 1 == len(starts)
        high = stretch.high if last else entries[place + 1]
        begin = 0 if place == 0 else int(np.searchsorted(pts, entry))
        end = len(pts) if last else int(np.searchsorted(pts, entries[place + 1]))
        if begin == end:
            continue
        yield Group(
            entry=stretch.entry if place == 0 else entry,
            high=high,
            first=begin,
            pts=pts[begin:end],
            begun=bool(pts[begin] == entry),
            ended=high is not None and not (last and stretch.cut),
            coded=Coded.of(samples[start : None if last else starts[place + 1]]),
        )
