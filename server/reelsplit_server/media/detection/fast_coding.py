"""How a group of pictures was coded, and what the sizes of its packets tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.index import Samples

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
    ending: float
    """The size of the last anchor, as a share of the median one's: encoders that look ahead save on
    pictures that nothing behind a change of shot leans on."""


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
    ending: float

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
            ending=self.ending,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """The packets of a group, in the order of decoding, key frame first."""

    packets: Ints
    """Shape (packets,): ticks at which they are shown."""
    sizes: Ints
    """Shape (packets,): bytes."""

    @staticmethod
    def of(samples: Samples) -> Coded:
        """The group that begins with the first of these packets and ends with the last."""
        mine = samples.shown & (samples.pts >= samples.pts[0])
        return Coded(packets=samples.pts[mine], sizes=samples.sizes[mine])

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
            ending=float(later[-1] / max(1.0, float(np.median(later)))),
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


def starts_of(samples: Samples) -> Ints:
    """The places of the packets with which groups begin: key frames that are shown after all that
    is decoded before them."""
    latest = np.maximum.accumulate(samples.pts)
    after_all = np.concatenate(([True], samples.pts[1:] > latest[:-1]))
    return np.flatnonzero(samples.keys & samples.shown & after_all)


def _ahead(values: Floats) -> Floats:
    """The largest of each value and those after it."""
    return np.maximum.accumulate(values[::-1])[::-1]


def _rows(values: Floats, length: int) -> Floats:
    """All rows of so many neighbours: shape (places, length), a copy."""
    return np.lib.stride_tricks.sliding_window_view(values, length).copy()
