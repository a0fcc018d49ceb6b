"""Filling in every default, so that a job says itself what will be done."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from reelsplit.types.output import AudioCodec, AudioEncoding, CutMode, Output, OverwritePolicy
from reelsplit.types.spec import (
    AdaptiveDetector,
    ContentDetector,
    Effort,
    FlashFilter,
    Footage,
    HashDetector,
    HistogramDetector,
    JobSpec,
    LongShotPolicy,
    ReelsplitDetector,
    ReportOptions,
    ShotDetection,
    ThresholdDetector,
    ThresholdMethod,
    TransitionPolicy,
)
from reelsplit_server.app.bounds import Bounds
from reelsplit_server.app.validation import encodes
from reelsplit_server.storage.template import beside

NumberT = TypeVar("NumberT", int, float)
Detector = (
    ReelsplitDetector
    | AdaptiveDetector
    | ContentDetector
    | ThresholdDetector
    | HashDetector
    | HistogramDetector
)


def resolve(spec: JobSpec, bounds: Bounds) -> JobSpec:
    """The spec with all defaults filled in that do not depend on the source."""
    mode = spec.mode
    if isinstance(mode, ShotDetection):
        mode = _detection(mode)
    return replace(
        spec,
        mode=mode,
        output=_output(spec.output) if spec.output is not None else None,
        reports=_reports(spec) if spec.reports is not None else None,
        priority=spec.priority or 0,
        timeout=spec.timeout if spec.timeout is not None else bounds.default_timeout,
        segment_timeout=spec.segment_timeout
        if spec.segment_timeout is not None
        else bounds.default_segment_timeout,
        time_to_live=spec.time_to_live
        if spec.time_to_live is not None
        else bounds.default_time_to_live,
    )


def _output(output: Output) -> Output:
    mode = output.cut_mode or CutMode.AUTO
    if mode is CutMode.AUTO and encodes(output):
        mode = CutMode.ENCODE
    audio = output.audio or AudioEncoding()
    return replace(
        output,
        cut_mode=mode,
        overwrite_policy=output.overwrite_policy or OverwritePolicy.REFUSE,
        audio=replace(audio, codec=audio.codec or AudioCodec.COPY),
    )


def _reports(spec: JobSpec) -> ReportOptions:
    assert spec.reports is not None
    reports, output = spec.reports, spec.output
    template, policy = reports.uri_template, reports.overwrite_policy
    if output is not None:
        policy = policy or output.overwrite_policy
        if template is None and reports.kinds:
            template = beside(output.uri_template)
    return replace(
        reports, uri_template=template, overwrite_policy=policy or OverwritePolicy.REFUSE
    )


def _detection(mode: ShotDetection) -> ShotDetection:
    policy = mode.long_shot_policy
    if policy is None and mode.max_shot_duration is not None:
        policy = LongShotPolicy.SPLIT
    return replace(
        mode,
        detector=_detector(mode.detector),
        transition_policy=mode.transition_policy or TransitionPolicy.MIDDLE,
        long_shot_policy=policy,
    )


def _detector(detector: Detector | None) -> Detector:
    match detector:
        case None:
            return _detector(ReelsplitDetector())
        case ReelsplitDetector() as own:
            return replace(
                own,
                effort=own.effort or Effort.EXACT,
                sensitivity=_or(own.sensitivity, 0.5),
                footage=own.footage or Footage.FILM,
            )
        case AdaptiveDetector() as adaptive:
            return replace(
                adaptive,
                threshold=_or(adaptive.threshold, 3.0),
                min_content_value=_or(adaptive.min_content_value, 15.0),
                window_width=_or(adaptive.window_width, 2),
            )
        case ContentDetector() as content:
            return replace(
                content,
                threshold=_or(content.threshold, 27.0),
                flash_filter=content.flash_filter or FlashFilter.MERGE,
            )
        case ThresholdDetector() as threshold:
            return replace(
                threshold,
                threshold=_or(threshold.threshold, 12.0),
                fade_bias=_or(threshold.fade_bias, 0.0),
                method=threshold.method or ThresholdMethod.FLOOR,
                min_out_duration=threshold.min_out_duration or 0.0,
            )
        case HashDetector() as hashes:
            return replace(
                hashes,
                threshold=_or(hashes.threshold, 0.35),
                size=_or(hashes.size, 8),
                lowpass=_or(hashes.lowpass, 2),
            )
        case HistogramDetector() as histogram:
            return replace(
                histogram,
                threshold=_or(histogram.threshold, 0.2),
                bins=_or(histogram.bins, 128),
            )
        case other:
            return other


def _or(value: NumberT | None, default: NumberT) -> NumberT:
    return default if value is None else value
