"""The seam between jobs and what runs their units: all that the scheduler knows of an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from reelsplit_server.work.units import (
    Access,
    Analyse,
    Failed,
    Opened,
    Outcome,
    PlanDone,
    Planned,
    Progress,
    Published,
    Publishing,
    Remove,
    Removed,
    Render,
    Report,
    Unit,
)

__all__ = [
    "Access",
    "Analyse",
    "Engine",
    "Failed",
    "OnReport",
    "Opened",
    "Outcome",
    "PlanDone",
    "Planned",
    "Progress",
    "Published",
    "Publishing",
    "Remove",
    "Removed",
    "Render",
    "Report",
    "Unit",
    "WorkerDiedError",
]

OnReport = Callable[[Report], Awaitable[None]]


class WorkerDiedError(Exception):
    """The process that did a unit ended before the unit did."""


class Engine(Protocol):
    """Runs units of work, each in a process apart from the server's."""

    @property
    def slots(self) -> int:
        """How many units run at the same time."""

    async def start(self) -> None:
        """Be ready for units."""

    async def stop(self) -> None:
        """End all that runs, at once."""

    async def run(self, unit: Unit, on_report: OnReport, *, timeout: float | None) -> Outcome:
        """Do a unit. ``on_report`` is awaited for each report before the next is taken, and
        before a worker that asked is allowed to publish.

        Raises `WorkerDiedError`, or `TimeoutError` after ``timeout`` seconds. Cancelling stops
        the worker, and returns when it has gone.
        """
