"""The states that a job and a segment may go through; the store allows no other."""

from __future__ import annotations

from collections.abc import Mapping

from reelsplit.types.job import JobState
from reelsplit.types.segment import SegmentState

JOB: Mapping[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    # A retry that the caller asked for puts the job back in the queue.
    JobState.FAILED: frozenset({JobState.PENDING}),
    JobState.CANCELLED: frozenset({JobState.PENDING}),
}

SEGMENT: Mapping[SegmentState, frozenset[SegmentState]] = {
    SegmentState.PLANNED: frozenset({SegmentState.RUNNING, SegmentState.FAILED}),
    # Back to PLANNED when the attempt was interrupted and will be made again.
    SegmentState.RUNNING: frozenset(
        {SegmentState.PUBLISHED, SegmentState.FAILED, SegmentState.PLANNED}
    ),
    SegmentState.PUBLISHED: frozenset(),
    SegmentState.FAILED: frozenset({SegmentState.PLANNED}),
}

ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""The states in which nothing happens to a job by itself."""


class TransitionError(Exception):
    """A change of state that is not allowed: a fault of the caller's logic, never of a user."""


def check_job(before: JobState, after: JobState) -> None:
    """Raise `TransitionError` unless a job may go from one state to the other."""
    if after not in JOB[before]:
        raise TransitionError(f"a job does not go from {before} to {after}")


def check_segment(before: SegmentState, after: SegmentState) -> None:
    """Raise `TransitionError` unless a segment may go from one state to the other."""
    if after not in SEGMENT[before]:
        raise TransitionError(f"a segment does not go from {before} to {after}")
