from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

import reelsplit
from reelsplit import (
    AlreadyExistsError,
    CallCancelledError,
    DeadlineExceededError,
    Error,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    Job,
    JobFailedError,
    JobState,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ReelsplitError,
    ResourceExhaustedError,
    RetryPolicy,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from tests.unit.client.scripted import JOB_ID, Scripted, failure, info, retry_after

Code = grpc.StatusCode
CLASSES = {
    Code.CANCELLED: CallCancelledError,
    Code.UNKNOWN: InternalError,
    Code.INVALID_ARGUMENT: InvalidRequestError,
    Code.DEADLINE_EXCEEDED: DeadlineExceededError,
    Code.NOT_FOUND: NotFoundError,
    Code.ALREADY_EXISTS: AlreadyExistsError,
    Code.PERMISSION_DENIED: PermissionDeniedError,
    Code.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    Code.FAILED_PRECONDITION: FailedPreconditionError,
    Code.ABORTED: InternalError,
    Code.OUT_OF_RANGE: OutOfRangeError,
    Code.UNIMPLEMENTED: UnsupportedError,
    Code.INTERNAL: InternalError,
    Code.UNAVAILABLE: UnavailableError,
    Code.DATA_LOSS: InternalError,
    Code.UNAUTHENTICATED: UnauthenticatedError,
}


def test_every_code_has_its_error() -> None:
    assert set(CLASSES) == set(Code) - {Code.OK}


@pytest.mark.parametrize("code", CLASSES)
def test_a_status_becomes_its_error(client: Any, server: Scripted, code: Code) -> None:
    server.on("GetJob", failure(code, "it went wrong", info("SOME_REASON", key="value")))
    with pytest.raises(CLASSES[code]) as caught:
        client.get(JOB_ID)
    error = caught.value
    assert type(error) is CLASSES[code]
    assert (error.reason, error.message, error.code) == ("SOME_REASON", "it went wrong", code)
    assert error.metadata == {"key": "value"}
    assert error.from_server
    assert str(error) == "it went wrong (SOME_REASON)"
    # Nothing of grpc hangs on to it.
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("code", CLASSES)
def test_a_status_without_details_has_its_code_as_reason(
    client: Any, server: Scripted, code: Code
) -> None:
    server.on("GetJob", failure(code, ""))
    with pytest.raises(CLASSES[code]) as caught:
        client.get(JOB_ID)
    assert caught.value.reason == code.name
    assert not caught.value.from_server
    assert caught.value.message


def test_a_watch_raises_the_same_errors(client: Any, server: Scripted) -> None:
    server.on("WatchJob", failure(Code.NOT_FOUND, "no such job", info("JOB_NOT_FOUND")))
    with pytest.raises(NotFoundError) as caught:
        next(client.watch(JOB_ID))
    assert caught.value.reason == "JOB_NOT_FOUND"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_every_violation_is_named(client: Any, server: Scripted) -> None:
    wrong = error_details_pb2.BadRequest()
    wrong.field_violations.add(field="spec.mode", description="is missing")
    wrong.field_violations.add(field="spec.output.width", description="must be even")
    server.on("GetJob", failure(Code.INVALID_ARGUMENT, "2 fields", info("INVALID_FIELD"), wrong))
    with pytest.raises(InvalidRequestError) as caught:
        client.get(JOB_ID)
    assert caught.value.violations == (
        FieldViolation(field="spec.mode", description="is missing"),
        FieldViolation(field="spec.output.width", description="must be even"),
    )
    assert str(caught.value) == (
        "2 fields (INVALID_FIELD)\n  spec.mode: is missing\n  spec.output.width: must be even"
    )


def test_the_time_to_come_back_is_told(connect: Any, target: str, server: Scripted) -> None:
    server.on("GetJob", failure(Code.RESOURCE_EXHAUSTED, "later", retry_after(2.5)))
    with pytest.raises(ResourceExhaustedError) as caught:
        connect(target, retry=RetryPolicy(attempts=1)).get(JOB_ID)
    assert caught.value.retry_after == Fraction(5, 2)


def test_the_reason_of_another_domain_is_not_taken(client: Any, server: Scripted) -> None:
    foreign = error_details_pb2.ErrorInfo(reason="QUOTA", domain="proxy.example")
    server.on("GetJob", failure(Code.PERMISSION_DENIED, "no", foreign))
    with pytest.raises(PermissionDeniedError) as caught:
        client.get(JOB_ID)
    assert caught.value.reason == "PERMISSION_DENIED"


def test_broken_details_do_not_hide_the_error(client: Any, server: Scripted) -> None:
    def fail(request: object, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(Code.NOT_FOUND, "no such job")

    server.on("GetJob", fail)
    with pytest.raises(NotFoundError, match="no such job"):
        client.get(JOB_ID)


def test_an_unreachable_server_is_named(connect: Any) -> None:
    with pytest.raises(UnavailableError, match=r"the server at 127\.0\.0\.1:1 cannot be reached"):
        connect("127.0.0.1:1").get(JOB_ID)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (InvalidRequestError, ValueError),
        (UnauthenticatedError, PermissionError),
        (PermissionDeniedError, PermissionError),
        (NotFoundError, LookupError),
        (UnavailableError, ConnectionError),
        (DeadlineExceededError, TimeoutError),
    ],
)
def test_errors_are_the_matching_builtins_too(
    error: type[ReelsplitError], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)


def _samples() -> list[ReelsplitError]:
    classes = [getattr(reelsplit, name) for name in reelsplit.__all__]
    errors = [
        made for made in classes if isinstance(made, type) and issubclass(made, ReelsplitError)
    ]
    plain = [
        kind("REASON", "words", {"a": "b"}, Code.UNKNOWN)
        for kind in errors[:]
        if kind is not JobFailedError
    ]
    wrong = FieldViolation(field="a", description="b")
    return [
        *plain,
        InvalidRequestError("REASON", "words", violations=(wrong,)),
        JobFailedError(Job(job_id=JOB_ID, state=JobState.FAILED)),
    ]


@pytest.mark.parametrize("error", _samples(), ids=lambda error: type(error).__name__)
def test_errors_can_be_copied_and_sent_to_other_processes(error: ReelsplitError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)
        assert twin.args == error.args


def test_a_failed_job_says_why() -> None:
    error = Error(reason="SOURCE_NO_VIDEO", message="the source holds only audio")
    failed = JobFailedError(Job(job_id=JOB_ID, state=JobState.FAILED, error=error))
    assert str(failed) == f"job {JOB_ID} failed: the source holds only audio (SOURCE_NO_VIDEO)"
    cancelled = JobFailedError(Job(job_id=JOB_ID, state=JobState.CANCELLED))
    assert str(cancelled) == f"job {JOB_ID} was cancelled (CANCELLED)"
