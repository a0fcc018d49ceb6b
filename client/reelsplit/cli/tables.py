"""What a person gets to read on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reelsplit.cli.failures import printable
from reelsplit.cli.times import format_time
from reelsplit.types.job import Job
from reelsplit.types.media import Media
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import FixedInterval, JobSpec, ShotDetection, UserDefined

_UNBOUND = 100_000
"""Columns where no terminal sets a width: every row stays one line."""


def console() -> Console:
    """stdout; what is piped is not wrapped."""
    return Console() if sys.stdout.isatty() else Console(width=_UNBOUND)


def show(table: Table) -> None:
    """Print it."""
    console().print(table)


def segments(items: Sequence[Segment], title: str = "") -> Table:
    """What became of each segment."""
    table = _table(title, "Index", "Start", "End", "Duration", "Frames", "Size")
    for name in ("State", "Location"):
        table.add_column(name, overflow="fold")
    for item in items:
        start, end = _bounds(item)
        _row(
            table,
            str(item.index),
            start,
            end,
            format_time(item.duration),
            str(item.frame_count or ""),
            _size(item.size_bytes),
            _state(item),
            item.uri,
        )
    return table


def shots(items: Sequence[Segment], title: str = "") -> Table:
    """The shots that were found."""
    table = _table(title, "Shot", "Start", "End", "First frame", "End frame")
    table.add_column("Transition")
    table.add_column("Confidence", justify="right")
    for item in items:
        start, end = _bounds(item)
        bounds, transition = item.bounds, item.transition
        _row(
            table,
            str(item.index),
            start,
            end,
            str(bounds.start_frame) if bounds else "",
            str(bounds.end_frame) if bounds else "",
            transition.type.name.lower() if transition else "",
            f"{transition.confidence:.2f}"
            if transition is not None and transition.confidence is not None
            else "",
        )
    return table


def show_reports(item: Job | None) -> None:
    """Print which reports a job has written, where it has."""
    if item is None or not item.reports:
        return
    table = _table("")
    for name in ("Report", "Size", "Location"):
        table.add_column(name, overflow="fold", justify="right" if name == "Size" else "left")
    for report in item.reports:
        _row(table, report.kind.name.lower(), _size(report.size_bytes), report.uri)
    show(table)


def jobs(items: Sequence[Job]) -> Table:
    """A list of jobs."""
    table = Table()
    for name in ("Job", "State", "Percent", "Segments", "Submitted", "Source"):
        table.add_column(name, overflow="fold", no_wrap=name == "Job")
    for item in items:
        progress = item.progress
        _row(
            table,
            item.job_id,
            item.state.value,
            f"{progress.percent:.0f}%" if progress else "",
            f"{progress.published_count}/{progress.segment_count}" if progress else "",
            _moment(item.create_time),
            _source(item.spec),
        )
    return table


def job(item: Job) -> Table:
    """One job, a fact a line."""
    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    progress, spec, source = item.progress, item.spec, item.source
    facts = [
        ("Job", item.job_id),
        ("State", item.state.value),
        ("Error", f"{item.error.message} ({item.error.reason})" if item.error else ""),
        ("Source", _source(spec)),
        ("Duration", format_time(source.duration) if source else ""),
        ("Mode", _mode(spec)),
        ("Output", spec.output.uri_template if spec and spec.output else ""),
        ("Percent", f"{progress.percent:.1f}" if progress else ""),
        ("Segments", _counts(item)),
        ("Labels", ", ".join(f"{k}={v}" for k, v in spec.labels.items()) if spec else ""),
        ("Attempt", str(item.attempt)),
        ("Submitted", _moment(item.create_time)),
        ("Started", _moment(item.start_time)),
        ("Ended", _moment(item.end_time)),
        ("Kept until", _moment(item.expire_time)),
        *(("Report", report.uri) for report in item.reports),
        *(("Notice", notice.message) for notice in item.notices),
    ]
    for name, value in facts:
        if value:
            _row(table, name, value)
    return table


def media_list(items: Sequence[Media]) -> Table:
    """A list of media assets."""
    table = Table()
    for name in ("Media", "State", "Duration", "Title", "Registered", "Location"):
        table.add_column(name, overflow="fold", no_wrap=name == "Media")
    for item in items:
        _row(
            table,
            item.media_id,
            item.state.value,
            format_time(item.source.duration) if item.source else "",
            item.title,
            _moment(item.create_time),
            item.uri,
        )
    return table


def media(item: Media) -> Table:
    """One media asset, a fact a line."""
    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    source = item.source
    video = source.video if source is not None else None
    facts = [
        ("Media", item.media_id),
        ("State", item.state.value),
        ("Error", f"{item.error.message} ({item.error.reason})" if item.error else ""),
        ("Location", item.uri),
        ("Title", item.title),
        ("Container", source.container if source else ""),
        ("Duration", format_time(source.duration) if source else ""),
        ("Size", _size(source.size_bytes) if source else ""),
        ("Video", f"{video.codec} {video.width}x{video.height}" if video else ""),
        ("Audio", ", ".join(track.codec for track in source.audio) if source else ""),
        ("Labels", ", ".join(f"{k}={v}" for k, v in item.labels.items())),
        ("Job", item.job_id),
        ("Registered", _moment(item.create_time)),
    ]
    for name, value in facts:
        if value:
            _row(table, name, value)
    return table


def _table(title: str, *numbers: str) -> Table:
    table = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _row(table: Table, *cells: str) -> None:
    # Text, not markup: names of files may hold brackets.
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _bounds(item: Segment) -> tuple[str, str]:
    where = item.bounds or item.requested
    return (format_time(where.start_offset), format_time(where.end_offset)) if where else ("", "")


def _state(item: Segment) -> str:
    if item.state is SegmentState.FAILED and item.error is not None:
        return f"FAILED {item.error.reason}"
    if item.notices:
        return f"{item.state.value} {' '.join(notice.code for notice in item.notices)}"
    return item.state.value


def _size(count: int) -> str:
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    if not count:
        return ""
    return f"{count} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _moment(when: datetime | None) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S") if when else ""


def _source(spec: JobSpec | None) -> str:
    return (spec.input.uri or spec.input.media_id or "") if spec else ""


def _mode(spec: JobSpec | None) -> str:
    match spec.mode if spec else None:
        case UserDefined() as mode:
            return f"{len(mode.ranges)} range{'' if len(mode.ranges) == 1 else 's'}"
        case FixedInterval() as mode:
            return f"every {format_time(mode.interval)}"
        case ShotDetection() as mode:
            return f"shots ({type(mode.detector).__name__})" if mode.detector else "shots"
        case _:
            return ""


def _counts(item: Job) -> str:
    progress = item.progress
    if progress is None:
        return ""
    failed = f", {progress.failed_count} failed" if progress.failed_count else ""
    return f"{progress.published_count} of {progress.segment_count} published{failed}"
