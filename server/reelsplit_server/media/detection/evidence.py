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
    bias=-1.99,
    logarithmic={
        "step": 0.27,
        "lead": 1.42,
        "stand": 0.07,
        "stand_upper": 1.04,
        "return": 1.08,
        "cross": 0.88,
        "contrast": -1.09,
        "colours": -0.02,
        "pixels": 0.51,
        "light": -0.98,
        "persist": 0.77,
        "stillness": 1.14,
    },
    linear={
        "jump": -0.80,
        "cells": 0.36,
        "structure": -1.64,
        "match": -1.65,
        "match_later": -3.51,
        "match_beside": 6.75,
        "match_sure": -6.48,
    },
)

DISSOLVE = Weighing(
    bias=7.47,
    logarithmic={
        "residual": -1.50,
        "apart": 3.17,
        "peak": -1.07,
        "burst": 0.71,
        "stillness": 0.83,
        "change": -1.48,
        "contrast": -1.70,
        "length": 0.44,
    },
    linear={
        "line": -10.19,
        "back": -0.01,
        "side_least": -1.18,
        "side_most": -0.62,
        "structure": -3.14,
        "light": -1.14,
        "sharpness": -4.76,
        "match": -5.79,
        "drift": 5.74,
    },
)

WIPE = Weighing(
    bias=-7.78,
    logarithmic={
        "composite": -2.43,
        "leap": -1.22,
        "turns": -2.01,
        "apart": 0.75,
        "peak": -1.26,
        "burst": 0.25,
        "stillness": 1.87,
        "change": 0.04,
        "contrast": 0.05,
        "length": 0.91,
    },
    linear={
        "line": -7.56,
        "back": 8.06,
        "fit": 5.27,
        "side_least": -1.59,
        "side_most": -0.63,
        "structure": 1.07,
        "light": 0.06,
        "sharpness": 0.96,
        "match": -2.99,
        "drift": 2.32,
    },
)

PUSH = Weighing(
    bias=-4.34,
    logarithmic={
        "rest": -0.88,
        "rest_most": -0.48,
        "apart": 0.18,
        "peak": -0.98,
        "burst": 0.43,
    },
    linear={
        "line": -4.57,
        "structure": 1.53,
        "sharpness": 2.78,
        "match": -1.74,
    },
)
