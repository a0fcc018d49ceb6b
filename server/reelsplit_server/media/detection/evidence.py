"""Weighs what was measured of a change: each measure has its own share of the odds, which grows or
falls with it up to an end, so that no single one, however extreme, decides.

The shares come from real shots of many films joined by every transition, from real footage, and
from footage that moves without a cut. Where it is known which way a measure must count, it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, log

Curve = tuple[tuple[float, float], ...]
"""A measure's share of the odds: straight lines between points of a value and its share, and level
beyond the first and the last."""
Stage = Callable[[], "Mapping[str, float] | None"]
"""Measures some more; None where the change cannot be of the kind."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """How one kind of change is judged."""

    bias: float
    logarithmic: Mapping[str, Curve]
    """Measures that count by their logarithm."""
    linear: Mapping[str, Curve]
    best: float = field(init=False)
    """The logarithm of the odds, if all measures speak for the change as much as they can."""

    def __post_init__(self) -> None:
        curves = (*self.logarithmic.values(), *self.linear.values())
        object.__setattr__(self, "best", self.bias + sum(_top(curve) for curve in curves))

    def loss(self, measures: Mapping[str, float]) -> float:
        """How much less these measures speak for the change than they could: 0 or below."""
        lost = 0.0
        for name, measure in measures.items():
            if (curve := self.logarithmic.get(name)) is not None:
                lost += _share(curve, log(max(measure, 0.01))) - _top(curve)
            elif (curve := self.linear.get(name)) is not None:
                lost += _share(curve, measure) - _top(curve)
        return lost


def weigh(weighing: Weighing, least: float, *stages: Stage) -> float | None:
    """The logarithm of the odds that a change is one of the weighed kind, by what the stages
    measure of it, each measure in one of them; None where it is not above `least`, which is known
    before the last stage where nothing that is left to measure could help."""
    value = weighing.best
    for stage in stages:
        measured = stage()
        if measured is None:
            return None
        value += weighing.loss(measured)
        if value <= least:
            return None
    return value


def _share(curve: Curve, value: float) -> float:
    before, low = curve[0]
    if value <= before:
        return low
    for at, share in curve:
        if value < at:
            return low + (share - low) * (value - before) / (at - before)
        before, low = at, share
    return low


@lru_cache(maxsize=256)
def _top(curve: Curve) -> float:
    return max(share for _, share in curve)


def confidence(odds: float) -> float:
    """The probability, 0 to 1, that belongs to a logarithm of odds."""
    return 1.0 / (1.0 + exp(-max(-30.0, min(30.0, odds))))


CUT = Weighing(
    bias=-13.42,
    logarithmic={
        "lead": ((-0.64, -0.91), (-0.15, -0.02), (1.90, 0.91), (3.35, 0.91)),
        "stand": ((0.08, -1.23), (0.55, -0.09), (2.52, 0.22), (3.56, 1.23)),
        "stand_upper": ((-0.51, -0.70), (-0.01, -0.69), (1.93, 0.70), (3.29, 0.70)),
        "return": ((-2.34, -0.90), (0.00, 0.90)),
        "cross": ((-2.30, -2.69), (-0.50, -0.37), (1.56, 2.69), (2.94, 2.69)),
        "contrast": ((-2.67, 3.67), (-1.55, 3.01), (-0.12, 0.44), (1.03, -3.67)),
        "colours": ((-2.86, -2.25), (-2.02, -1.55), (-0.57, 0.09), (-0.10, 2.25)),
        "persist": ((-1.95, -1.86), (-0.47, 0.26), (1.20, 1.86), (2.85, 1.86)),
        "stillness": ((-3.00, -4.25), (-0.94, 3.15), (-0.38, 4.25), (-0.10, 4.25)),
    },
    linear={
        "jump": ((0.00, 0.75), (0.10, 0.75), (0.55, 0.75), (0.95, -0.75)),
        "cells": ((0.00, -0.98), (0.92, 0.00), (1.00, 0.98)),
        "structure": ((-0.30, 1.93), (0.30, 1.93), (0.90, 1.01), (1.00, -1.93)),
        "breadth": ((0.00, -0.74), (0.90, 0.74), (1.00, 0.74)),
        "flicker": ((0.00, 1.90), (0.87, -1.90)),
        "match": ((0.27, 1.31), (0.64, 1.11), (0.96, -0.15), (1.00, -1.31)),
        "match_later": ((0.32, 1.77), (0.71, 0.79), (0.97, -1.04), (1.00, -1.77)),
        "match_beside": ((0.50, -1.21), (0.93, 1.21), (1.00, 1.21)),
    },
)

DISSOLVE = Weighing(
    bias=-11.24,
    logarithmic={
        "residual": ((-3.73, 2.60), (-1.93, 0.85), (-1.15, -1.76), (-0.79, -2.60)),
        "coarse": ((-3.53, 1.75), (-2.01, 0.35), (-1.46, 0.02), (-0.57, -1.75)),
        "apart": ((-0.90, -1.33), (-0.58, -0.32), (0.09, 0.95), (0.52, 1.33)),
        "comes_back": ((-1.88, -1.41), (-0.03, 1.41), (0.00, 1.41), (0.16, 1.41)),
        "peak": ((-0.02, -0.45), (0.14, 0.94), (0.45, 1.55), (1.30, -1.55)),
        "burst": ((-1.00, -0.73), (-0.17, 0.04), (0.43, 0.73), (1.58, 0.73)),
        "stillness": ((-2.27, -1.79), (-0.56, 1.48), (-0.32, 1.79), (-0.10, 1.79)),
        "change": ((2.61, -0.21), (3.29, 0.21), (3.88, 0.21), (4.79, 0.21)),
        "contrast": ((-1.86, 1.38), (-1.23, 0.30), (-0.56, -0.21), (0.76, -1.38)),
        "length": ((1.39, -1.84), (2.48, 0.10), (3.18, 1.84), (4.16, -0.20)),
    },
    linear={
        "line": ((0.01, 1.02), (0.04, 0.76), (0.09, 0.32), (0.20, -1.02)),
        "back": ((0.00, 0.73), (0.29, -0.73)),
        "side_least": ((0.02, 1.16), (0.13, 1.16), (0.53, -0.63), (1.64, -1.16)),
        "side_most": ((0.07, 1.29), (0.37, 1.01), (0.90, 0.37), (3.35, -1.29)),
        "structure": ((-0.33, 0.72), (0.22, 0.72), (0.70, 0.34), (0.96, -0.72)),
        "light": ((0.01, 0.65), (0.14, 1.28), (0.82, 0.88), (0.99, -1.28)),
        "sharpness": ((0.69, 1.34), (0.91, 1.25), (1.00, -1.25), (1.28, -1.34)),
        "match": ((0.29, 3.41), (0.59, 2.03), (0.93, -0.82), (1.00, -3.41)),
        "drift": ((0.22, -2.09), (0.75, 1.22), (0.96, 2.09), (1.00, 2.09)),
    },
)

WIPE = Weighing(
    bias=-14.77,
    logarithmic={
        "composite": ((-3.52, 0.37), (-2.17, 0.33), (-1.44, -0.37), (-1.02, -0.37)),
        "leap": ((0.36, 1.29), (0.85, 1.29), (1.58, 0.36), (2.40, -1.29)),
        "turns": ((-0.47, 0.51), (0.02, 0.51), (0.38, -0.08), (1.40, -0.51)),
        "front_gain": ((-0.47, -0.47), (0.44, -0.26), (1.71, 0.47), (3.29, 0.47)),
        "front_rise": ((-0.39, -0.73), (1.06, -0.73), (2.34, 0.73), (3.56, 0.73)),
        "apart": ((-0.89, -1.66), (-0.26, 0.10), (0.22, 1.66), (0.52, 1.66)),
        "comes_back": ((-1.86, -3.87), (-0.09, 3.78), (-0.00, 3.87), (0.05, 3.87)),
        "peak": ((0.04, 2.11), (0.38, 1.97), (0.75, 0.36), (1.33, -2.11)),
        "burst": ((-1.27, -1.85), (-0.14, -1.34), (0.61, -0.13), (1.81, 1.85)),
        "stillness": ((-2.13, -1.84), (-0.61, 1.35), (-0.35, 1.84), (-0.14, 1.84)),
        "contrast": ((-1.80, 1.41), (-0.94, -0.22), (-0.43, -0.43), (0.64, -1.41)),
        "length": ((1.39, -1.97), (2.64, 1.92), (3.33, 1.97), (4.16, -1.87)),
    },
    linear={
        "line": ((0.03, 0.33), (0.11, 0.33), (0.20, 0.23), (0.29, -0.33)),
        "back": ((0.00, 0.75), (0.01, 0.75), (0.23, -0.75)),
        "fit": ((0.01, -3.28), (0.11, -1.70), (0.62, 0.82), (0.98, 3.28)),
        "front_fit": ((0.02, -0.52), (0.18, -0.52), (0.74, -0.35), (0.99, 0.52)),
        "front_span": ((0.05, -0.74), (0.26, 0.63), (0.59, 0.74), (1.12, 0.10)),
        "front_share": ((0.12, -1.21), (0.76, 0.95), (0.97, 0.82), (1.00, 1.21)),
        "front_error": ((0.01, -0.59), (0.08, 0.59), (0.18, -0.16), (0.29, -0.49)),
        "side_least": ((0.02, 1.25), (0.09, 1.25), (0.37, -0.02), (1.40, -1.25)),
        "side_most": ((0.06, 0.64), (0.24, 0.64), (0.90, 0.61), (3.13, -0.64)),
        "structure": ((-0.44, 0.26), (0.00, 0.14), (0.44, -0.26), (0.89, -0.26)),
        "light": ((0.01, 0.19), (0.20, 0.08), (0.81, 0.37), (0.99, -0.37)),
        "sharpness": ((0.48, -1.34), (0.92, 0.90), (1.04, 0.87), (1.47, 1.34)),
        "drift": ((0.23, -0.89), (0.59, 0.21), (0.81, 0.89), (1.00, 0.89)),
    },
)

PUSH = Weighing(
    bias=-9.91,
    logarithmic={
        "chain": ((-1.73, 0.54), (-0.60, 0.25), (-0.24, -0.32), (-0.11, -0.54)),
        "lone": ((-1.77, 1.35), (-0.72, 1.35), (-0.35, 0.37), (-0.10, -1.35)),
        "rest": ((-2.77, 1.26), (-1.33, 1.26), (-0.56, 0.91), (0.12, -1.26)),
        "rest_most": ((-2.33, 0.66), (-1.01, 0.66), (-0.31, 0.22), (0.34, -0.66)),
        "seam": ((-1.68, -0.85), (-0.09, -0.85), (0.57, -0.22), (2.26, 0.85)),
        "apart": ((-0.74, -1.55), (0.02, 0.81), (0.32, 1.55), (0.54, 1.55)),
        "comes_back": ((-2.37, -3.29), (-0.11, 1.87), (-0.01, 3.29), (0.00, 3.29)),
        "peak": ((0.07, 1.13), (0.26, 1.11), (0.46, 1.18), (1.02, -1.18)),
        "burst": ((0.30, -1.14), (1.16, 1.14), (1.82, 1.14), (2.79, 1.14)),
        "stillness": ((-1.82, -1.46), (-0.53, 1.34), (-0.32, 1.34), (-0.15, 1.46)),
        "contrast": ((-1.43, -0.18), (-0.66, -0.43), (-0.30, -0.24), (0.58, 0.43)),
        "length": ((1.39, -1.49), (2.48, 0.10), (3.00, 1.49), (3.53, -0.65)),
    },
    linear={
        "side_least": ((0.01, 0.65), (0.06, 0.65), (0.16, 0.65), (0.74, -0.65)),
        "side_most": ((0.04, 0.63), (0.20, 0.63), (0.64, -0.30), (1.28, -0.63)),
        "sharpness": ((0.39, -1.79), (0.86, 1.10), (1.04, 1.79), (1.49, 0.37)),
    },
)
