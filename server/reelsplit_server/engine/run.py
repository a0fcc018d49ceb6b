"""A unit under way in a worker: what is heard of it, and how it is given up."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from dataclasses import dataclass

from reelsplit_server.engine.desk import Desk
from reelsplit_server.engine.seam import (
    Account,
    Analyse,
    Failed,
    OnReport,
    Outcome,
    PlanDone,
    Probe,
    Scan,
    ScanDone,
    Unit,
)
from reelsplit_server.engine.vitals import Vital
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Refused
from reelsplit_server.work.asks import Answer, Ask, Beat, Said

PARTING = 5.0
"""How long a worker that hung up may take to end, and one that ended to hang up, in seconds."""
_FINISHING = 1.0
"""How long a stopped unit is waited for whose segment is appearing just then, in seconds."""
_MOST_TEXT, _MOST_FACTS = 2000, 16


@dataclass(slots=True)
class Run:
    """A unit under way: who hears its reports, and how it ended as far as it said."""

    secret: str
    unit: Unit
    desk: Desk
    on_report: OnReport
    silent: asyncio.Future[None]
    """Done when all that the worker said is heard."""
    writer: asyncio.StreamWriter | None = None
    """The connection, once it has come about; before that a worker says and does nothing."""
    vital: Vital | None = None
    """How its worker is, once it was given to one."""
    outcome: Outcome | None = None
    failure: BaseException | None = None
    accounted: bool = False
    answering: asyncio.Task[Answer | None] | None = None

    async def hear(self, said: Said) -> Answer | None:
        """Keep what was reported, or do what was asked for."""
        if isinstance(said, Beat):
            return None
        if isinstance(said, Ask):
            return await self._answer(said)
        if isinstance(said, PlanDone) and not isinstance(self.unit, Analyse | Probe):
            raise ValueError("only what opens a source to look at it ends so")
        if isinstance(said, ScanDone) and not isinstance(self.unit, Scan):
            raise ValueError("only a scan ends as one")
        if isinstance(said, Account):
            if self.accounted:
                raise ValueError("a unit accounts for itself once")
            self.accounted = True
        if isinstance(said, Failed):
            said = _bounded(said)
        if isinstance(said, PlanDone | ScanDone | Failed):
            self.outcome = said
        await self.on_report(said)
        return None

    async def _answer(self, ask: Ask) -> Answer | None:
        self.answering = asyncio.create_task(self.desk.answer(ask))
        try:
            await asyncio.wait([self.answering])
            return None if self.answering.cancelled() else self.answering.result()
        except StorageError as error:
            return Refused(
                reason=error.reason,
                message=error.message,
                metadata=error.metadata,
                transient=error.transient,
            )
        finally:
            self.answering = None

    async def give_up(self) -> None:
        """See to it that nothing of the unit appears any more."""
        if self.desk.finishing and self.answering is not None:
            await asyncio.wait([self.answering], timeout=_FINISHING)
        self.desk.given_up = True
        if self.answering is not None:
            # Stores may take long to answer; what was reported is kept to its end.
            self.answering.cancel()

    async def hang_up(self, patience: float = PARTING) -> None:
        """End the connection, if its end does not come by itself within some seconds; what came
        before is heard. A worker that was taken over can have left it to another process."""
        if self.writer is not None:
            await asyncio.wait([self.silent], timeout=patience)
            self.writer.transport.abort()


def _bounded(failed: Failed) -> Failed:
    """A failure as callers may see it: one that a hostile file has made up may be of any size."""
    error = failed.error
    facts = itertools.islice(error.metadata.items(), _MOST_FACTS)
    cut = dataclasses.replace(
        error,
        reason=error.reason[:64],
        message=error.message[:_MOST_TEXT],
        metadata={key[:64]: value[:_MOST_TEXT] for key, value in facts},
    )
    return dataclasses.replace(failed, error=cut)
