"""Small pictures of frames in a row: all that the detector sees of a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LUMA = (36, 64)
"""Rows and columns of a small picture's luma; its chroma has half of both."""
CHROMA = (18, 32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """Frames that follow each other in presentation order, without a gap."""

    first: int
    """The number of the first, counted from 0 over all presented frames of the source."""
    pts: NDArray[np.int64]
    """Shape (frames,): ticks of the source's video, strictly increasing."""
    y: NDArray[np.uint8]
    """Shape (frames, 36, 64): 8-bit luma as the source codes it, whatever its depth was."""
    u: NDArray[np.uint8]
    """This and `v`: shape (frames, 18, 32); 128 all over where the source has no chroma."""
    v: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def stop(self) -> int:
        """The number of the frame after the last."""
        return self.first + len(self.pts)
