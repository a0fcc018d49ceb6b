"""The windows of frames that the net looks at."""

from __future__ import annotations

import numpy as np

from reelsplit_server.media.detection.neural_pictures import Pictures
from reelsplit_server.media.detection.transnet import Probabilities, TransNet

WINDOW = 250
"""Frames that the net looks at together. Its authors take 100; longer ones tell the same, but for
a tenth of the frames, not for half of them, is all done twice."""
CONTEXT = 25
"""Frames at each end of a window of which nothing is told; before the first and after the last
frame of all, these are repeated."""


class Windows:
    """Probabilities for frames that come in any portions. The windows lie at the same frames
    whatever the portions are, so that what is told does not depend on them. Holds less than two
    windows of pictures."""

    def __init__(self, net: TransNet) -> None:
        self._net = net
        self._parts: list[Pictures] = []
        self._count = 0

    def push(self, pictures: Pictures) -> tuple[Probabilities, Probabilities]:
        """Add the next frames. Answers the two probabilities of `TransNet.look` for the next
        frames of which they are known by now, perhaps none."""
        if not self._count and len(pictures):
            pictures = np.concatenate([pictures[:1].repeat(CONTEXT, axis=0), pictures])
        self._parts.append(pictures)
        self._count += len(pictures)
        if self._count < WINDOW:
            return _joined([])
        held = np.concatenate(self._parts)
        told = []
        while len(held) >= WINDOW:
            told.append(self._look(held[:WINDOW]))
            held = held[WINDOW - 2 * CONTEXT :]
        self._parts, self._count = [held], len(held)
        return _joined(told)

    def finish(self) -> tuple[Probabilities, Probabilities]:
        """The probabilities of the frames that are left."""
        if not self._count:
            return _joined([])
        held = np.concatenate(self._parts)
        held = np.concatenate([held, held[-1:].repeat(CONTEXT, axis=0)])
        self._parts, self._count = [], 0
        told = []
        while len(held) > 2 * CONTEXT:
            told.append(self._look(held[:WINDOW]))
            held = held[WINDOW - 2 * CONTEXT :]
        return _joined(told)

    def _look(self, window: Pictures) -> tuple[Probabilities, Probabilities]:
        single, many = self._net.look(window)
        return single[CONTEXT:-CONTEXT], many[CONTEXT:-CONTEXT]


def _joined(
    told: list[tuple[Probabilities, Probabilities]],
) -> tuple[Probabilities, Probabilities]:
    none = np.empty(0, np.float32)
    return (
        np.concatenate([none, *(single for single, _ in told)]),
        np.concatenate([none, *(many for _, many in told)]),
    )
