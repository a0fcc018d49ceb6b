"""Groups of pictures of a stretch, and what the sizes of their packets tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.index import Samples
from reelsplit_server.media.detection.stretches import Stretch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Packets on each side that one is compared with.
_AROUND = 6
#: Anchors in a row that a gradual change takes.
_ROW = 8
#: Fewer anchors than this tell nothing.
_FEWEST = 5
#: What is usual in a group: this share of its packets is smaller.
_USUAL = 0.35
#: So many times the usual is not more than usual.
_TWICE = 2.0
#: Sizes below this share of the key frame's are alike.
_FLOOR = 0.02
#: Frames in a row that count as one place.
_PLACE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How evenly a group was coded, by its anchors."""

    largest: float
    """The largest one's size, as a share of the key frame's."""
    spike: float
    """The largest ratio of one to the ones around it."""
    renewal: float
    """How much more than usual is coded within a few in a row, as a share of the key frame's size:
    however gradually a picture is replaced, its new parts are coded once."""
    crowding: float
    """How much larger the share of anchors is in some place than in most, where much is coded:
    encoders that may choose make few others while one shot gives way to another."""
    between: float
    """The share of frames that are no anchors."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """The same from each anchor but the key frame on, to the end of the group; see `Sizes`."""

    times: Ints
    """Shape (anchors,): ticks at which they are shown."""
    largest: Floats
    spike: Floats
    renewal: Floats
    crowding: Floats
    between: float

    def after(self, pts: int) -> Sizes | None:
        """How evenly what is shown after these ticks was coded; None where no anchor is."""
        place = int(np.searchsorted(self.times, pts, side="right"))
        if place == len(self.times):
            return None
        return Sizes(
            largest=float(self.largest[place]),
            spike=float(self.spike[place]),
            renewal=float(self.renewal[place]),
            crowding=float(self.crowding[place]),
            between=self.between,
        )


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
    packets: Ints
    """Shape (packets,): ticks, in the order of decoding, key frame first."""
    sizes: Ints
    """Shape (packets,): bytes."""

    @property
    def stop(self) -> int:
        """The number of the frame after its last."""
        return self.first + len(self.pts)

    @property
    def anchors(self) -> NDArray[np.bool_]:
        """Shape (packets,): those that are shown after all that are decoded before them, which
        B-frames are not."""
        latest = np.maximum.accumulate(self.packets)
        return np.concatenate(([True], self.packets[1:] > latest[:-1]))

    def measure(self) -> Sizes | None:
        """What the sizes tell; None where there are too few packets to compare."""
        curves = self.curves()
        return None if curves is None else curves.after(int(self.packets[0]))

    def curves(self, *, blank: bool = False) -> Curves | None:
        """What the sizes tell, anchor by anchor; None where there are too few packets to compare.
        `blank`: the key frame shows next to nothing, so that the largest one stands for it."""
        anchors = self.anchors
        key, later = int(self.sizes[0]), self.sizes[1:][anchors[1:]]
        if key <= 0 or len(later) < _FEWEST:
            return None
        if blank:
            key = max(key, int(later.max()))
        shares = later / key + _FLOOR
        edge = np.full(_AROUND, np.nan)
        around = _rows(np.concatenate((edge, shares, edge)), 2 * _AROUND + 1)
        around[:, _AROUND] = np.nan
        more = np.maximum(shares - _TWICE * np.quantile(shares, _USUAL), 0.0)
        rows = _rows(np.concatenate((more, np.zeros(_ROW))), _ROW).sum(axis=1)[: len(shares)]
        times = self.packets[1:][anchors[1:]]
        return Curves(
            times=times,
            largest=_ahead(shares - _FLOOR),
            spike=_ahead(shares / np.nanmedian(around, axis=1)),
            renewal=_ahead(rows),
            crowding=self._crowding(times, key),
            between=1 - float(anchors.mean()),
        )

    def _crowding(self, times: Ints, key: int) -> Floats:
        """`Sizes.crowding` from each of these times on, shape (times,); 0 where too few frames
        follow."""
        shown = 1 + np.argsort(self.packets[1:])
        if len(shown) < _PLACE:
            return np.zeros(len(times))
        sizes, anchors = (
            _rows(each[shown].astype(np.float64), _PLACE).mean(axis=1)
            for each in (self.sizes, self.anchors)
        )
        much = sizes > _TWICE * (float(np.quantile(sizes, _USUAL)) + _FLOOR * key / _PLACE)
        more = np.where(much, anchors - float(np.median(anchors)), 0.0)
        begins = np.searchsorted(self.packets[shown], times)
        return np.append(_ahead(np.maximum(more, 0.0)), np.zeros(_PLACE))[begins]


def groups_of(stretch: Stretch, samples: Samples, pts: Ints) -> Iterator[Group]:
    """The groups of a stretch. `samples` are its packets in the order of decoding, `pts` the
    ticks of its frames in the order in which they are shown. What makes a group lies between its
    two key frames, so where stretches begin and end makes no difference."""
    latest = np.maximum.accumulate(samples.pts)
    after_all = np.concatenate(([True], samples.pts[1:] > latest[:-1]))
    starts = np.flatnonzero(samples.keys & samples.shown & after_all).tolist()
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
        own = slice(start, None if last else starts[place + 1])
        times, sizes = samples.pts[own], samples.sizes[own]
        mine = samples.shown[own] & (times >= entry)
        yield Group(
            entry=stretch.entry if place == 0 else entry,
            high=high,
            first=begin,
            pts=pts[begin:end],
            begun=bool(pts[begin] == entry),
            ended=high is not None and not (last and stretch.cut),
            packets=times[mine],
            sizes=sizes[mine],
        )


def _ahead(values: Floats) -> Floats:
    """The largest of each value and those after it."""
    return np.maximum.accumulate(values[::-1])[::-1]


def _rows(values: Floats, length: int) -> Floats:
    """All rows of so many neighbours: shape (places, length), a copy."""
    return np.lib.stride_tricks.sliding_window_view(values, length).copy()
