"""JobService over gRPC: reads requests, calls the use case, writes answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import structlog

from reelsplit.types.job import JobState
from reelsplit.types.segment import SegmentState
from reelsplit.types.spec import JobSpec
from reelsplit.v1 import job_pb2, segment_pb2
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceServicer
from reelsplit.wire import from_message
from reelsplit_server.app.errors import Violation
from reelsplit_server.app.job_reading import JobQuery
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.watching import Watching
from reelsplit_server.rpc.interceptors import caller
from reelsplit_server.rpc.messages import is_large, job_message, message, states, time

log = structlog.get_logger(__name__)


class JobServicer(JobServiceServicer):
    """Answers JobService."""

    def __init__(self, jobs: Jobs, watching: Watching) -> None:
        self._jobs = jobs
        self._watching = watching

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Any) -> pb.SubmitJobResponse:
        violations: list[Violation] = []

        def problem(path: str, description: str) -> None:
            violations.append(Violation(field=path, description=description))

        spec = None
        if request.HasField("spec"):
            read = partial(from_message, JobSpec, request.spec, problem, "spec")
            spec = await asyncio.to_thread(read) if is_large(request.spec) else read()
        job = await self._jobs.submit(caller(), request.client_token, spec, violations)
        log.info("job_submitted", job_id=job.job_id, principal=caller().principal)
        return pb.SubmitJobResponse(job=await job_message(job))

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        job = await self._jobs.get(caller(), request.job_id)
        return pb.GetJobResponse(job=await job_message(job))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        violations: list[Violation] = []
        query = JobQuery(
            page_size=request.page_size,
            page_token=request.page_token,
            states=states(JobState, job_pb2.JobState.DESCRIPTOR, request.states, violations),
            labels=dict(request.labels),
            create_time_from=time(request, "create_time_from"),
            create_time_until=time(request, "create_time_until"),
            oldest_first=request.order == pb.JOB_ORDER_CREATE_TIME_ASCENDING,
        )
        if request.order not in pb.JobOrder.values():
            description = f"is {request.order}, which is not a known order"
            violations.append(Violation(field="order", description=description))
        page = await self._jobs.page(caller(), query, violations)
        return pb.ListJobsResponse(
            jobs=[await job_message(job) for job in page.jobs],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
            watch_token=page.watch_token,
        )

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        job = await self._jobs.cancel(caller(), request.job_id)
        return pb.CancelJobResponse(job=await job_message(job))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Any) -> pb.DeleteJobResponse:
        deleted = await self._jobs.delete(
            caller(),
            request.job_id,
            allow_missing=request.allow_missing,
            delete_outputs=request.delete_outputs,
            force=request.force,
        )
        return pb.DeleteJobResponse(deleted_outputs=deleted)

    async def RetryJob(self, request: pb.RetryJobRequest, context: Any) -> pb.RetryJobResponse:
        job = await self._jobs.retry(caller(), request.job_id, request.client_token)
        return pb.RetryJobResponse(job=await job_message(job))

    async def ListSegments(
        self, request: pb.ListSegmentsRequest, context: Any
    ) -> pb.ListSegmentsResponse:
        violations: list[Violation] = []
        known = segment_pb2.SegmentState.DESCRIPTOR
        page = await self._jobs.segments(
            caller(),
            request.job_id,
            page_size=request.page_size,
            page_token=request.page_token,
            states=states(SegmentState, known, request.states, violations),
            violations=violations,
        )
        return pb.ListSegmentsResponse(
            segments=[message(segment, segment_pb2.Segment) for segment in page.segments],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )

    # Watches answer bytes, which were made once for all who watch the same.

    def WatchJob(self, request: pb.WatchJobRequest, context: Any) -> AsyncIterator[Any]:
        interval = None
        if request.HasField("progress_interval"):
            interval = request.progress_interval.ToNanoseconds() / 1e9
        return self._watching.job(
            caller(),
            request.job_id,
            _of_job,
            resume_token=request.resume_token,
            interval=interval,
            skip_progress=request.skip_progress,
        )

    def WatchJobs(self, request: pb.WatchJobsRequest, context: Any) -> AsyncIterator[Any]:
        return self._watching.all(
            caller(),
            _of_all,
            resume_token=request.resume_token,
            labels=dict(request.labels),
            include_progress=request.include_progress,
        )


def _sent(
    kind: type[pb.WatchJobResponse | pb.WatchJobsResponse], event: bytes, token: str
) -> bytes:
    response = kind()
    response.event.ParseFromString(event)
    response.event.resume_token = token
    return response.SerializeToString()


_of_job = partial(_sent, pb.WatchJobResponse)
_of_all = partial(_sent, pb.WatchJobsResponse)
