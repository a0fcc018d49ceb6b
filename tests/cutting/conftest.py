"""The marker of the long run, and its table."""

from __future__ import annotations

import pytest

from tests.cutting.totals import Totals, table

TOTALS: dict[str, Totals] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TOTALS:
        terminalreporter.section("cuts of the matrix")
        terminalreporter.write_line(table(TOTALS))
