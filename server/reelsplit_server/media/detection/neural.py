"""Finds shots by rules and a neural net together.

The net is the better judge of dark and restless footage; it misses wipes, pushes and irises, takes
flashes for cuts, and tells neither kind nor first and last frame. So the rules say what there may
be, the doubtful included, and the net weighs in on each, and tells where in a fade the new shot
begins; where the rules see nothing at all, the net must be sure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary
from reelsplit_server.media.detection.evidence import confidence
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.neural_join import (
    NEAR,
    SPAN,
    Evidence,
    joined_odds,
    returns,
    shaped,
    sharpened,
    sure_peaks,
)
from reelsplit_server.media.detection.neural_pictures import pictures
from reelsplit_server.media.detection.neural_windows import Windows
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.transnet import TransNet
from reelsplit_server.media.detection.tuning import Footage, Tuning

_DOUBT = 0.25
"""So much more sensitive the rules are than by themselves."""

OnScores = Callable[[int, NDArray[np.float32]], None]


class NeuralFinder:
    """A `Finder` with bounded memory; torch and what it works with take some 500 MB."""

    def __init__(
        self,
        *,
        rate: Fraction,
        sensitivity: float = 0.5,
        footage: Footage = Footage.FILM,
        threads: int = 0,
        on_scores: OnScores | None = None,
    ) -> None:
        """As `RuleFinder`; `threads` are torch's, for the whole process (0: one a core).

        Raises `ValueError` for a rate or sensitivity that `Tuning.of` refuses, and `MediaError`
        with ``DETECTOR_REFUSED`` where the net's weights are missing or others.
        """
        self._least = Tuning.of(rate, sensitivity, footage).least_odds
        self._on_scores = on_scores
        self._rules = RuleFinder(
            rate=rate,
            sensitivity=min(1.0, sensitivity + _DOUBT),
            footage=footage,
            on_scores=self._scored,
        )
        if threads > 0:
            torch.set_num_threads(threads)
        self._windows = Windows(TransNet())
        self._evidence: Evidence | None = None
        self._doubtful: list[Boundary] = []
        """What the rules found, and is not judged yet."""
        self._chosen: list[Boundary] = []
        """What was judged to be one, and is not told yet."""
        self._last: Boundary | None = None
        """What was told last."""
        self._first = self._looked = 0
        """The first frame of all; the net's peaks before the second one are judged."""
        self._certain = 0

    @property
    def certain(self) -> int:
        return self._certain

    def push(self, strip: Strip) -> list[Boundary]:
        """Raises `ValueError` for a strip that does not begin where the one before ended."""
        if not len(strip):
            return []
        if self._evidence is None:
            self._evidence = Evidence(strip.first)
            self._first = self._looked = self._certain = strip.first
        evidence = self._evidence
        self._doubtful += self._rules.push(strip)
        seen = pictures(strip)
        evidence.seen(seen)
        evidence.told(*self._windows.push(seen))
        limit = min(evidence.known, self._rules.certain) - SPAN - NEAR
        for each in self._doubtful:
            if each.end + NEAR > evidence.known:
                limit = min(limit, each.start - SPAN - NEAR)
        return self._settle(evidence, limit) if limit > self._looked else []

    def finish(self) -> list[Boundary]:
        evidence = self._evidence
        if evidence is None:
            return []
        self._doubtful += self._rules.finish()
        evidence.told(*self._windows.finish())
        return self._settle(evidence, evidence.known + SPAN)

    def _scored(self, first: int, step: NDArray[np.float32]) -> None:
        assert self._evidence is not None
        self._evidence.stepped(step)
        if self._on_scores is not None:
            self._on_scores(first, step)

    def _settle(self, evidence: Evidence, limit: int) -> list[Boundary]:
        """Judge all that lies before the frame `limit`, of which all is known `SPAN` and `NEAR`
        frames further, and answer what begins so early that no later judgement comes before."""
        while self._doubtful and self._doubtful[0].start < limit + SPAN + NEAR:
            doubtful = self._doubtful.pop(0)
            odds = joined_odds(doubtful, evidence)
            if odds > self._least:
                judged = replace(doubtful, confidence=confidence(odds))
                self._chosen.append(sharpened(judged, evidence))
        for number, odds in sure_peaks(evidence, self._looked, limit, self._least):
            # A single frame at either end is no shot.
            if not self._first + 1 < number < evidence.known - 1:
                continue
            boundary = shaped(number, odds, evidence)
            before = [] if self._last is None else [self._last]
            clash = any(_clash(boundary, other) for other in before + self._chosen)
            if not clash and not returns(boundary, evidence):
                self._chosen.append(boundary)
        self._looked = limit
        self._certain = max(self._certain, min(evidence.known, limit - SPAN))
        self._chosen.sort(key=lambda each: (each.start, each.end))
        told = [each for each in self._chosen if each.start < self._certain]
        self._chosen = self._chosen[len(told) :]
        self._last = told[-1] if told else self._last
        evidence.forget(self._certain - SPAN)
        return told


def _clash(one: Boundary, other: Boundary) -> bool:
    """Whether two boundaries are about the same change."""
    return one.start - NEAR <= other.end and other.start - NEAR <= one.end
