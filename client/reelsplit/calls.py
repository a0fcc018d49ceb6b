"""The request of each call and the reading of its answer, for both clients. Pure."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from reelsplit import classes, pages, wire
from reelsplit.modes import Mode
from reelsplit.types.job import Job, JobState
from reelsplit.types.media import Media, MediaState
from reelsplit.types.output import Output
from reelsplit.types.record import Seconds
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import Input, JobSpec, ReportKind, ReportOptions
from reelsplit.v1 import job_pb2, job_service_pb2, media_pb2, media_service_pb2, segment_pb2

ResultT = TypeVar("ResultT")

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
"""What JSON can express."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[ResultT]):
    """One call that is answered once."""

    method: str
    """The RPC. No two services of the contract share a name."""

    request: Message

    read: Callable[[Any], ResultT]
    """Reads the answer."""

    gone: Callable[[], ResultT] | None = None
    """What NOT_FOUND means when an earlier attempt may have arrived after all; None where it is
    an error even then."""


def spec(
    input: str | Input,
    mode: Mode,
    output: str | Output | None,
    *,
    reports: Sequence[ReportKind] | ReportOptions | None,
    user_data: Json,
    notify_url: str | None,
    notify_segments: bool,
    labels: Mapping[str, str] | None,
    priority: int | None,
    timeout: Seconds | None,
    segment_timeout: Seconds | None,
    time_to_live: Seconds | None,
    fail_fast: bool,
) -> JobSpec:
    """The spec of a job from the arguments of ``submit``."""
    if reports is not None and not isinstance(reports, ReportOptions):
        reports = ReportOptions(kinds=tuple(reports))
    return JobSpec(
        input=Input(uri=input) if isinstance(input, str) else input,
        mode=mode,
        output=Output(uri_template=output) if isinstance(output, str) else output,
        reports=reports,
        user_data=as_user_data(user_data),
        notify_url=notify_url,
        notify_segments=notify_segments,
        labels=dict(labels or {}),
        priority=priority,
        timeout=timeout,
        segment_timeout=segment_timeout,
        time_to_live=time_to_live,
        fail_fast=fail_fast,
    )


def as_user_data(value: Json) -> str | None:
    """A string as it is, for it is JSON already; anything else as compact JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def submit(spec: JobSpec, client_token: str | None) -> Call[Job]:
    """SubmitJob."""
    request = job_service_pb2.SubmitJobRequest(client_token=client_token or _new_token())
    request.spec.CopyFrom(cast(Any, wire.to_message(spec)))
    return Call(method="SubmitJob", request=request, read=_job)


def get(job_id: str) -> Call[Job]:
    """GetJob."""
    return Call(method="GetJob", request=job_service_pb2.GetJobRequest(job_id=job_id), read=_job)


def cancel(job_id: str) -> Call[Job]:
    """CancelJob."""
    request = job_service_pb2.CancelJobRequest(job_id=job_id)
    return Call(method="CancelJob", request=request, read=_job)


def delete(job_id: str, *, allow_missing: bool, delete_outputs: bool, force: bool) -> Call[int]:
    """DeleteJob."""
    request = job_service_pb2.DeleteJobRequest(
        job_id=job_id, allow_missing=allow_missing, delete_outputs=delete_outputs, force=force
    )
    return Call(
        method="DeleteJob",
        request=request,
        read=lambda response: cast(int, response.deleted_outputs),
        gone=lambda: 0,
    )


def retry(job_id: str, client_token: str | None) -> Call[Job]:
    """RetryJob."""
    request = job_service_pb2.RetryJobRequest(
        job_id=job_id, client_token=client_token or _new_token()
    )
    return Call(method="RetryJob", request=request, read=_job)


def list_jobs(
    *,
    states: Sequence[JobState],
    labels: Mapping[str, str] | None,
    create_time_from: datetime | None,
    create_time_until: datetime | None,
    order: pages.JobOrder | None,
    page_size: int | None,
    page_token: str = "",
) -> Call[pages.JobPage]:
    """ListJobs, one page."""
    request = job_service_pb2.ListJobsRequest(
        page_size=page_size or 0,
        page_token=page_token,
        states=cast(Any, [_number(job_pb2.JobState, state) for state in states]),
        labels=labels,
        order=cast(Any, _number(job_service_pb2.JobOrder, order) if order else 0),
    )
    if create_time_from is not None:
        request.create_time_from.FromDatetime(_aware("create_time_from", create_time_from))
    if create_time_until is not None:
        request.create_time_until.FromDatetime(_aware("create_time_until", create_time_until))

    def read(response: job_service_pb2.ListJobsResponse) -> pages.JobPage:
        return pages.JobPage(
            jobs=tuple(wire.from_message(Job, job) for job in response.jobs),
            next_page_token=response.next_page_token,
            total_size=response.total_size,
            watch_token=response.watch_token,
        )

    return Call(method="ListJobs", request=request, read=read)


def segments(
    job_id: str, *, states: Sequence[SegmentState], page_token: str
) -> Call[pages.Page[Segment]]:
    """ListSegments, one page."""
    request = job_service_pb2.ListSegmentsRequest(
        job_id=job_id,
        page_size=1000,
        page_token=page_token,
        states=cast(Any, [_number(segment_pb2.SegmentState, state) for state in states]),
    )

    def read(response: job_service_pb2.ListSegmentsResponse) -> pages.Page[Segment]:
        return pages.Page(
            items=tuple(wire.from_message(Segment, segment) for segment in response.segments),
            next_page_token=response.next_page_token,
        )

    return Call(method="ListSegments", request=request, read=read)


def register_media(
    uri: str,
    *,
    client_token: str | None,
    title: str | None,
    labels: Mapping[str, str] | None,
    user_data: Json,
) -> Call[Media]:
    """RegisterMedia."""
    request = media_service_pb2.RegisterMediaRequest(
        uri=uri,
        client_token=client_token or _new_token(),
        title=title,
        labels=labels,
        user_data=as_user_data(user_data),
    )
    return Call(method="RegisterMedia", request=request, read=_media)


def get_media(media_id: str | None, uri: str | None) -> Call[Media]:
    """GetMedia."""
    if (media_id is None) == (uri is None):
        raise ValueError("pass either media_id or uri")
    request = media_service_pb2.GetMediaRequest()
    if media_id is not None:
        request.media_id = media_id
    if uri is not None:
        request.uri = uri
    return Call(method="GetMedia", request=request, read=_media)


def list_media(
    *,
    states: Sequence[MediaState],
    labels: Mapping[str, str] | None,
    page_size: int | None,
    page_token: str,
) -> Call[pages.Page[Media]]:
    """ListMedia, one page."""
    request = media_service_pb2.ListMediaRequest(
        page_size=page_size or 0,
        page_token=page_token,
        labels=labels,
        states=cast(Any, [_number(media_pb2.MediaState, state) for state in states]),
    )

    def read(response: media_service_pb2.ListMediaResponse) -> pages.Page[Media]:
        return pages.Page(
            items=tuple(wire.from_message(Media, media) for media in response.media),
            next_page_token=response.next_page_token,
        )

    return Call(method="ListMedia", request=request, read=read)


def delete_media(media_id: str, *, allow_missing: bool, delete_file: bool) -> Call[None]:
    """DeleteMedia."""
    request = media_service_pb2.DeleteMediaRequest(
        media_id=media_id, allow_missing=allow_missing, delete_file=delete_file
    )
    return Call(
        method="DeleteMedia", request=request, read=lambda response: None, gone=lambda: None
    )


def _job(response: job_service_pb2.GetJobResponse) -> Job:
    # All the answers that hold one job hold it in the same field.
    return wire.from_message(Job, response.job)


def _media(response: media_service_pb2.GetMediaResponse) -> Media:
    return wire.from_message(Media, response.media)


def _new_token() -> str:
    return uuid.uuid4().hex


def _number(enum: Any, member: StrEnum) -> int:
    # The stubs give generated enums types that no annotation can name.
    return cast(int, enum.Value(classes.enum_prefix(enum.DESCRIPTOR) + member.name))


def _aware(name: str, time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{name} must carry a time zone")
    return time
