"""Which report is written by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from reelsplit.types.spec import ReportKind
from reelsplit_server.reports import edl, otio, page, scores_csv, shots_csv, shots_json
from reelsplit_server.reports.findings import Findings

_WRITERS: Mapping[ReportKind, Callable[[Findings, TextIO], None]] = {
    ReportKind.SHOTS_JSON: shots_json.write,
    ReportKind.SHOTS_CSV: shots_csv.write,
    ReportKind.EDL: edl.write,
    ReportKind.OTIO: otio.write,
    ReportKind.HTML: page.write,
    ReportKind.SCORES_CSV: scores_csv.write,
}


def write(kind: ReportKind, found: Findings, path: Path) -> None:
    """Write a report to a new file, in UTF-8. The same findings make the same bytes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        _WRITERS[kind](found, file)
