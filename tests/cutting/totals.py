"""Adding up findings, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.cutting.checker import Finding


@dataclass(slots=True)
class Totals:
    """The sums over many cuts."""

    cuts: int = 0
    frames: int = 0
    missing: int = 0
    doubled: int = 0
    extra: int = 0
    corrupt: int = 0
    copied: int = 0
    identical: int = 0
    carried: int = 0
    encoded: int = 0
    fewest: int = 0
    whole: int = 0
    failed: int = 0
    """Cuts with anything wrong at all."""

    def add(self, finding: Finding) -> None:
        self.cuts += 1
        self.frames += finding.expected
        for name in ("missing", "doubled", "extra", "corrupt", "copied", "identical", "carried"):
            setattr(self, name, getattr(self, name) + getattr(finding, name))
        self.encoded += finding.encoded
        self.fewest += finding.fewest
        self.whole += finding.whole
        self.failed += bool(finding.problems)

    def plus(self, other: Totals) -> None:
        """Add other sums."""
        for column in _COLUMNS:
            setattr(self, column, getattr(self, column) + getattr(other, column))


_COLUMNS = ("cuts", "frames", "missing", "doubled", "extra", "corrupt", "copied", "identical")
_COLUMNS += ("carried", "encoded", "fewest", "whole", "failed")


def table(rows: Mapping[str, Totals]) -> str:
    """The sums as Markdown, one row for each name, and one for all where there are several."""
    every = Totals()
    for totals in rows.values():
        every.plus(totals)
    shown = dict(rows) if len(rows) == 1 else {**rows, "all": every}
    lines = ["| | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for name, totals in shown.items():
        figures = " | ".join(str(getattr(totals, column)) for column in _COLUMNS)
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)
