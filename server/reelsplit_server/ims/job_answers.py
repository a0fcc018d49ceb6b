"""Jobs in the shapes of the dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from reelsplit.types.error import Error
from reelsplit.types.job import Job, JobState
from reelsplit.types.segment import Segment
from reelsplit_server.access.principals import user_id
from reelsplit_server.app.buckets import Buckets, Named

JOB_TYPE = "Segmentation"
CANCELLED = "JobCancelled"
"""The error code of a job that was cancelled."""

STATES: Mapping[str, tuple[JobState, ...]] = {
    "Created": (JobState.PENDING,),
    "Executing": (JobState.RUNNING, JobState.CANCELLING),
    "Finished": (JobState.SUCCEEDED,),
    "Failed": (JobState.FAILED, JobState.CANCELLED),
}
_NAMES = {state: name for name, states in STATES.items() for state in states}

_NOT_FOUND, _BAD = "InvalidParameter.ResourceNotFound", "InvalidParameter.ResourceContentBad"
_RANGE, _UNSUPPORTED = "InvalidParameter.OutOfRange", "InvalidParameter.NotSupported"
_CODES = {
    "SOURCE_NOT_FOUND": _NOT_FOUND,
    "SOURCE_FORBIDDEN": _NOT_FOUND,
    "SOURCE_UNREADABLE": _BAD,
    "SOURCE_FORMAT_REFUSED": _BAD,
    "SOURCE_NO_VIDEO": _BAD,
    "SOURCE_CHANGED": _BAD,
    "SOURCE_DAMAGED": _BAD,
    "RANGE_OUTSIDE_SOURCE": _RANGE,
    "RANGE_OVERLAPS_END": _RANGE,
    "TOO_MANY_SEGMENTS": _RANGE,
    "SOURCE_TOO_LARGE": _UNSUPPORTED,
    "CROP_OUTSIDE_SOURCE": _UNSUPPORTED,
    "DETECTOR_REFUSED": _UNSUPPORTED,
    "ENCODER_REFUSED": _UNSUPPORTED,
    "COPY_IMPOSSIBLE": _UNSUPPORTED,
    "CONTAINER_REFUSED": _UNSUPPORTED,
    "NOT_SUPPORTED": _UNSUPPORTED,
}


def moment(time: datetime | None) -> str:
    """A time as the dialect writes it."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def error_code(reason: str) -> str:
    """The dialect's code of why a job or asset failed."""
    return _CODES.get(reason, "InternalError")


def job_answer(
    job: Job, pieces: Sequence[Mapping[str, Any]], cause: Error | None, buckets: Buckets
) -> dict[str, Any]:
    """What GetSmartHandleJob says of a job. ``pieces`` are those of `piece`; ``cause`` is why the
    first of its segments failed."""
    target = _target(job, buckets)
    answer: dict[str, Any] = {
        "JobId": job.job_id,
        "State": _NAMES[job.state],
        "UserData": _user_data(job),
        "Output": _output(target),
        "JobResult": {
            "AiResult": _ai_result(target, pieces) if pieces else "",
            "MediaId": "",
            "MediaUrl": "",
            "Usage": "",
        },
        "SmartJobInfo": {**_info(job, target), "UserId": str(user_id(job.owner))},
    }
    if job.state is JobState.CANCELLED:
        answer |= {"ErrorCode": CANCELLED, "ErrorMessage": "The job was cancelled."}
    elif job.state is JobState.FAILED:
        error = job.error or Error(reason="INTERNAL", message="")
        code = error_code((cause or error).reason)
        answer |= {"ErrorCode": code, "ErrorMessage": error.message}
    return answer


def job_row(job: Job, buckets: Buckets) -> dict[str, Any]:
    """What ListSmartJobs says of a job."""
    return {
        **_info(job, _target(job, buckets)),
        "JobId": job.job_id,
        "JobState": _NAMES[job.state],
        "UserData": _user_data(job),
        "EditingConfig": "",
        "UserId": user_id(job.owner),
    }


def piece(segment: Segment, buckets: Buckets) -> dict[str, Any]:
    """What AiResult says of a segment. Times are seconds of the source, from its first frame."""
    bounds = segment.bounds or segment.requested
    start = Fraction((bounds and bounds.start_offset) or 0)
    end = Fraction((bounds and bounds.end_offset) or 0)
    length = Fraction(segment.duration) if segment.duration is not None else end - start
    return {
        "ObjectKey": buckets.named(segment.uri, None).key if segment.uri else "",
        "MediaId": segment.media_id,
        "Index": segment.index,
        "Start": _seconds(start),
        "End": _seconds(end),
        "Duration": _seconds(length),
    }


def _ai_result(target: Named, pieces: Sequence[Mapping[str, Any]]) -> str:
    result = {
        "OutputEndpoint": target.endpoint,
        "OutputBucket": target.bucket,
        "OutputObjectResults": pieces,
    }
    return json.dumps({"SegmentationResult": result}, ensure_ascii=False)


def _info(job: Job, target: Named) -> dict[str, Any]:
    source = job.spec.input if job.spec is not None else None
    name = (source and (source.uri or source.media_id)) or ""
    changed = job.end_time or job.start_time or job.create_time
    return {
        "Title": PurePosixPath(name).name,
        "Description": "",
        "JobType": JOB_TYPE,
        "CreateTime": moment(job.create_time),
        "ModifiedTime": moment(changed),
        "InputConfig": {"InputFile": name},
        "OutputConfig": {"Bucket": target.bucket, "Object": target.key},
    }


def _target(job: Job, buckets: Buckets) -> Named:
    output = job.spec.output if job.spec is not None else None
    if output is None:
        return Named(endpoint="", bucket="", key="")
    return buckets.named(output.uri_template, output.endpoint)


def _output(target: Named) -> str:
    return f"oss://{target.bucket}/{target.key}" if target.bucket else target.key


def _user_data(job: Job) -> str:
    return (job.spec is not None and job.spec.user_data) or ""


def _seconds(value: Fraction) -> float:
    return round(float(value), 6)
