"""A job of a blocking client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reelsplit.transport import EventStream
from reelsplit.types.job import Job
from reelsplit.types.record import Seconds
from reelsplit.types.segment import Segment, SegmentState

if TYPE_CHECKING:
    from reelsplit.client import Client


class JobHandle:
    """One job of a client: the client's methods without the id."""

    def __init__(self, client: Client, job_id: str, job: Job | None = None) -> None:
        self._client = client
        self.job_id = job_id
        """The id of the job."""

        self.job = job
        """The job as it was when it was submitted; None for a job that was submitted before."""

    def get(self) -> Job:
        """The job as it is now."""
        return self._client.get(self.job_id)

    def cancel(self) -> Job:
        """Stop the job; what it published stays."""
        return self._client.cancel(self.job_id)

    def delete(
        self, *, allow_missing: bool = False, delete_outputs: bool = False, force: bool = False
    ) -> int:
        """Forget the job, as `Client.delete` does."""
        return self._client.delete(
            self.job_id, allow_missing=allow_missing, delete_outputs=delete_outputs, force=force
        )

    def retry(self, *, client_token: str | None = None) -> Job:
        """Run what failed again; what was published stays."""
        return self._client.retry(self.job_id, client_token=client_token)

    def segments(self, *, states: Sequence[SegmentState] = ()) -> Iterator[Segment]:
        """The segments by index, as far as they are known."""
        return self._client.segments(self.job_id, states=states)

    def watch(
        self,
        *,
        resume_token: str = "",
        progress: bool = True,
        progress_interval: Seconds | None = None,
    ) -> EventStream:
        """The events until the end of the job, as `Client.watch` gives them."""
        return self._client.watch(
            self.job_id,
            resume_token=resume_token,
            progress=progress,
            progress_interval=progress_interval,
        )

    def wait(self, *, timeout: float | None = None, check: bool = False) -> Job:
        """Wait for the end, as `Client.wait` does."""
        return self._client.wait(self.job_id, timeout=timeout, check=check)

    def result(self, *, timeout: float | None = None) -> Job:
        """Wait for success: the job, or JobFailedError."""
        return self._client.wait(self.job_id, timeout=timeout, check=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_id!r})"
