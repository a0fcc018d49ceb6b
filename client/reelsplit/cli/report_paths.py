"""Which reports are wanted, as typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reelsplit.cli.failures import Problems
from reelsplit.cli.options import ReportName
from reelsplit.types.spec import ReportKind

KINDS = {
    ReportName.JSON: ReportKind.SHOTS_JSON,
    ReportName.CSV: ReportKind.SHOTS_CSV,
    ReportName.EDL: ReportKind.EDL,
    ReportName.OTIO: ReportKind.OTIO,
    ReportName.HTML: ReportKind.HTML,
    ReportName.SCORES: ReportKind.SCORES_CSV,
}
STANDARD = "{stem}.{kind}"
"""What a report is called where only its folder was named, or nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report, and its location as a template; None is beside the segments."""

    kind: ReportKind
    template: str | None = None


def read(texts: Sequence[str], problems: Problems) -> list[Report]:
    """The reports of all ``--report KIND[=PATH]``."""
    found: dict[ReportKind, Report] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        try:
            kind = KINDS[ReportName(name)]
        except ValueError:
            known = ", ".join(KINDS)
            problems.add("--report", f"{name!r} is no report; take one of {known}")
            continue
        if equals and not path:
            problems.add("--report", f"{text!r} names no path behind the =")
        if kind in found:
            problems.add("--report", f"{name} is given twice")
        if path.endswith("/"):
            path += STANDARD
        found[kind] = Report(kind=kind, template=path or None)
    return list(found.values())
