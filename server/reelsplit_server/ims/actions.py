"""The operations on jobs: from parameters to a use case, and from its result to an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import structlog

from reelsplit_server.access.callers import Caller
from reelsplit_server.app.buckets import Buckets
from reelsplit_server.app.callbacks import Callbacks
from reelsplit_server.app.job_reading import JobOutcome, JobQuery
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.media import MediaLibrary
from reelsplit_server.ims.errors import ImsError, invalid, missing
from reelsplit_server.ims.job_answers import JOB_TYPE, STATES, job_answer, job_row, piece
from reelsplit_server.ims.parameters import Parameters
from reelsplit_server.ims.spec import job_spec

log = structlog.get_logger(__name__)
Answer = dict[str, Any]
Action = Callable[[Caller, Parameters], Awaitable[Answer]]
_MOST_IDS = 100
_LARGE = 2**14
"""From how many characters on a spec is read in a thread, so that other calls need not wait."""
_MANY = 200
_MOST_PAGE_NO = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What the operations stand on. ``time_to_live`` is how long jobs of this face are kept."""

    jobs: Jobs
    media: MediaLibrary
    callbacks: Callbacks
    buckets: Buckets
    time_to_live: Fraction


class JobActions:
    """The operations on jobs."""

    def __init__(self, cases: UseCases) -> None:
        self._cases = cases

    @property
    def table(self) -> Mapping[str, Action]:
        """The operations by name."""
        return {
            "SubmitSegmentationJob": self.submit,
            "GetSmartHandleJob": self.get,
            "ListSmartJobs": self.find,
            "DeleteSmartJob": self.delete,
        }

    async def submit(self, caller: Caller, given: Parameters) -> Answer:
        """SubmitSegmentationJob."""
        cases = self._cases
        read = (given, cases.buckets, cases.time_to_live)
        large = len(given.text("JobParams", most=2**20) or "") > _LARGE
        spec = await asyncio.to_thread(job_spec, *read) if large else job_spec(*read)
        token = given.text("ClientToken", most=2**10) or ""
        job = await cases.jobs.submit(caller, token, spec)
        log.info("job_submitted", job_id=job.job_id, principal=caller.principal)
        return {"JobId": job.job_id}

    async def get(self, caller: Caller, given: Parameters) -> Answer:
        """GetSmartHandleJob."""
        job_id, buckets = given.required("JobId"), self._cases.buckets
        _check_id(job_id)
        found = await self._cases.jobs.outcome(caller, job_id)
        if len(found.segments) > _MANY:
            return await asyncio.to_thread(_outcome, found, buckets)
        return _outcome(found, buckets)

    async def find(self, caller: Caller, given: Parameters) -> Answer:
        """ListSmartJobs."""
        state = given.chosen("JobState", tuple(STATES))
        order = given.chosen("SortBy", ("CreationTime:Desc", "CreationTime:Asc"))
        types = given.listed("JobType", _MOST_IDS)
        most = given.whole("MaxResults", 0, 100)
        page_no = given.whole("PageNo", 1, _MOST_PAGE_NO)
        page_size = given.whole("PageSize", 1, 100)
        token = given.text("NextToken", most=2**12)
        size = most or page_size or 20
        # With a token, the number of a page says nothing more.
        skipped = (page_no - 1) * size if page_no is not None and token is None else 0
        query = JobQuery(
            page_size=size,
            page_token=token or "",
            skipped=skipped,
            states=STATES[state] if state else (),
            oldest_first=order == "CreationTime:Asc",
        )
        if types and JOB_TYPE not in types:
            # Jobs of other kinds are none of this server's.
            return {"SmartJobList": [], "NextToken": "", "MaxResults": str(size), "TotalCount": "0"}
        page = await self._cases.jobs.page(caller, query)
        return {
            "SmartJobList": [job_row(job, self._cases.buckets) for job in page.jobs],
            "NextToken": page.next_page_token,
            "MaxResults": str(size),
            "TotalCount": str(page.total_size),
        }

    async def delete(self, caller: Caller, given: Parameters) -> Answer:
        """DeleteSmartJob; those that run are cancelled first."""
        ids = given.listed("JobId", _MOST_IDS)
        if not ids:
            raise missing("JobId")
        # All or none: a wrong id among them is told before anything is gone.
        for job_id in ids:
            await self._known(caller, job_id)
        deleted = (
            self._cases.jobs.delete(
                caller, job_id, allow_missing=True, delete_outputs=False, force=True
            )
            for job_id in ids
        )
        await asyncio.gather(*deleted)
        return {}

    async def _known(self, caller: Caller, job_id: str) -> None:
        _check_id(job_id)
        await self._cases.jobs.deletable(caller, job_id)


def _outcome(found: JobOutcome, buckets: Buckets) -> Answer:
    pieces = [piece(segment, buckets) for segment in found.segments]
    return job_answer(found.job, pieces, found.cause, buckets)


def _check_id(job_id: str) -> None:
    """An id that no job can have is one that is not found, as any other."""
    if len(job_id) != 32 or not set(job_id) <= set("0123456789abcdef"):
        raise ImsError(404, "JobNotFound", f"There is no job {job_id[:64]} of this caller.")


def known_choice(name: str, value: str | None, taken: str, why: str) -> None:
    """Refuse every value of a parameter but one."""
    if value is not None and value != taken:
        raise invalid(name, f"takes only {taken}: {why}")
