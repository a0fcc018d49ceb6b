"""Finds shots by rules: no neural net, a few thousand pixels of each frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection import blends, cuts, fades, transitions
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.distances import changed_share
from reelsplit_server.media.detection.evidence import confidence
from reelsplit_server.media.detection.frames import Bytes, Frames, flat
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.transitions import Change, find_transitions
from reelsplit_server.media.detection.tuning import Footage, Tuning

_BLOCK = 32
"""Frames that are looked at together. Blocks lie at the same frames however these arrive, so that
what is found does not depend on it."""

_REACH = max(blends.REACH, fades.REACH, transitions.REACH)
"""Strides around a block that the rules look at, and before it at which a change may begin."""
_APART = 3
"""A cut so near a gradual change is part of it."""

_LONGEST_HOLD = 96
"""Strides for which a picture that went plain may keep back what began before it."""

OnScores = Callable[[int, NDArray[np.float32]], None]


class RuleFinder:
    """A `Finder` with bounded memory: a few seconds of small pictures."""

    def __init__(
        self,
        *,
        rate: Fraction,
        sensitivity: float = 0.5,
        footage: Footage = Footage.FILM,
        on_scores: OnScores | None = None,
    ) -> None:
        """`rate` is the average of frames a second. `on_scores` is told the number of a frame
        and, from it on, how much each differs from the one before: about 1 and more at a clear
        cut, below 0.1 in a calm shot; each frame once, in order.

        Raises `ValueError` for a rate or sensitivity that `Tuning.of` refuses.
        """
        self._tuning = Tuning.of(rate, sensitivity, footage)
        self._on_scores = on_scores
        stride = self._tuning.stride
        self._ahead = self._back = (_REACH + 1) * stride
        self._longest_hold = _LONGEST_HOLD * stride
        self._frames: Frames | None = None
        self._waiting: list[Bytes] = []
        self._waiting_count = 0
        self._step = np.empty(0, np.float32)
        self._position = 0
        self._fades = fades.FadeTracker(self._tuning)
        self._open: list[Change] = []
        self._recent: list[Change] = []
        self._told = 0
        self._certain = 0

    @property
    def certain(self) -> int:
        return self._certain

    @property
    def kept(self) -> int:
        """How many frames are in memory."""
        held = 0 if self._frames is None else len(self._frames.planes)
        return held + self._waiting_count

    def push(self, strip: Strip) -> list[Boundary]:
        """Raises `ValueError` for a strip that does not begin where the one before ended."""
        if not len(strip):
            return []
        frames = self._frames
        if frames is None:
            frames = self._frames = Frames(strip.first)
            self._position = self._told = self._certain = strip.first
        if strip.first != frames.stop + self._waiting_count:
            raise ValueError(
                f"The strip begins at frame {strip.first}, not {frames.stop + self._waiting_count}."
            )
        self._waiting.append(flat(strip))
        self._waiting_count += len(strip)
        found: list[Boundary] = []
        if self._waiting_count >= _BLOCK:
            rows = np.concatenate(self._waiting)
            whole = len(rows) // _BLOCK * _BLOCK
            for start in range(0, whole, _BLOCK):
                found += self._add(frames, rows[start : start + _BLOCK])
            self._waiting = [rows[whole:]]
            self._waiting_count = len(rows) - whole
        return found

    def finish(self) -> list[Boundary]:
        frames = self._frames
        if frames is None:
            return []
        found: list[Boundary] = []
        if self._waiting_count:
            found += self._add(frames, np.concatenate(self._waiting))
            self._waiting, self._waiting_count = [], 0
        while self._position < frames.stop:
            found += self._look(frames, min(self._position + _BLOCK, frames.stop))
        found += self._settle(frames.stop)
        self._certain = frames.stop
        return found

    def _add(self, frames: Frames, rows: Bytes) -> list[Boundary]:
        """Take a block of frames in, and look at what is known far enough ahead by now."""
        start = frames.stop
        frames.append(rows)
        step = cuts.steps(frames, start, frames.stop)
        self._step = np.concatenate([self._step, step])
        if self._on_scores is not None:
            self._on_scores(start, step)
        found: list[Boundary] = []
        while self._position + _BLOCK + self._ahead <= frames.stop:
            found += self._look(frames, self._position + _BLOCK)
        kept = self._position - self._back
        self._step = self._step[max(0, kept - frames.first) :]
        frames.forget(kept)
        return found

    def _look(self, frames: Frames, stop: int) -> list[Boundary]:
        """Find what lies from the position to `stop`, and answer what is certain by then."""
        tuning, start = self._tuning, self._position
        stride, least = tuning.stride, tuning.least_odds
        found = [
            Change(Kind.CUT, cut.at, cut.at, cut.odds)
            for find in (cuts.find_cuts, blends.find_blended_cuts)
            for cut in find(frames, self._step, start, stop, stride, least)
        ]
        found += find_transitions(frames, self._step, start, stop, stride, least)
        if tuning.least_share > 0.0:
            found = [
                change
                for change in found
                if changed_share(frames, change.start - 1, change.end) >= tuning.least_share
            ]
        self._open += found
        for number in range(start, stop):
            fade = self._fades.look(frames, number)
            if fade is not None and fade.odds > least:
                begin = max(fade.start, self._certain)
                sharp = None if fade.sharp is None else max(begin, fade.sharp)
                self._open.append(replace(fade, start=begin, end=max(begin, fade.end), sharp=sharp))
        if (opening := self._fades.opening_end) is not None:
            self._open = [change for change in self._open if change.start > opening]
        self._position = stop
        certain = stop - (_REACH + _APART) * stride
        if self._fades.open_since is not None:
            certain = min(certain, max(self._fades.open_since, stop - self._longest_hold))
        return self._settle(max(certain, self._certain))

    def _settle(self, certain: int) -> list[Boundary]:
        """Choose among what was found, and answer what begins before the frame `certain`."""
        chosen = list(self._recent)
        for change in sorted(self._open, key=_rank):
            if change.start >= self._told and not any(_clash(change, o) for o in chosen):
                chosen.append(change)
        chosen = chosen[len(self._recent) :]
        told = sorted((c for c in chosen if c.start < certain), key=lambda c: (c.start, c.end))
        if told:
            self._told = max(told[-1].end, told[-1].start + 1)
            self._recent = told[-1:]
        self._certain = certain
        self._open = [c for c in self._open if c.start >= max(certain, self._told)]
        return [_boundary(change) for change in told]


def _boundary(change: Change) -> Boundary:
    kind, start = change.kind, change.start
    if change.told_as_cut:
        kind, start = Kind.CUT, change.end
    return Boundary(
        kind=kind,
        start=start,
        end=change.end,
        confidence=confidence(change.odds),
        sharp=None if change.told_as_cut else change.sharp,
    )


def _rank(change: Change) -> tuple[bool, float, int, int]:
    """The order in which changes are chosen: what a fade goes through is part of it."""
    fade = change.kind in (Kind.FADE_BLACK, Kind.FADE_WHITE)
    return (not fade, -change.odds, change.start, change.end)


def _clash(one: Change, other: Change) -> bool:
    """Whether two changes cannot both be there."""
    near = 1 if one.kind is other.kind is Kind.CUT else _APART
    if Kind.CUT not in (one.kind, other.kind):
        # Two halves of a fade look like two dissolves that follow each other.
        near = _APART if one.kind is other.kind is Kind.DISSOLVE else 0
    return one.start - near < other.end + 1 and other.start - near < one.end + 1
