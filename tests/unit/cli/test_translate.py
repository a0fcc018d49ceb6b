from __future__ import annotations

import grpc
import pytest

from reelsplit import errors
from reelsplit.cli.failures import ExitCode, printable
from reelsplit.cli.translate import _FLAGS, explain, flag, job_failure
from reelsplit.types.error import Error
from reelsplit.types.job import Job, JobState
from reelsplit.types.spec import Input, JobSpec, TimeRange, UserDefined
from reelsplit.v1 import spec_pb2

SPEC = JobSpec(
    input=Input(uri="a"),
    mode=UserDefined(
        ranges=[
            TimeRange(start_offset=0, end_offset=1),
            TimeRange(start_offset=20, end_offset=10),
        ]
    ),
)


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("spec.output.uri_template", "TEMPLATE"),
        ("output.video.bit_rate", "--bitrate"),
        ("spec.output.video.frame_rate.denominator", "--fps"),
        ("spec.shot_detection.adaptive.threshold", "--threshold"),
        ("spec.shot_detection.adaptive.window_width", "--detector"),
        ("spec.fixed_interval.interval", "--every"),
        ("spec.labels[x]", "--label"),
        ("spec.mode", "mode"),
        ("spec.user_defined.ranges", "--ranges"),
        ("spec.user_defined.ranges[1].end_offset", "range 1 (0:00:20.000-0:00:10.000)"),
        ("spec.user_defined.ranges[7]", "--ranges"),
        ("job_id", "JOB_ID"),
        ("page_token", "page_token"),
    ],
)
def test_fields_become_what_was_typed(field: str, place: str) -> None:
    assert flag(field, SPEC) == place


def test_the_fields_with_flags_exist() -> None:
    for path in _FLAGS:
        if path in ("mode", "job_id"):
            continue
        descriptor = spec_pb2.JobSpec.DESCRIPTOR
        for name in path.split("."):
            field = descriptor.fields_by_name[name]
            if field.message_type is not None:
                descriptor = field.message_type


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequestError("INVALID_FIELD", "wrong"), ExitCode.USAGE),
        (errors.UnavailableError("UNAVAILABLE", "gone"), ExitCode.UNREACHABLE),
        (errors.DeadlineExceededError("DEADLINE_EXCEEDED", "slow"), ExitCode.UNREACHABLE),
        (errors.NotFoundError("JOB_NOT_FOUND", "none"), ExitCode.FAILED),
        (errors.UnauthenticatedError("UNAUTHENTICATED", "who"), ExitCode.FAILED),
        (errors.InternalError("INTERNAL", "oops"), ExitCode.FAILED),
    ],
)
def test_exit_codes_of_calls(error: errors.ReelsplitError, code: ExitCode) -> None:
    assert explain(error).code is code


def test_every_violation_gets_a_line() -> None:
    error = errors.InvalidRequestError(
        "INVALID_FIELD",
        "the request is wrong",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        violations=(
            errors.FieldViolation(field="spec.output.width", description="must be even"),
            errors.FieldViolation(field="spec.timeout", description="is too long"),
        ),
    )
    assert explain(error).lines() == [
        "the request is wrong",
        "  --width: must be even",
        "  --timeout: is too long",
    ]


def test_jobs() -> None:
    assert job_failure(Job(state=JobState.SUCCEEDED)) is None
    failed = job_failure(Job(state=JobState.FAILED, error=Error(reason="R", message="why")))
    assert failed is not None
    assert (failed.code, failed.message, failed.reason) == (ExitCode.FAILED, "why", "R")
    cancelled = job_failure(Job(state=JobState.CANCELLED))
    assert cancelled is not None
    assert cancelled.message == "the job was cancelled"


def test_names_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n") == "a�[2Jb�"
