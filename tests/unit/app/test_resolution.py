"""A resolved spec says itself what will be done, and a presented one holds no secret."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from datetime import UTC, datetime

import pytest
import scenedetect

from reelsplit import (
    AdaptiveDetector,
    AudioCodec,
    ContentDetector,
    CutMode,
    Effort,
    Error,
    FlashFilter,
    Footage,
    HashDetector,
    HistogramDetector,
    Input,
    JobPhase,
    JobProgress,
    JobSpec,
    JobState,
    LongShotPolicy,
    Output,
    OverwritePolicy,
    ReelsplitDetector,
    ShotDetection,
    ThresholdDetector,
    ThresholdMethod,
    TransitionPolicy,
    VideoEncoding,
)
from reelsplit_server.app.presenting import present, snapshot
from reelsplit_server.app.resolution import resolve
from reelsplit_server.jobs.records import JobRecord
from tests.unit.app.specs import BOUNDS, output, spec


def test_times_and_priority_take_the_servers_defaults() -> None:
    made = resolve(spec(), BOUNDS)
    assert (made.priority, made.timeout, made.segment_timeout, made.time_to_live) == (
        0,
        3600,
        60,
        30 * 86400,
    )


def test_what_was_given_stays() -> None:
    given = spec(priority=3, timeout=5, segment_timeout=6, time_to_live=7)
    assert resolve(given, BOUNDS) == given


def test_an_output_is_refused_over_others_and_audio_is_copied_by_default() -> None:
    made = resolve(output(), BOUNDS).output
    assert made is not None
    assert (made.cut_mode, made.overwrite_policy) == (CutMode.AUTO, OverwritePolicy.REFUSE)
    assert made.audio is not None
    assert made.audio.codec is AudioCodec.COPY


@pytest.mark.parametrize("asked", [{"width": 64}, {"height": 64}, {"video": VideoEncoding(gop=5)}])
def test_asking_for_a_picture_asks_for_encoding(asked: dict[str, object]) -> None:
    made = resolve(output(**asked), BOUNDS).output
    assert made is not None
    assert made.cut_mode is CutMode.ENCODE


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (None, ReelsplitDetector(effort=Effort.EXACT, sensitivity=0.5, footage=Footage.FILM)),
        (
            ReelsplitDetector(sensitivity=0.0, footage=Footage.WEB),
            ReelsplitDetector(effort=Effort.EXACT, sensitivity=0.0, footage=Footage.WEB),
        ),
        (
            AdaptiveDetector(threshold=1),
            AdaptiveDetector(threshold=1, min_content_value=15.0, window_width=2),
        ),
        (ContentDetector(), ContentDetector(threshold=27.0, flash_filter=FlashFilter.MERGE)),
        (
            ThresholdDetector(),
            ThresholdDetector(
                threshold=12.0, fade_bias=0.0, method=ThresholdMethod.FLOOR, min_out_duration=0.0
            ),
        ),
        (HashDetector(), HashDetector(threshold=0.35, size=8, lowpass=2)),
        (HistogramDetector(), HistogramDetector(threshold=0.2, bins=128)),
        (HistogramDetector(threshold=0.0), HistogramDetector(threshold=0.0, bins=128)),
    ],
)
def test_a_detector_has_all_its_settings(given: object, resolved: object) -> None:
    mode = resolve(spec(mode=ShotDetection(detector=given)), BOUNDS).mode  # type: ignore[arg-type]
    assert isinstance(mode, ShotDetection)
    assert mode.detector == resolved
    assert mode.transition_policy is TransitionPolicy.MIDDLE
    assert mode.long_shot_policy is None


@pytest.mark.parametrize(
    ("asked", "library", "named"),
    [
        (
            AdaptiveDetector(),
            scenedetect.AdaptiveDetector,
            {"threshold": "adaptive_threshold", "min_content_value": "min_content_val"},
        ),
        (ContentDetector(), scenedetect.ContentDetector, {"flash_filter": "filter_mode"}),
        (
            ThresholdDetector(),
            scenedetect.ThresholdDetector,
            {"min_out_duration": "min_out_length"},
        ),
        (HashDetector(), scenedetect.HashDetector, {}),
        (HistogramDetector(), scenedetect.HistogramDetector, {}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_settings_are_those_of_the_library(
    asked: object, library: type[object], named: dict[str, str]
) -> None:
    mode = resolve(spec(mode=ShotDetection(detector=asked)), BOUNDS).mode  # type: ignore[arg-type]
    assert isinstance(mode, ShotDetection)
    parameters = inspect.signature(library).parameters
    told = {
        named.get(field.name, field.name): getattr(mode.detector, field.name)
        for field in dataclasses.fields(mode.detector)  # type: ignore[arg-type]
    }
    # Of a length common to all, and what the library no longer takes.
    assert set(told) == set(parameters) - {"min_scene_len", "block_size"}
    for name, value in told.items():
        default = parameters[name].default
        if value is not None and name != "weights":
            plain = default.name if isinstance(default, enum.Enum) else default
            assert value == plain, name


def test_long_shots_are_split_where_a_longest_is_given() -> None:
    mode = resolve(spec(mode=ShotDetection(max_shot_duration=9)), BOUNDS).mode
    assert isinstance(mode, ShotDetection)
    assert mode.long_shot_policy is LongShotPolicy.SPLIT


def test_a_resolved_spec_resolves_to_itself() -> None:
    for given in (spec(), output(width=64), spec(mode=ShotDetection(max_shot_duration=9))):
        once = resolve(given, BOUNDS)
        assert resolve(once, BOUNDS) == once


# --- Presenting ------------------------------------------------------------------------------


def _record(wanted: JobSpec, **values: object) -> JobRecord:
    given: dict[str, object] = {
        "job_id": "0" * 32,
        "principal": "me",
        "state": JobState.RUNNING,
        "spec": wanted,
        "create_time": datetime(2026, 1, 1, tzinfo=UTC),
        **values,
    }
    return JobRecord(**given)  # type: ignore[arg-type]


def test_userinfo_and_queries_are_not_shown() -> None:
    wanted = spec(
        input=Input(uri="https://me:secret@host/film.mp4?sig=secret#secret"),
        output=Output(uri_template="s3://key:secret@bucket/{index}.mp4?x=secret"),
        notify_url="https://me:secret@host/done?token=secret",
    )
    job = present(_record(wanted, error=Error(reason="X", message="Y")), None)
    assert "secret" not in repr(job)
    assert job.spec is not None
    assert job.spec.input is not None
    assert job.spec.input.uri == "https://host/film.mp4"
    assert job.owner == "me"


def test_endpoints_show_no_credentials_either() -> None:
    wanted = spec(input=Input(uri="s3://b/k", endpoint="https://me:secret@host"))
    assert "secret" not in repr(present(_record(wanted), None))


@pytest.mark.parametrize(
    ("values", "phase"),
    [
        ({"state": JobState.PENDING}, JobPhase.QUEUED),
        ({}, JobPhase.ANALYSING),
        ({"plan_complete": True}, JobPhase.CUTTING),
        ({"state": JobState.FAILED}, JobPhase.DONE),
        ({"state": JobState.SUCCEEDED, "percent": 100.0}, JobPhase.DONE),
    ],
)
def test_a_snapshot_without_a_meter_comes_from_the_store(
    values: dict[str, object], phase: JobPhase
) -> None:
    record = _record(spec(), segment_count=4, published_count=2, failed_count=1, **values)
    made = snapshot(record, None)
    assert (made.phase, made.percent) == (phase, record.percent)
    assert (made.segment_count, made.published_count, made.failed_count) == (4, 2, 1)


def test_a_snapshot_is_never_behind_what_is_kept() -> None:
    record = _record(spec(), percent=40.0, segment_count=3)
    live = JobProgress(percent=39.0, phase=JobPhase.CUTTING, segment_count=1)
    made = snapshot(record, live)
    assert (made.percent, made.segment_count, made.phase) == (40.0, 3, JobPhase.CUTTING)


def test_an_ended_job_shows_nothing_of_its_meter() -> None:
    record = _record(spec(), state=JobState.CANCELLED, percent=12.0)
    assert snapshot(record, JobProgress(percent=90.0)).percent == 12.0
