"""What PySceneDetect's detectors measure of each frame, caught as they tell it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from reelsplit_server.media.pyscenedetect import FrameTimecode

Measured = Callable[[int, Sequence[int], Mapping[str, Sequence[float]]], None]
"""Hears the first of some frames that follow each other, counted from 0 over those that were shown,
the ticks of all of them, and their measures by name: not a number where a detector has none."""

_BATCH = 256


class Metrics:
    """Stands where the library's own statistics would, which keep all frames to the end.

    Frames are told in order, once nothing more can come for them: detectors measure a frame as
    many frames late as they look ahead.
    """

    def __init__(self, names: Sequence[str], behind: int, measured: Measured) -> None:
        """``behind`` is how many frames late a measure may come."""
        self._names = names
        self._behind = behind
        self._measured = measured
        self._first = 0
        self._rows: deque[tuple[int, dict[str, float]]] = deque()

    def show(self, ticks: int) -> None:
        """The next frame is about to be measured."""
        self._rows.append((ticks, {}))
        if len(self._rows) >= self._behind + 1 + _BATCH:
            self._tell(_BATCH)

    def finish(self) -> None:
        """Nothing more is measured."""
        if self._rows:
            self._tell(len(self._rows))

    def _tell(self, count: int) -> None:
        rows = [self._rows.popleft() for _ in range(count)]
        columns = {name: [row.get(name, math.nan) for _, row in rows] for name in self._names}
        self._measured(self._first, [ticks for ticks, _ in rows], columns)
        self._first += count

    # --- What the detectors call -----------------------------------------------------------

    def metrics_exist(self, timecode: FrameTimecode, metric_keys: Sequence[str]) -> bool:
        """Never: nothing is measured twice."""
        return False

    def set_metrics(self, timecode: FrameTimecode, metric_kv_dict: Mapping[str, float]) -> None:
        """Measures of a frame that was shown lately."""
        for ticks, row in reversed(self._rows):
            if ticks == timecode.pts:
                row.update((name, float(value)) for name, value in metric_kv_dict.items())
                return
