"""A JobService that plays a part by the name of the input, without any video.

`ok` succeeds, `missing` fails at once, `partly` fails in segment 1, `slow` runs until it is
cancelled, `stuck` does not even end then. A template without `{index}` is refused.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import uuid
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from reelsplit import wire
from reelsplit.cli.templates import stem
from reelsplit.types.error import Error
from reelsplit.types.event import (
    JobEvent,
    JobStateChanged,
    PlanCompleted,
    SegmentChanged,
    SourceOpened,
)
from reelsplit.types.job import Job, JobProgress, JobState, SegmentProgress, SourceInfo, VideoInfo
from reelsplit.types.segment import (
    Segment,
    SegmentBounds,
    SegmentState,
    Transition,
    TransitionType,
)
from reelsplit.types.spec import JobSpec, TimeRange, UserDefined
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1 import job_service_pb2_grpc as rpc

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RATE = 25


class Scripted(rpc.JobServiceServicer):
    """The service. `token` is required of every caller, where it is given."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.jobs: dict[str, Job] = {}
        self.kept: dict[str, list[Segment]] = {}
        self.cancelled: dict[str, threading.Event] = {}
        self.calls: list[tuple[str, Any]] = []

    def SubmitJob(self, request: Any, context: Any) -> Any:
        self._enter("SubmitJob", request, context)
        spec = wire.from_message(JobSpec, request.spec)
        if spec.output is not None and "{index" not in spec.output.uri_template:
            _refuse(
                context,
                {
                    "spec.output.uri_template": "needs {index}",
                    "spec.user_defined.ranges[1].end_offset": "must lie after the start",
                },
            )
        job = Job(
            job_id=uuid.uuid4().hex,
            state=JobState.PENDING,
            spec=spec,
            attempt=1,
            create_time=NOW,
        )
        self.jobs[job.job_id] = job
        self.kept[job.job_id] = []
        self.cancelled[job.job_id] = threading.Event()
        return pb.SubmitJobResponse(job=wire.to_message(job))

    def GetJob(self, request: Any, context: Any) -> Any:
        self._enter("GetJob", request, context)
        return pb.GetJobResponse(job=wire.to_message(self._find(request.job_id, context)))

    def ListJobs(self, request: Any, context: Any) -> Any:
        self._enter("ListJobs", request, context)
        return pb.ListJobsResponse(jobs=[wire.to_message(job) for job in self.jobs.values()])

    def CancelJob(self, request: Any, context: Any) -> Any:
        self._enter("CancelJob", request, context)
        job = self._find(request.job_id, context)
        self.cancelled[job.job_id].set()
        return pb.CancelJobResponse(job=wire.to_message(job))

    def DeleteJob(self, request: Any, context: Any) -> Any:
        self._enter("DeleteJob", request, context)
        self._find(request.job_id, context)
        return pb.DeleteJobResponse(deleted_outputs=3 if request.delete_outputs else 0)

    def RetryJob(self, request: Any, context: Any) -> Any:
        self._enter("RetryJob", request, context)
        return pb.RetryJobResponse(job=wire.to_message(self._find(request.job_id, context)))

    def ListSegments(self, request: Any, context: Any) -> Any:
        self._enter("ListSegments", request, context)
        self._find(request.job_id, context)
        kept = self.kept[request.job_id]
        return pb.ListSegmentsResponse(segments=[wire.to_message(item) for item in kept])

    def WatchJob(self, request: Any, context: Any) -> Iterator[Any]:
        self._enter("WatchJob", request, context)
        job = self._find(request.job_id, context)
        numbers = itertools.count(1)
        for happened in self._play(job):
            number = 0 if isinstance(happened, JobProgress) else next(numbers)
            event = JobEvent(
                job_id=job.job_id,
                sequence=number,
                event_time=NOW,
                resume_token=f"t{number}",
                event=happened,
            )
            yield pb.WatchJobResponse(event=wire.to_message(event))

    def _play(self, job: Job) -> Iterator[Any]:
        """The events; the records are kept up to date with them."""
        assert job.spec is not None
        part = stem(job.spec.input.uri or "")
        yield JobStateChanged(state=JobState.PENDING, attempt=1)
        yield self._state(job, JobState.RUNNING)
        if part.startswith("missing"):
            error = Error(reason="SOURCE_NOT_FOUND", message="there is no file at this path")
            yield self._state(job, JobState.FAILED, error)
            return
        source = SourceInfo(
            container="mp4",
            duration=Fraction(10),
            video=VideoInfo(codec="h264", width=320, height=180),
        )
        yield SourceOpened(source=source)
        yield JobProgress(percent=5, analysed_fraction=0.4, analysis_frames_per_second=250)
        segments = [_planned(job, index) for index in range(_count(job.spec))]
        for segment in segments:
            yield self._segment(job, segment)
        yield PlanCompleted(segment_count=len(segments), source=source)
        if job.spec.output is None:
            yield self._state(job, JobState.SUCCEEDED)
            return
        failed = 0
        for segment in segments:
            yield self._segment(job, dataclasses.replace(segment, state=SegmentState.RUNNING))
            running = [SegmentProgress(index=segment.index, fraction=0.5, frames_per_second=90)]
            yield JobProgress(percent=50, frames_per_second=90, time_left=2, running=running)
            if part.startswith(("slow", "stuck")):
                self.cancelled[job.job_id].wait()
                if part.startswith("stuck"):
                    threading.Event().wait()
                yield self._state(job, JobState.CANCELLING)
                yield self._state(job, JobState.CANCELLED)
                return
            if part.startswith("partly") and segment.index == 1:
                error = Error(reason="RANGE_OUTSIDE_SOURCE", message="no frame lies there")
                made = dataclasses.replace(segment, state=SegmentState.FAILED, error=error)
                failed += 1
            else:
                template = job.spec.output.uri_template
                made = dataclasses.replace(
                    segment,
                    state=SegmentState.PUBLISHED,
                    uri=template.replace("{index}", str(segment.index)),
                    size_bytes=12_345,
                    frame_count=25,
                    duration=1,
                )
            yield self._segment(job, made)
        if failed:
            error = Error(reason="SEGMENTS_FAILED", message=f"{failed} segments failed")
            yield self._state(job, JobState.FAILED, error)
        else:
            yield self._state(job, JobState.SUCCEEDED)

    def _state(self, job: Job, state: JobState, error: Error | None = None) -> JobStateChanged:
        before = self.jobs[job.job_id]
        self.jobs[job.job_id] = dataclasses.replace(before, state=state, error=error)
        percent = 100 if state is JobState.SUCCEEDED else 0
        return JobStateChanged(
            previous_state=before.state, state=state, error=error, percent=percent, attempt=1
        )

    def _segment(self, job: Job, segment: Segment) -> SegmentChanged:
        kept = self.kept[job.job_id]
        kept[segment.index : segment.index + 1] = [segment]
        return SegmentChanged(segment=segment)

    def _find(self, job_id: str, context: Any) -> Job:
        if job_id not in self.jobs:
            info = error_details_pb2.ErrorInfo(
                reason="JOB_NOT_FOUND", domain="reelsplit", metadata={"job_id": job_id}
            )
            _abort(context, grpc.StatusCode.NOT_FOUND, f"there is no job {job_id}", info)
        return self.jobs[job_id]

    def _enter(self, name: str, request: Any, context: Any) -> None:
        self.calls.append((name, request))
        sent = dict(context.invocation_metadata()).get("authorization")
        if self.token is not None and sent != f"Bearer {self.token}":
            info = error_details_pb2.ErrorInfo(reason="UNAUTHENTICATED", domain="reelsplit")
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "no token, or an unknown one", info)


def start(service: Scripted) -> tuple[grpc.Server, str]:
    """Serve it on a free port of loopback."""
    server = grpc.server(futures.ThreadPoolExecutor(32))
    rpc.add_JobServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def _count(spec: JobSpec) -> int:
    return len(spec.mode.ranges) if isinstance(spec.mode, UserDefined) else 3


def _planned(job: Job, index: int) -> Segment:
    return Segment(
        job_id=job.job_id,
        index=index,
        state=SegmentState.PLANNED,
        requested=TimeRange(start_offset=index, end_offset=index + 1),
        bounds=SegmentBounds(
            start_offset=index,
            end_offset=index + 1,
            start_frame=index * RATE,
            end_frame=(index + 1) * RATE,
            time_base=Fraction(1, RATE),
        ),
        transition=Transition(
            type=TransitionType.CUT if index else TransitionType.START,
            confidence=0.75 if index else None,
        ),
        attempt=1,
    )


def _refuse(context: Any, fields: dict[str, str]) -> NoReturn:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
        for field, text in fields.items()
    ]
    info = error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="reelsplit")
    bad = error_details_pb2.BadRequest(field_violations=violations)
    _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "the request is wrong", info, bad)


def _abort(context: Any, code: grpc.StatusCode, text: str, *details: Any) -> NoReturn:
    status = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, text)
    raise AssertionError
