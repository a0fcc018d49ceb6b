"""How long the oldest job waits, also as the next server sees it."""

from __future__ import annotations

from datetime import timedelta

from reelsplit import JobState
from reelsplit_server.jobs.census import Census
from reelsplit_server.metrics import REGISTRY
from tests.unit.jobs.keeping import Kept

HOUR = timedelta(hours=1)


def _age() -> float | None:
    return REGISTRY.get_sample_value("reelsplit_queue_age_seconds")


async def test_a_job_that_was_retried_waits_since_then(keep: Kept) -> None:
    store = keep.store
    retried = await keep.add()
    await store.change_job(retried.job_id, JobState.CANCELLED, expire=timedelta(days=1))
    keep.clock.turn(HOUR)
    fresh = await keep.add()
    keep.clock.turn(HOUR)
    await store.retry(retried.job_id, "again")
    keep.clock.turn(HOUR)
    census = Census(lambda: keep.clock.now)
    await census.open(keep.database)
    assert _age() == 2 * 3600
    keep.commits.clear()
    await store.change_job(fresh.job_id, JobState.RUNNING)
    census.committed(event for commit in keep.commits for event in commit)
    assert _age() == 3600
