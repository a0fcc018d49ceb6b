"""One unit on the engine: what came of it, and whether it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import structlog

from reelsplit_server.engine import seam
from reelsplit_server.jobs.active import ActiveJob
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.failures import store_unavailable, too_late, worker_died
from reelsplit_server.jobs.observed import Observed

log = structlog.get_logger(__name__)
_MOST_DELAY = 30.0
_MOST_LATE = 2
"""How often a unit is tried that takes too long."""


class Tries:
    """Runs units, each ``most`` times at the most."""

    def __init__(self, engine: seam.Engine, most: int, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._most = most
        self._clock = clock

    async def run(
        self,
        job: ActiveJob,
        key: int,
        unit: seam.Analyse | seam.Render | seam.Scan,
        on_report: seam.OnReport,
        timeout: Fraction | float | None = None,
        party: seam.Party | None = None,
        place: int = 0,
    ) -> seam.Outcome | None:
        """Do a unit. None when it failed and will be tried again."""
        tries = job.tries[key] = job.tries.get(key, 0) + 1
        with Observed(unit, job.record, tries) as observed:
            hear = observed.hearing(on_report)
            return await self._try(
                job, key, observed, hear, timeout, party or seam.Party(), place, tries
            )

    async def _try(
        self,
        job: ActiveJob,
        key: int,
        observed: Observed,
        on_report: seam.OnReport,
        timeout: Fraction | float | None,
        party: seam.Party,
        place: int,
        tries: int,
    ) -> seam.Outcome | None:
        unit, started = observed.unit, self._clock()
        # Those before it in the party are made first.
        limit = float(timeout) * (place + 1) if timeout is not None else None
        try:
            outcome = await self._engine.run(
                unit, on_report, timeout=limit, party=party, place=place
            )
        except seam.WorkerDiedError as error:
            log.warning(
                "worker_died",
                job_id=unit.job_id,
                unit=unit.label,
                tries=tries,
                end=error.end.name,
                error=str(error),
            )
            observed.died(error)
            outcome = seam.Failed(error=worker_died(error, tries), transient=True)
        except TimeoutError:
            # The machine may just have been busy; but what is too slow is so every time.
            log.warning("unit_too_late", job_id=unit.job_id, unit=unit.label, tries=tries)
            observed.late()
            late = too_late("segment", timeout)
            outcome = seam.Failed(error=late, transient=tries < _MOST_LATE)
        except StoreUnavailableError:
            # What the worker reported could not be kept.
            outcome = seam.Failed(error=store_unavailable(), transient=True)
        log.info(
            "unit_done",
            job_id=unit.job_id,
            unit=unit.label,
            seconds=round(self._clock() - started, 3),
            failed=isinstance(outcome, seam.Failed),
        )
        again = isinstance(outcome, seam.Failed) and outcome.transient
        again = again and tries < self._most and not job.ending
        observed.ended(outcome, again=again)
        if again:
            job.again[key] = min(_MOST_DELAY, 0.5 * 2.0**tries)
            return None
        return outcome
