"""The table of the long run, which several processes may have shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import pytest

from tests.cutting.totals import Totals, table

TOTALS: dict[str, Totals] = {}
_SHARED = "cuts"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that works for another hands its sums over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_SHARED] = {
            name: asdict(totals) for name, totals in TOTALS.items()
        }


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a process that has ended counted."""
    told = cast("Mapping[str, Mapping[str, int]]", getattr(node, "workeroutput", {}))
    for name, sums in cast("Mapping[str, Any]", told.get(_SHARED, {})).items():
        TOTALS.setdefault(name, Totals()).plus(Totals(**sums))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TOTALS and not hasattr(terminalreporter.config, "workeroutput"):
        terminalreporter.section("cuts of the matrix")
        terminalreporter.write_line(table(TOTALS))
