"""From the contract's words for shot detection to those of the media layer."""

from __future__ import annotations

from fractions import Fraction

from reelsplit.types.spec import (
    AdaptiveDetector,
    ContentDetector,
    ContentWeights,
    Effort,
    FlashFilter,
    HashDetector,
    HistogramDetector,
    LongShotPolicy,
    ReelsplitDetector,
    ShotDetection,
    ThresholdDetector,
    ThresholdMethod,
    TransitionPolicy,
)
from reelsplit.types.spec import Footage as SpecFootage
from reelsplit_server.media.detection.tuning import Footage
from reelsplit_server.media.shot_settings import (
    AdaptiveSettings,
    BorderPolicy,
    ContentSettings,
    DetectorSettings,
    EffortName,
    FadeMethod,
    HashSettings,
    HistogramSettings,
    OwnSettings,
    ShotSettings,
    ThresholdSettings,
    Weights,
)


def shot_settings(mode: ShotDetection) -> ShotSettings:
    """What the detection of a resolved spec means."""
    crop = mode.crop
    split = mode.long_shot_policy is not LongShotPolicy.LEAVE
    policy = mode.transition_policy or TransitionPolicy.MIDDLE
    return ShotSettings(
        detector=_own(mode.detector)
        if isinstance(mode.detector, ReelsplitDetector)
        else _detector(mode),
        policy=BorderPolicy[policy.name],
        skip_letterbox=mode.skip_letterbox,
        min_shot=_seconds(mode.min_shot_duration),
        max_shot=_seconds(mode.max_shot_duration) if split else None,
        downscale=mode.downscale,
        crop=(crop.x, crop.y, crop.width, crop.height) if crop is not None else None,
        start=_seconds(mode.start_offset),
        end=_seconds(mode.end_offset),
    )


def _seconds(value: Fraction | float | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def _own(detector: ReelsplitDetector) -> OwnSettings:
    sensitivity = detector.sensitivity
    return OwnSettings(
        effort=EffortName[(detector.effort or Effort.EXACT).name],
        sensitivity=0.5 if sensitivity is None else sensitivity,
        footage=Footage[(detector.footage or SpecFootage.FILM).name],
    )


def _detector(mode: ShotDetection) -> DetectorSettings:
    match mode.detector:
        case AdaptiveDetector() as adaptive:
            return AdaptiveSettings(
                threshold=adaptive.threshold,
                min_content_val=adaptive.min_content_value,
                window_width=adaptive.window_width,
                luma_only=adaptive.luma_only,
                weights=_weights(adaptive.weights),
                kernel_size=adaptive.kernel_size,
            )
        case ContentDetector() as content:
            return ContentSettings(
                threshold=content.threshold,
                luma_only=content.luma_only,
                weights=_weights(content.weights),
                kernel_size=content.kernel_size,
                suppresses=content.flash_filter is FlashFilter.SUPPRESS,
            )
        case ThresholdDetector() as threshold:
            ceiling = threshold.method is ThresholdMethod.CEILING
            return ThresholdSettings(
                threshold=threshold.threshold,
                fade_bias=threshold.fade_bias,
                add_final_scene=threshold.add_final_scene,
                method=FadeMethod.CEILING if ceiling else FadeMethod.FLOOR,
                min_out=_seconds(threshold.min_out_duration),
            )
        case HashDetector() as hashes:
            return HashSettings(
                threshold=hashes.threshold, size=hashes.size, lowpass=hashes.lowpass
            )
        case HistogramDetector() as histogram:
            return HistogramSettings(threshold=histogram.threshold, bins=histogram.bins)
        case other:
            raise TypeError(f"{type(other).__name__} is not a detector of this version")


def _weights(weights: ContentWeights | None) -> Weights | None:
    if weights is None:
        return None
    return Weights(
        hue=1.0 if weights.hue is None else weights.hue,
        saturation=1.0 if weights.saturation is None else weights.saturation,
        luma=1.0 if weights.luma is None else weights.luma,
        edges=0.0 if weights.edges is None else weights.edges,
    )
