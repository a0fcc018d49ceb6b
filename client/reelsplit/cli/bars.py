"""The live bars on a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from reelsplit.cli.failures import printable
from reelsplit.cli.rows import rows
from reelsplit.cli.runner import Outcome, Task
from reelsplit.cli.view import JobView
from reelsplit.types.event import JobEvent

_TOTAL = 1000
"""Steps of a bar."""


class Bars:
    """A reporter that draws bars while it is entered, and wipes them away at its end."""

    def __init__(self, console: Console, count: int) -> None:
        """For so many jobs."""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._bars: dict[tuple[int, str], TaskID] = {}
        self._count, self._ended = count, 0
        self._all: TaskID | None = None

    def __enter__(self) -> Bars:
        self._progress.start()
        if self._count > 1:
            self._all = self._progress.add_task(
                "all", total=self._count, note=f"0/{self._count} videos"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def event(self, task: Task, event: JobEvent, view: JobView) -> None:
        """Redraw the bars of one job."""
        wanted = {row.key: row for row in rows(view, printable(task.name))}
        for known in [bar for bar in self._bars if bar[0] == id(task)]:
            if known[1] not in wanted:
                self._progress.remove_task(self._bars.pop(known))
        for key, row in wanted.items():
            bar = self._bars.get((id(task), key))
            if bar is None:
                bar = self._progress.add_task(row.label, total=None, note=row.note)
                self._bars[id(task), key] = bar
            if row.fraction is not None:
                self._progress.update(
                    bar, total=_TOTAL, completed=row.fraction * _TOTAL, note=row.note
                )

    def ended(self, outcome: Outcome) -> None:
        """Take the bars of one job away."""
        for known in [bar for bar in self._bars if bar[0] == id(outcome.task)]:
            self._progress.remove_task(self._bars.pop(known))
        self._ended += 1
        if self._all is not None:
            self._progress.update(
                self._all, completed=self._ended, note=f"{self._ended}/{self._count} videos"
            )
