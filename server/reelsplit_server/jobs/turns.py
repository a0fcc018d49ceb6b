"""Whose unit goes next."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping

from reelsplit_server.jobs.active import ActiveJob
from reelsplit_server.jobs.backlog import Backlog

_MOST_TURNS = 1000
"""Callers whose last turns are remembered while they have nothing to do."""
_Rank = tuple[int, int, int, int, float]


class Turns:
    """Chooses among the jobs that run and those of a ``backlog``, and remembers who had a turn.

    At most ``most_running`` jobs run at once, and ``most_running_of_one`` of each caller.
    """

    def __init__(
        self, backlog: Backlog, most_running: int | None, most_running_of_one: int | None
    ) -> None:
        self._backlog = backlog
        self._most_running = most_running or sys.maxsize
        self._most_running_of_one = most_running_of_one or sys.maxsize
        self._turn = 0
        self._turns: dict[str, int] = {}
        """When each caller had its last turn."""

    def choose(
        self, jobs: Mapping[str, ActiveJob], workers: Iterable[tuple[str, int]]
    ) -> ActiveJob | str | None:
        """The job whose unit goes next; or a caller, whose next waiting job is to be admitted.
        ``workers`` are those that are held, each by a unit of the job that stands first.

        Priority decides first; then which caller has the fewest units under way, and which had
        its last turn longest ago; then which job has the fewest under way; then age. Jobs that
        wait stand in the same order, so that none is admitted before a unit of it can begin.
        """
        # Units that need their workers no more do not count.
        busy = Counter(job_id for job_id, _ in workers)
        shares: Counter[str] = Counter()
        active: Counter[str] = Counter()
        for job_id, job in jobs.items():
            shares[job.record.principal] += busy[job_id]
            active[job.record.principal] += 1

        def rank(principal: str, priority: int, running: int, created: float) -> _Rank:
            turn = self._turns.get(principal, 0)
            return -priority, shares[principal], turn, running, created

        best: ActiveJob | str | None = None
        least: _Rank | None = None
        for job in jobs.values():
            if job.waiting and not job.ending:
                record = job.record
                created = record.create_time.timestamp()
                made = rank(
                    record.principal, record.spec.priority or 0, busy[record.job_id], created
                )
                if least is None or made < least:
                    best, least = job, made
        if len(jobs) >= self._most_running:
            return best
        for principal, (negative, created, _) in self._backlog.firsts():
            if active[principal] >= self._most_running_of_one:
                continue
            made = rank(principal, -negative, 0, created)
            if least is None or made < least:
                best, least = principal, made
        return best

    def had(self, principal: str, jobs: Mapping[str, ActiveJob]) -> None:
        """A caller had a turn. Those who have nothing to do are forgotten where they are many."""
        self._turn += 1
        self._turns[principal] = self._turn
        if len(self._turns) > _MOST_TURNS:
            working = {job.record.principal for job in jobs.values()}
            known = working | {name for name, _ in self._backlog.firsts()}
            self._turns = {name: turn for name, turn in self._turns.items() if name in known}
