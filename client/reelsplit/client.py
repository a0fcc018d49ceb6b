"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from reelsplit import calls, errors
from reelsplit.calls import Json
from reelsplit.channel import DEFAULT_TARGET, TLS, endpoint
from reelsplit.handle import JobHandle
from reelsplit.modes import Mode
from reelsplit.pages import JobOrder, JobPage
from reelsplit.retry import RetryPolicy
from reelsplit.transport import EventStream, Transport
from reelsplit.types.job import Job, JobState
from reelsplit.types.media import Media, MediaState
from reelsplit.types.output import Output
from reelsplit.types.record import Seconds
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import Input, JobSpec, ReportKind, ReportOptions
from reelsplit.watching import TERMINAL, Plan


class Client:
    """Talks to a Reelsplit server.

    Threads may share one. Nothing is sent before the first call, so a server that cannot be
    reached shows there. Every call is repeated where that is safe and may help, within
    ``timeout`` seconds in all; watches have no timeout, and resume by themselves.

    ``target`` is ``host:port``, or ``unix:path``. ``token`` is sent with every call; over a
    network it needs ``tls``, unless ``allow_insecure_token`` says that the network is trusted.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        token: str | None = None,
        tls: TLS | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        allow_insecure_token: bool = False,
    ) -> None:
        where = endpoint(target, token=token, tls=tls, allow_insecure_token=allow_insecure_token)
        self._transport = Transport(where, timeout, retry or RetryPolicy())

    def submit(
        self,
        input: str | Input,
        mode: Mode,
        output: str | Output | None = None,
        *,
        client_token: str | None = None,
        reports: Sequence[ReportKind] | ReportOptions | None = None,
        user_data: Json = None,
        notify_url: str | None = None,
        notify_segments: bool = False,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        timeout: Seconds | None = None,
        segment_timeout: Seconds | None = None,
        time_to_live: Seconds | None = None,
        fail_fast: bool = False,
    ) -> JobHandle:
        """Submit a job, which the server accepts at once and works on by itself.

        ``input`` is a location that the server reads, not a file of this machine; ``output`` a
        location with ``{index}``. Without an output the segments are only found. The times are
        the job's, in seconds. ``user_data`` is at most 512 bytes: a string is taken as JSON
        already, anything else is written as JSON. ``notify_url`` is called at the end of the job,
        and with ``notify_segments`` also for each segment that is published.

        A job is made once, however often this call is repeated inside. To be able to repeat it
        after a crash of your own, pass a ``client_token`` that you keep.
        """
        spec = calls.spec(
            input,
            mode,
            output,
            reports=reports,
            user_data=user_data,
            notify_url=notify_url,
            notify_segments=notify_segments,
            labels=labels,
            priority=priority,
            timeout=timeout,
            segment_timeout=segment_timeout,
            time_to_live=time_to_live,
            fail_fast=fail_fast,
        )
        return self.submit_spec(spec, client_token=client_token)

    def submit_spec(self, spec: JobSpec, *, client_token: str | None = None) -> JobHandle:
        """Submit a job from a spec, such as that of an earlier job."""
        job = self._transport.invoke(calls.submit(spec, client_token))
        return JobHandle(self, job.job_id, job)

    def job(self, job_id: str) -> JobHandle:
        """A handle of a job that was submitted before. Asks the server nothing."""
        return JobHandle(self, job_id)

    def get(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._transport.invoke(calls.get(job_id))

    def list(
        self,
        *,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] | None = None,
        create_time_from: datetime | None = None,
        create_time_until: datetime | None = None,
        order: JobOrder | None = None,
        page_size: int | None = None,
    ) -> Iterator[Job]:
        """The caller's jobs, the newest first, fetched page by page as they are iterated over.

        ``states`` are alternatives, ``labels`` must all be there; times must carry a time zone.
        """
        token = ""
        while True:
            page = self.list_page(
                states=states,
                labels=labels,
                create_time_from=create_time_from,
                create_time_until=create_time_until,
                order=order,
                page_size=page_size,
                page_token=token,
            )
            yield from page.jobs
            token = page.next_page_token
            if not token:
                return

    def list_page(
        self,
        *,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] | None = None,
        create_time_from: datetime | None = None,
        create_time_until: datetime | None = None,
        order: JobOrder | None = None,
        page_size: int | None = None,
        page_token: str = "",
    ) -> JobPage:
        """One page of the caller's jobs, with the number of all and the token to watch from.

        The token of a page belongs to the same filter and order.
        """
        return self._transport.invoke(
            calls.list_jobs(
                states=states,
                labels=labels,
                create_time_from=create_time_from,
                create_time_until=create_time_until,
                order=order,
                page_size=page_size,
                page_token=page_token,
            )
        )

    def cancel(self, job_id: str) -> Job:
        """Stop a job; what it published stays. The answer may still be CANCELLING."""
        return self._transport.invoke(calls.cancel(job_id))

    def delete(
        self,
        job_id: str,
        *,
        allow_missing: bool = False,
        delete_outputs: bool = False,
        force: bool = False,
    ) -> int:
        """Forget a job that has ended, or any with ``force``; ``delete_outputs`` deletes what it
        published as well. Answers how many objects were deleted: 0 where a repeated call finds
        the job already gone.
        """
        return self._transport.invoke(
            calls.delete(
                job_id, allow_missing=allow_missing, delete_outputs=delete_outputs, force=force
            )
        )

    def retry(self, job_id: str, *, client_token: str | None = None) -> Job:
        """Run what failed of a job again; what it published stays."""
        return self._transport.invoke(calls.retry(job_id, client_token))

    def segments(self, job_id: str, *, states: Sequence[SegmentState] = ()) -> Iterator[Segment]:
        """The segments of a job by index, as far as they are known."""
        token = ""
        while True:
            page = self._transport.invoke(calls.segments(job_id, states=states, page_token=token))
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def watch(
        self,
        job_id: str,
        *,
        resume_token: str = "",
        progress: bool = True,
        progress_interval: Seconds | None = None,
    ) -> EventStream:
        """The events of a job until its end, from its first or behind ``resume_token``.

        Each numbered event comes once and in order, however often the connection breaks. A
        server that cannot be reached for longer than the policy's ``max_outage`` ends it with
        UnavailableError; resume from the last event's token. A job that failed ends it as well,
        without an exception.
        """
        return EventStream(
            self._transport,
            Plan(
                job_id=job_id,
                resume_token=resume_token,
                progress=progress,
                progress_interval=progress_interval,
            ),
        )

    def watch_jobs(
        self,
        *,
        resume_token: str = "",
        labels: Mapping[str, str] | None = None,
        progress: bool = False,
    ) -> EventStream:
        """The events of all the caller's jobs, without end, from now or behind a token.

        To miss nothing, take the ``watch_token`` of ``list_page``. Events come in the order of
        each job. OutOfRangeError: the token is too old; list again.
        """
        return EventStream(
            self._transport,
            Plan(resume_token=resume_token, progress=progress, labels=dict(labels or {})),
        )

    def wait(self, job_id: str, *, timeout: float | None = None, check: bool = False) -> Job:
        """Wait for the end of a job. With ``check``, JobFailedError if it did not succeed.

        DeadlineExceededError after ``timeout`` seconds; the job then goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        job = self._transport.invoke(calls.get(job_id), timeout)
        if job.state not in TERMINAL:
            plan = Plan(job_id=job_id, progress=False)
            with EventStream(self._transport, plan, deadline) as events:
                for _ in events:
                    pass
            job = self.get(job_id)
        if check and job.state in (JobState.FAILED, JobState.CANCELLED):
            raise errors.JobFailedError(job)
        return job

    def register_media(
        self,
        uri: str,
        *,
        client_token: str | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        user_data: Json = None,
    ) -> Media:
        """Register a location as a media asset, whose id can be the input of jobs. Its facts
        follow later."""
        return self._transport.invoke(
            calls.register_media(
                uri, client_token=client_token, title=title, labels=labels, user_data=user_data
            )
        )

    def get_media(self, media_id: str | None = None, *, uri: str | None = None) -> Media:
        """A media asset by its id or its location; exactly one of them."""
        return self._transport.invoke(calls.get_media(media_id, uri))

    def list_media(
        self,
        *,
        states: Sequence[MediaState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int | None = None,
    ) -> Iterator[Media]:
        """The caller's media assets, the newest first, fetched page by page."""
        token = ""
        while True:
            page = self._transport.invoke(
                calls.list_media(
                    states=states, labels=labels, page_size=page_size, page_token=token
                )
            )
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def delete_media(
        self, media_id: str, *, allow_missing: bool = False, delete_file: bool = False
    ) -> None:
        """Forget a media asset; ``delete_file`` deletes what lies at its location as well."""
        self._transport.invoke(
            calls.delete_media(media_id, allow_missing=allow_missing, delete_file=delete_file)
        )

    def close(self) -> None:
        """Close the connection, and end the calls and watches on it."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.endpoint.target!r})"
