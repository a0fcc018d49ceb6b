"""What the bars show of a job. Pure: rich draws it elsewhere."""

from __future__ import annotations

import dataclasses

from reelsplit.cli.times import format_time
from reelsplit.cli.view import JobView
from reelsplit.types.job import JobState
from reelsplit.types.segment import SegmentState

SEGMENTS_SHOWN = 8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One bar."""

    key: str
    """The same as long as it is the same bar: `job`, `analysis`, or the segment's index."""
    label: str
    fraction: float | None
    """0 to 1; None while it cannot be told."""
    note: str = ""


def rows(view: JobView, name: str) -> list[Row]:
    """The bars of one job: the whole, the analysis while it lasts, and what is being made."""
    found = [Row(key="job", label=name, fraction=view.percent / 100, note=_overall(view))]
    if view.state is JobState.PENDING:
        return [dataclasses.replace(found[0], fraction=None)]
    if view.ended:
        return found
    if 0 < view.analysed < 1 or view.analysis_rate > 0:
        found.append(
            Row(
                key="analysis",
                label="  analysis",
                fraction=min(view.analysed, 1.0),
                note=_rate(view.analysis_rate),
            )
        )
    for index in sorted(view.running)[:SEGMENTS_SHOWN]:
        item = view.running[index]
        found.append(
            Row(
                key=str(index),
                label=f"  segment {index}",
                fraction=min(item.fraction, 1.0),
                note=_rate(item.frames_per_second),
            )
        )
    hidden = len(view.running) - SEGMENTS_SHOWN
    if hidden > 0:
        found[-1] = dataclasses.replace(
            found[-1], note=", ".join(filter(None, (found[-1].note, f"and {hidden} more running")))
        )
    return found


def _overall(view: JobView) -> str:
    if view.state in (JobState.PENDING, JobState.UNSPECIFIED):
        return "waiting"
    done, known = view.count(SegmentState.PUBLISHED), len(view.segments)
    failed = view.count(SegmentState.FAILED)
    parts = [
        f"{done}/{known}{'' if view.plan_complete else '+'} segments" if known else "",
        f"{failed} failed" if failed else "",
        _rate(view.rate),
        f"{format_time(view.time_left).split('.')[0]} left" if view.time_left is not None else "",
        "cancelling" if view.state is JobState.CANCELLING else "",
    ]
    return ", ".join(filter(None, parts))


def _rate(frames_per_second: float) -> str:
    return f"{frames_per_second:.0f} frames/s" if frames_per_second > 0 else ""
