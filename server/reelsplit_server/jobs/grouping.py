"""Which segments of a job one worker had better make together."""

from __future__ import annotations

from collections.abc import Iterable

from reelsplit.types.output import CutMode
from reelsplit_server.jobs.active import ANALYSIS, ActiveJob

MOST = 4
"""Segments that are made together, at most: what fails takes the others with it."""


def together(job: ActiveJob, slots: int) -> list[int]:
    """Take the next of the units that wait, and those behind it that decode the same pictures:
    segments that follow each other or overlap, and are encoded. Others are left for as many
    workers as there are, and no more than two segments are being written at a time."""
    waiting = job.waiting
    taken = [waiting.popleft()]
    spec = job.record.spec
    encodes = spec.output is not None and spec.output.cut_mode is CutMode.ENCODE
    if taken[0] <= ANALYSIS or not encodes:
        return taken
    most = min(MOST, (len(waiting) + 1) // slots)
    while waiting and len(taken) < most and _joins(job, taken, waiting[0]):
        taken.append(waiting.popleft())
    return taken


def _joins(job: ActiveJob, taken: list[int], key: int) -> bool:
    # One that was tried before may be what ended its worker.
    if key not in job.spans or _tried(job, [*taken, key]):
        return False
    start, end = job.spans[key]
    before, until = job.spans[taken[-1]]
    if not (before <= start <= until <= end):
        return False
    return len(taken) < 2 or job.spans[taken[-2]][1] <= start


def _tried(job: ActiveJob, keys: Iterable[int]) -> bool:
    return any(job.tries.get(key) for key in keys)
