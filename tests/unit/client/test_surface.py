"""What is public, that sync and async agree, and what an import costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

import reelsplit

PUBLIC = [
    "AdaptiveDetector",
    "AlreadyExistsError",
    "AsyncClient",
    "AsyncEventStream",
    "AsyncJobHandle",
    "AudioCodec",
    "AudioEncoding",
    "AudioInfo",
    "Bookmark",
    "CallCancelledError",
    "Client",
    "ContentDetector",
    "ContentWeights",
    "CropRegion",
    "CutMode",
    "CutResult",
    "DeadlineExceededError",
    "Detector",
    "Effort",
    "Error",
    "ErrorReason",
    "EventStream",
    "FailedPreconditionError",
    "FieldViolation",
    "FixedInterval",
    "FlashFilter",
    "Footage",
    "HashDetector",
    "HistogramDetector",
    "Input",
    "InternalError",
    "InvalidRequestError",
    "Job",
    "JobEvent",
    "JobFailedError",
    "JobHandle",
    "JobOrder",
    "JobPage",
    "JobPhase",
    "JobProgress",
    "JobSpec",
    "JobState",
    "JobStateChanged",
    "Json",
    "LongShotPolicy",
    "Media",
    "MediaState",
    "Mode",
    "NotFoundError",
    "Notice",
    "OutOfRangeError",
    "Output",
    "OverwritePolicy",
    "PermissionDeniedError",
    "PlanCompleted",
    "ReelsplitDetector",
    "ReelsplitError",
    "Report",
    "ReportKind",
    "ReportOptions",
    "ReportTarget",
    "ResourceExhaustedError",
    "RetryPolicy",
    "Seconds",
    "Segment",
    "SegmentBounds",
    "SegmentChanged",
    "SegmentProgress",
    "SegmentState",
    "ShotDetection",
    "SourceInfo",
    "SourceOpened",
    "StreamAction",
    "StreamKind",
    "StreamResult",
    "SubtitleInfo",
    "TLS",
    "ThresholdDetector",
    "ThresholdMethod",
    "TimeRange",
    "Transition",
    "TransitionPolicy",
    "TransitionType",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "UserDefined",
    "Verification",
    "VideoCodec",
    "VideoEncoding",
    "VideoInfo",
    "every",
    "ranges",
    "shots",
]

PAIRS = [
    (reelsplit.Client, reelsplit.AsyncClient),
    (reelsplit.JobHandle, reelsplit.AsyncJobHandle),
    (reelsplit.EventStream, reelsplit.AsyncEventStream),
]


def test_the_public_names_are_these() -> None:
    assert sorted(reelsplit.__all__) == PUBLIC


def test_the_public_names_are_sorted_and_there() -> None:
    # Ruff's order: what is all upper case first, then classes, then functions.
    order = [(not name.isupper(), name[0].islower(), name) for name in reelsplit.__all__]
    assert sorted(order) == order
    for name in reelsplit.__all__:
        assert getattr(reelsplit, name) is not None


def test_nothing_public_is_left_out() -> None:
    submodules = {name for name in vars(reelsplit) if f"reelsplit.{name}" in sys.modules}
    names = {name for name in vars(reelsplit) if not name.startswith("_")}
    assert names - submodules == set(reelsplit.__all__)


def test_the_version_is_that_of_the_package() -> None:
    assert re.match(r"\d+\.|0\+unknown", reelsplit.__version__)
    with pytest.raises(AttributeError, match="nonsense"):
        reelsplit.nonsense  # noqa: B018


def methods(cls: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in vars(cls).items()
        if callable(member) and (not name.startswith("_") or name == "__init__")
    }


def as_async(annotation: Any) -> Any:
    """The annotation that the async side has in the place of a sync one."""
    words = r"\b(Client|JobHandle|EventStream|Transport|Iterator)\b"
    return re.sub(words, r"Async\1", annotation) if isinstance(annotation, str) else annotation


@pytest.mark.parametrize(("sync", "aio"), PAIRS)
def test_sync_and_async_have_one_surface(sync: type, aio: type) -> None:
    assert list(methods(sync)) == list(methods(aio))
    assert {n for n in vars(sync) if isinstance(vars(sync)[n], property)} == {
        n for n in vars(aio) if isinstance(vars(aio)[n], property)
    }
    for name, method in methods(sync).items():
        blocking, other = inspect.signature(method), inspect.signature(methods(aio)[name])
        expected = [
            parameter.replace(annotation=as_async(parameter.annotation))
            for parameter in blocking.parameters.values()
        ]
        assert list(other.parameters.values()) == expected, name
        assert other.return_annotation == as_async(blocking.return_annotation), name


@pytest.mark.parametrize(("sync", "aio"), PAIRS)
def test_async_methods_wait_where_the_sync_ones_block(sync: type, aio: type) -> None:
    iterating = ("watch", "watch_jobs", "job", "__init__")
    for name, method in methods(aio).items():
        streams = "AsyncIterator" in str(inspect.signature(method).return_annotation)
        assert inspect.iscoroutinefunction(method) != (streams or name in iterating), name
        assert not inspect.iscoroutinefunction(methods(sync)[name])


@pytest.mark.parametrize("name", reelsplit.__all__)
def test_everything_public_says_what_it_is_for(name: str) -> None:
    member = getattr(reelsplit, name)
    if inspect.isclass(member) or inspect.isfunction(member):
        assert inspect.getdoc(member)
    if inspect.isclass(member):
        undocumented = [
            key
            for key, method in vars(member).items()
            if inspect.isfunction(method) and not key.startswith("_") and not method.__doc__
        ]
        assert undocumented == []


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_import_brings_only_what_it_needs() -> None:
    brought = imported_by("import reelsplit") - imported_by("pass") - set(sys.stdlib_module_names)
    # grpc looks for packages of its own, such as grpc_health, and takes them if they are there.
    brought = {name for name in brought if not name.startswith(("_", "grpc_", "cython_"))}
    assert brought <= {"google", "grpc", "reelsplit", "typing_extensions"}


def test_the_import_brings_nothing_of_the_server() -> None:
    brought = imported_by("import reelsplit")
    heavy = {"av", "numpy", "sqlalchemy", "reelsplit_server", "cv2", "pydantic", "typer", "rich"}
    assert not brought & heavy


def test_the_import_starts_nothing() -> None:
    code = (
        "import os, threading, warnings, asyncio; before = dict(os.environ); import reelsplit;"
        "assert threading.active_count() == 1; assert dict(os.environ) == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
