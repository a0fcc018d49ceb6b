"""Weighs what was measured of a change: logistic, few numbers, each with one meaning.

The weights come from real shots of many kinds joined by every transition, and from footage that
moves without a cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True, slots=True)
class Weighing:
    """How one kind of change is judged."""

    bias: float
    logarithmic: Mapping[str, float]
    """The weights of measures that count by their logarithm."""
    linear: Mapping[str, float]


def odds(weighing: Weighing, measures: Mapping[str, float]) -> float:
    """The logarithm of the odds that a change with these measures is one of the weighed kind."""
    value = weighing.bias
    for name, weight in weighing.logarithmic.items():
        value += weight * log(max(measures[name], 0.01))
    for name, weight in weighing.linear.items():
        value += weight * measures[name]
    return value


def confidence(odds: float) -> float:
    """The probability, 0 to 1, that belongs to a logarithm of odds."""
    return 1.0 / (1.0 + exp(-max(-30.0, min(30.0, odds))))


CUT = Weighing(
    bias=-4.35,
    logarithmic={
        "lead": 0.57,
        "stand": 0.19,
        "stand_upper": 1.16,
        "return": 0.23,
        "cross": 0.23,
        "contrast": -2.25,
        "colours": 1.29,
        "pixels": 0.08,
        "persist": 0.59,
        "stillness": 1.34,
    },
    linear={
        "jump": -2.14,
        "cells": 1.75,
        "structure": -2.01,
        "breadth": 4.57,
        "flicker": -5.82,
        "match": -1.04,
        "match_later": -1.70,
        "match_sure": -17.40,
        "match_beside": 4.22,
    },
)

DISSOLVE = Weighing(
    bias=-8.58,
    logarithmic={
        "residual": -1.20,
        "coarse": -0.79,
        "apart": 2.32,
        "comes_back": 1.88,
        "peak": 0.36,
        "burst": 0.51,
        "stillness": 0.42,
        "change": 0.49,
        "contrast": -3.01,
        "length": 1.43,
    },
    linear={
        "line": -11.39,
        "back": -13.45,
        "side_least": -2.52,
        "side_most": -0.95,
        "structure": -1.27,
        "light": 1.38,
        "sharpness": -2.39,
        "match": -10.59,
        "drift": 8.77,
    },
)

WIPE = Weighing(
    bias=-14.97,
    logarithmic={
        "composite": -0.74,
        "leap": -1.32,
        "turns": -0.19,
        "front_gain": 0.72,
        "front_rise": 0.56,
        "apart": 2.03,
        "comes_back": 4.69,
        "peak": -1.43,
        "burst": 0.53,
        "stillness": 1.49,
        "change": 0.09,
        "contrast": -2.16,
        "length": 0.89,
    },
    linear={
        "line": -1.52,
        "back": -0.16,
        "fit": 5.54,
        "front_fit": 2.37,
        "front_span": -0.04,
        "front_share": 2.16,
        "front_error": 5.11,
        "side_least": -1.49,
        "side_most": -1.12,
        "structure": -0.56,
        "light": 0.97,
        "sharpness": 1.90,
        "drift": 2.42,
    },
)

PUSH = Weighing(
    bias=-5.60,
    logarithmic={
        "chain": 0.48,
        "lone": -0.81,
        "rest": -1.46,
        "rest_most": -0.16,
        "seam": 0.82,
        "apart": 2.54,
        "comes_back": 1.71,
        "peak": -1.26,
        "burst": -0.20,
        "stillness": -0.06,
        "change": 0.03,
        "contrast": -0.59,
        "length": 1.37,
    },
    linear={
        "side_least": -0.39,
        "side_most": -2.18,
        "structure": 1.08,
        "sharpness": 0.08,
    },
)
