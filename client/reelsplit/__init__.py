"""Reelsplit's client: split long videos into segments, as a service.

    from reelsplit import Client, shots

    with Client("localhost:50051") as client:
        job = client.submit("film.mp4", shots(), "out/{index:04d}.mp4")
        for event in job.watch():
            print(event)
        job.result()

Everything public is here; the modules below are not, except `reelsplit.v1`, the generated
messages and stubs of the contract.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from reelsplit.aio import AsyncClient
    from reelsplit.aio_handle import AsyncJobHandle
    from reelsplit.aio_transport import AsyncEventStream
    from reelsplit.calls import Json
    from reelsplit.channel import TLS
    from reelsplit.client import Client
    from reelsplit.errors import (
        AlreadyExistsError,
        CallCancelledError,
        DeadlineExceededError,
        FailedPreconditionError,
        FieldViolation,
        InternalError,
        InvalidRequestError,
        JobFailedError,
        NotFoundError,
        OutOfRangeError,
        PermissionDeniedError,
        ReelsplitError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
        UnsupportedError,
    )
    from reelsplit.handle import JobHandle
    from reelsplit.modes import Detector, Mode, every, ranges, shots
    from reelsplit.pages import JobOrder, JobPage
    from reelsplit.retry import RetryPolicy
    from reelsplit.transport import EventStream
    from reelsplit.types.error import (
        Error,
        ErrorReason,
    )
    from reelsplit.types.event import (
        Bookmark,
        JobEvent,
        JobStateChanged,
        PlanCompleted,
        SegmentChanged,
        SourceOpened,
    )
    from reelsplit.types.job import (
        AudioInfo,
        Job,
        JobPhase,
        JobProgress,
        JobState,
        Report,
        SegmentProgress,
        SourceInfo,
        SubtitleInfo,
        VideoInfo,
    )
    from reelsplit.types.media import (
        Media,
        MediaState,
    )
    from reelsplit.types.output import (
        AudioCodec,
        AudioEncoding,
        CutMode,
        Output,
        OverwritePolicy,
        VideoCodec,
        VideoEncoding,
    )
    from reelsplit.types.record import (
        Seconds,
    )
    from reelsplit.types.segment import (
        CutResult,
        Notice,
        Segment,
        SegmentBounds,
        SegmentState,
        StreamAction,
        StreamKind,
        StreamResult,
        Transition,
        TransitionType,
        Verification,
    )
    from reelsplit.types.spec import (
        AdaptiveDetector,
        ContentDetector,
        ContentWeights,
        CropRegion,
        Effort,
        FixedInterval,
        FlashFilter,
        Footage,
        HashDetector,
        HistogramDetector,
        Input,
        JobSpec,
        LongShotPolicy,
        ReelsplitDetector,
        ReportKind,
        ReportOptions,
        ReportTarget,
        ShotDetection,
        ThresholdDetector,
        ThresholdMethod,
        TimeRange,
        TransitionPolicy,
        UserDefined,
    )

__all__ = [
    "TLS",
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


# Where each name is defined. They are loaded when they are first asked for, so that importing the
# package costs nothing: a program that only needs a type loads no gRPC.
_HOMES = {
    "aio": "AsyncClient",
    "aio_handle": "AsyncJobHandle",
    "aio_transport": "AsyncEventStream",
    "calls": "Json",
    "channel": "TLS",
    "client": "Client",
    "errors": (
        "AlreadyExistsError CallCancelledError DeadlineExceededError FailedPreconditionError "
        "FieldViolation InternalError InvalidRequestError JobFailedError NotFoundError "
        "OutOfRangeError PermissionDeniedError ReelsplitError ResourceExhaustedError "
        "UnauthenticatedError UnavailableError UnsupportedError"
    ),
    "handle": "JobHandle",
    "modes": "Detector Mode every ranges shots",
    "pages": "JobOrder JobPage",
    "retry": "RetryPolicy",
    "transport": "EventStream",
    "types.error": "Error ErrorReason",
    "types.event": "Bookmark JobEvent JobStateChanged PlanCompleted SegmentChanged SourceOpened",
    "types.job": (
        "AudioInfo Job JobPhase JobProgress JobState Report SegmentProgress SourceInfo "
        "SubtitleInfo VideoInfo"
    ),
    "types.media": "Media MediaState",
    "types.output": (
        "AudioCodec AudioEncoding CutMode Output OverwritePolicy VideoCodec VideoEncoding"
    ),
    "types.record": "Seconds",
    "types.segment": (
        "CutResult Notice Segment SegmentBounds SegmentState StreamAction StreamKind "
        "StreamResult Transition TransitionType Verification"
    ),
    "types.spec": (
        "AdaptiveDetector ContentDetector ContentWeights CropRegion Effort FixedInterval "
        "FlashFilter Footage HashDetector HistogramDetector Input JobSpec LongShotPolicy "
        "ReelsplitDetector ReportKind ReportOptions ReportTarget ShotDetection "
        "ThresholdDetector ThresholdMethod TimeRange TransitionPolicy UserDefined"
    ),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from reelsplit.channel import package_version

        return package_version()
    for module, names in _HOMES.items():
        if name in names.split():
            value: object = getattr(_importlib.import_module(f"reelsplit.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
