"""The seam between jobs and what runs their units: all that the scheduler knows of an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from reelsplit.types.error import Error
from reelsplit_server.engine.party import Party
from reelsplit_server.work.units import (
    Account,
    Analyse,
    Failed,
    Opened,
    Outcome,
    PlanDone,
    Planned,
    Probe,
    Progress,
    Published,
    PublishedReport,
    Publishing,
    PublishingReport,
    Render,
    Report,
    Scan,
    ScanDone,
    Sharing,
    Target,
    Unit,
)

__all__ = [
    "Account",
    "Analyse",
    "End",
    "Engine",
    "Failed",
    "OnReport",
    "Opened",
    "Outcome",
    "Party",
    "PlanDone",
    "Planned",
    "Probe",
    "Progress",
    "Published",
    "PublishedReport",
    "Publishing",
    "PublishingReport",
    "RemoveError",
    "Render",
    "Report",
    "Scan",
    "ScanDone",
    "Sharing",
    "Target",
    "Unit",
    "WorkerDiedError",
]

OnReport = Callable[[Report], Awaitable[None]]


class End(Enum):
    """How a worker ended before its unit did."""

    DIED = auto()
    STALLED = auto()
    """It was ended, since it showed no sign of life for too long."""
    OUT_OF_MEMORY = auto()
    """It was ended, since it held too much memory."""


class WorkerDiedError(Exception):
    """The process that did a unit ended before the unit did.

    ``signal`` names what killed it, such as ``SIGSEGV``; ``limit`` is what it went beyond: the
    seconds of its silence, or the bytes of its memory.
    """

    def __init__(
        self,
        text: str,
        *,
        end: End = End.DIED,
        signal: str | None = None,
        limit: float | None = None,
    ) -> None:
        super().__init__(text)
        self.end = end
        self.signal = signal
        self.limit = limit


class RemoveError(Exception):
    """What a job published could not all be deleted."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


class Engine(Protocol):
    """Runs units of work, each in a process apart from the server's."""

    @property
    def slots(self) -> int:
        """How many units run at the same time."""

    async def start(self) -> None:
        """Be ready for units."""

    async def stop(self) -> None:
        """End all that runs, at once."""

    async def run(
        self,
        unit: Unit,
        on_report: OnReport,
        *,
        timeout: float | None,
        party: Party | None = None,
        place: int = 0,
    ) -> Outcome:
        """Do a unit. ``on_report`` is awaited for each report before the next is taken, and
        before anything that is published can be seen.

        The units of a ``party`` take one slot together: one worker does them by their ``place``,
        and decodes once what several want. The end of one may be the end of its worker, and so
        of all.

        Raises `WorkerDiedError`, or `TimeoutError` after ``timeout`` seconds. Cancelling stops
        the worker, and returns when it has gone, within seconds even where a store hangs; a unit
        whose segment is appearing just then ends with `Published` all the same.
        """

    async def remove(self, targets: Sequence[Target]) -> int:
        """Delete what a job published, where nothing else has replaced it; answers how many
        objects there were. Raises `RemoveError`."""

    def abandon(self, units: Sequence[Unit]) -> Awaitable[object]:
        """Begin to clear up what a server that is gone left of some units, whose intents say what
        may have appeared. Raises nothing, and waits for no store; what it answers is done when it
        is cleared up, and need not be waited for."""
