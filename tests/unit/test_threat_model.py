"""The threat model names only tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_that_it_names_is_there() -> None:
    folder = ""
    named = re.findall(
        r"`((?:\w+/)*)(test_[\w*]+\.py)`", (ROOT / "docs/threat-model.md").read_text()
    )
    assert len(named) > 40
    for before, name in named:
        folder = before or folder
        assert list((ROOT / "tests" / folder).glob(name)), f"{folder}{name}"
