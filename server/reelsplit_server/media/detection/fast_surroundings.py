"""What goes on around a group of pictures, as far as packets tell."""

from __future__ import annotations

from functools import cache

import numpy as np

from reelsplit_server.media.detection.fast_coding import Coded, starts_of
from reelsplit_server.media.detection.fast_doubt import is_restless
from reelsplit_server.media.detection.index import Samples

#: Packets on each side of a group that are asked.
_AROUND = 1000
#: With more than this share of them in restless groups, much happens here. The second number is
#: for encoders that do not look for changes of shot: what is in doubt is looked at twice there.
_EVENTFUL, _EVENTFUL_BLIND = 0.5, 0.4


class Surroundings:
    """Tells where much happens. There, a group that looks like one shot hides a wipe or a dissolve
    more often than elsewhere, and there is little left to be saved by believing it."""

    def __init__(self, samples: Samples) -> None:
        """`samples` are all the packets that may be asked."""
        self._samples = samples
        self._starts = starts_of(samples)
        self._stops = np.append(self._starts[1:], len(samples.pts))
        self._keys = samples.pts[self._starts]
        self._is_restless = cache(self._measured)

    def are_eventful(self, pts: int, *, watched: bool) -> bool:
        """Whether much happens around the group whose key frame is shown at these ticks.
        `watched`: the encoder looks for changes of shot."""
        place = int(np.searchsorted(self._keys, pts))
        if place == len(self._keys) or self._keys[place] != pts:
            return False
        low, high = self._starts[place] - _AROUND, self._stops[place] + _AROUND
        first, behind = (
            np.searchsorted(self._stops, low, "right"),
            np.searchsorted(self._starts, high),
        )
        near = range(int(first), int(behind))
        lengths = (self._stops - self._starts)[first:behind]
        restless = np.array([self._is_restless(each) for each in near])
        least = _EVENTFUL if watched else _EVENTFUL_BLIND
        return bool(lengths[restless].sum() > least * lengths.sum())

    def _measured(self, place: int) -> bool:
        sizes = Coded.of(self._samples[self._starts[place] : self._stops[place]]).measure()
        return sizes is None or is_restless(sizes)
