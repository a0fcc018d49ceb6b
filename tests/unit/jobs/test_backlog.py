"""The order of waiting jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.jobs.backlog import Backlog, Queued

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def queued(number: int, *, principal: str = "me", priority: int = 0) -> Queued:
    return Queued(
        job_id=f"{number:032x}",
        principal=principal,
        priority=priority,
        create_time=BEGIN + timedelta(seconds=number),
    )


def test_priority_goes_before_age() -> None:
    backlog = Backlog()
    for job in (queued(1), queued(2, priority=5), queued(0), queued(3, priority=-5)):
        backlog.add(job)
    assert [int(backlog.take("me").job_id, 16) for _ in range(4)] == [2, 0, 1, 3]
    assert not list(backlog.firsts())


def test_a_job_that_is_added_again_waits_once() -> None:
    backlog = Backlog()
    backlog.add(queued(1))
    backlog.add(queued(1))
    backlog.discard(queued(1).job_id)
    backlog.add(queued(1))
    assert len(backlog) == 1
    assert backlog.take("me") == queued(1)
    assert not list(backlog.firsts())


def test_jobs_that_were_taken_out_hold_no_memory() -> None:
    backlog = Backlog()
    backlog.add(queued(0))
    for number in range(1, 1000):
        backlog.add(queued(number))
        backlog.discard(queued(number).job_id)
    assert len(backlog) == 1
    assert len(backlog._heaps["me"]) < 50
    backlog.discard(queued(0).job_id)
    backlog.discard(queued(0).job_id)
    assert not backlog._heaps
    assert not backlog._counts


_STEPS = st.tuples(
    st.sampled_from(["add", "discard", "take"]),
    st.integers(0, 30),
    st.sampled_from(["me", "you"]),
    st.integers(-1, 1),
)


@given(st.lists(_STEPS, max_size=200))
def test_it_goes_as_a_sorted_list_does(steps: list[tuple[str, int, str, int]]) -> None:
    backlog, model = Backlog(), dict[str, Queued]()

    def in_order(principal: str) -> list[Queued]:
        own = [job for job in model.values() if job.principal == principal]
        return sorted(own, key=lambda job: (-job.priority, job.create_time, job.job_id))

    for step, number, principal, priority in steps:
        job = queued(number, principal=principal, priority=priority)
        if step == "add":
            backlog.add(job)
            model.setdefault(job.job_id, job)
        elif step == "discard":
            backlog.discard(job.job_id)
            model.pop(job.job_id, None)
        elif in_order(principal):
            taken = backlog.take(principal)
            assert taken == in_order(principal)[0]
            del model[taken.job_id]
        assert len(backlog) == len(model)
        firsts = {principal: place.job_id for principal, place in backlog.firsts()}
        assert firsts == {
            name: in_order(name)[0].job_id for name in ("me", "you") if in_order(name)
        }
