"""A segment that has just been written, as its maker describes it: what the check must find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.plan import CutMode, StreamOutcome
from reelsplit_server.media.span import Span


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """One file."""

    mode: CutMode
    """How it was made."""
    span: Span
    """What was asked for, on the source's clock."""
    start_pts: int
    """Ticks of the source: when the first frame is shown."""
    end_pts: int
    """Ticks of the source: when the last frame ends."""
    early_frames: int
    """How many frames lie before the range that was asked for."""
    placed: NDArray[np.int64]
    """When each presented frame is shown in the output, in ticks of `time_base`, rising from 0.
    Shape (frames,)."""
    placed_end: int
    """When the last frame ends in the output, in ticks of `time_base`."""
    time_base: Fraction
    """Seconds in a tick of `placed`."""
    rate: Fraction
    """Nominal frames a second."""
    encoded_head: int
    """Frames at the beginning that were encoded: all, where nothing was copied."""
    encoded_tail: int
    """Frames at the end that were encoded, where some before them were copied."""
    hides: bool
    """Whether further frames lie in the file, hidden by an edit list."""
    damaged: int
    """Broken places of the source that were found."""
    broken: tuple[Fraction, Fraction] | None = None
    """Seconds from t = 0: the earliest and the latest of them whose time is known."""
    reason: str | None
    """Why it was encoded as it was, or what of the source's picture could not be kept."""
    streams: Sequence[StreamOutcome]
    """What became of every stream of the source, the video among them."""
    audio: Sequence[AudioPlaced]
    """Where the sound must lie."""

    @property
    def duration(self) -> Fraction:
        """Seconds of video in the output."""
        return self.placed_end * self.time_base

    @property
    def constant_rate(self) -> Fraction | None:
        """Frames a second, where all frames are shown equally long; None where not."""
        step = 1 / (self.rate * self.time_base)
        times = np.append(self.placed, self.placed_end)
        regular = np.arange(len(times), dtype=np.int64) * step.numerator // step.denominator
        return self.rate if bool(np.all(np.abs(times - regular) <= 1)) else None
