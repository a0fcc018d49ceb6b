"""Chooses how a run is shown: bars, plain lines, JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from reelsplit.cli import json_lines
from reelsplit.cli.failures import Failure, printable
from reelsplit.cli.runner import Outcome, Reporter, Task
from reelsplit.cli.times import format_time
from reelsplit.cli.view import JobView
from reelsplit.types.event import JobEvent, PlanCompleted, SegmentChanged, SourceOpened
from reelsplit.types.segment import Segment, SegmentState

_STEP = 10
"""Percent between two plain lines."""
_FAILURES_SHOWN = 20


class JsonLines:
    """One line an event, and one at the end of each job."""

    def __init__(self, last: Callable[[Outcome], dict[str, Any]]) -> None:
        self._last = last

    def event(self, task: Task, event: JobEvent, view: JobView) -> None:
        """Print it."""
        json_lines.emit(json_lines.event(event))

    def ended(self, outcome: Outcome) -> None:
        """Print the job's last line."""
        json_lines.emit(self._last(outcome))


class PlainLines:
    """A few lines for what is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[Task, int] = {}

    def event(self, task: Task, event: JobEvent, view: JobView) -> None:
        """Tell what is worth a line."""
        match event.event:
            case SourceOpened(source=source) if source is not None:
                video = source.video
                size = f", {video.codec} {video.width}x{video.height}" if video else ""
                self._tell(task, f"{format_time(source.duration)}{size}")
            case PlanCompleted(segment_count=count):
                self._tell(task, f"{count} segment{'' if count == 1 else 's'}")
            case SegmentChanged(segment=Segment(state=SegmentState.FAILED) as segment):
                if view.count(SegmentState.FAILED) <= _FAILURES_SHOWN:
                    self._tell(task, f"segment {segment.index} failed: {_why(segment)}")
            case _:
                step = int(view.percent // _STEP) * _STEP
                if step > self._told.setdefault(task, 0):
                    self._told[task] = step
                    self._tell(task, f"{step}%")

    def ended(self, outcome: Outcome) -> None:
        """Nothing: the table tells it."""

    def _tell(self, task: Task, text: str) -> None:
        self._stream.write(f"{printable(task.name)}: {printable(text)}\n")
        self._stream.flush()


class Both:
    """Several reporters as one."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def event(self, task: Task, event: JobEvent, view: JobView) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.event(task, event, view)

    def ended(self, outcome: Outcome) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.ended(outcome)


@contextlib.contextmanager
def reporter(count: int, last: Callable[[Outcome], dict[str, Any]] | None) -> Iterator[Reporter]:
    """How `count` jobs are shown: with `last` as JSON, and by bars where they disturb nothing."""
    chosen: list[Reporter] = [JsonLines(last)] if last is not None else []
    if sys.stderr.isatty() and not (last is not None and sys.stdout.isatty()):
        from rich.console import Console

        from reelsplit.cli.bars import Bars

        with Bars(Console(stderr=True), count) as bars:
            yield Both([*chosen, bars])
        return
    if last is None:
        chosen.append(PlainLines(sys.stderr))
    yield Both(chosen)


def tell(failure: Failure, name: str = "") -> None:
    """Say on stderr what failed."""
    first, *rest = failure.lines()
    prefix = f"reelsplit: {printable(name)}: " if name else "reelsplit: "
    print(prefix + printable(first), *map(printable, rest), sep="\n", file=sys.stderr)


def _why(segment: Segment) -> str:
    return segment.error.message or segment.error.reason if segment.error else "no reason given"
