"""compose.yaml as an engine reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
_VARIABLE = re.compile(r"\$\$|\$\{(\w+):-([^{}]*)\}")


def services(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The services, with variables put in, and those that are passed on where they are given."""
    given = variables or {}
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    found: dict[str, Any] = _filled(read["services"], given)
    for service in found.values():
        environment = service.get("environment", {})
        service["environment"] = {
            name: given.get(name) if value is None else str(value)
            for name, value in environment.items()
            if value is not None or name in given
        }
    return found


def volumes() -> set[str]:
    """The names of the volumes."""
    return set(yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"])


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, given) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, given) for inner in value]
    if isinstance(value, str):
        return _VARIABLE.sub(
            lambda found: given.get(found[1], found[2]) if found[1] else "$", value
        )
    return value
