"""A job of an asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from reelsplit.aio_transport import AsyncEventStream
from reelsplit.types.job import Job
from reelsplit.types.record import Seconds
from reelsplit.types.segment import Segment, SegmentState

if TYPE_CHECKING:
    from reelsplit.aio import AsyncClient


class AsyncJobHandle:
    """One job of a client: the client's methods without the id."""

    def __init__(self, client: AsyncClient, job_id: str, job: Job | None = None) -> None:
        self._client = client
        self.job_id = job_id
        """The id of the job."""

        self.job = job
        """The job as it was when it was submitted; None for a job that was submitted before."""

    async def get(self) -> Job:
        """The job as it is now."""
        return await self._client.get(self.job_id)

    async def cancel(self) -> Job:
        """Stop the job; what it published stays."""
        return await self._client.cancel(self.job_id)

    async def delete(
        self, *, allow_missing: bool = False, delete_outputs: bool = False, force: bool = False
    ) -> int:
        """Forget the job, as `AsyncClient.delete` does."""
        return await self._client.delete(
            self.job_id, allow_missing=allow_missing, delete_outputs=delete_outputs, force=force
        )

    async def retry(self, *, client_token: str | None = None) -> Job:
        """Run what failed again; what was published stays."""
        return await self._client.retry(self.job_id, client_token=client_token)

    def segments(self, *, states: Sequence[SegmentState] = ()) -> AsyncIterator[Segment]:
        """The segments by index, as far as they are known."""
        return self._client.segments(self.job_id, states=states)

    def watch(
        self,
        *,
        resume_token: str = "",
        progress: bool = True,
        progress_interval: Seconds | None = None,
    ) -> AsyncEventStream:
        """The events until the end of the job, as `AsyncClient.watch` gives them."""
        return self._client.watch(
            self.job_id,
            resume_token=resume_token,
            progress=progress,
            progress_interval=progress_interval,
        )

    async def wait(self, *, timeout: float | None = None, check: bool = False) -> Job:
        """Wait for the end, as `AsyncClient.wait` does."""
        return await self._client.wait(self.job_id, timeout=timeout, check=check)

    async def result(self, *, timeout: float | None = None) -> Job:
        """Wait for success: the job, or JobFailedError."""
        return await self._client.wait(self.job_id, timeout=timeout, check=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_id!r})"
