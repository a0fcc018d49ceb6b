"""Every reason that the server raises stands in the contract."""

from __future__ import annotations

import ast
from pathlib import Path

from reelsplit.types.error import ErrorReason

SERVER = Path(__file__).resolve().parents[2] / "server"
KNOWN = {reason.value for reason in ErrorReason}
RAISERS = {"MediaError": 0, "StorageError": 0, "AppError": 1}


def raised() -> dict[str, str]:
    """The reasons that stand in the code, each with a place where it does."""
    found = {}
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            arguments = {word.arg: word.value for word in node.keywords}
            value = arguments.get("reason")
            place = RAISERS.get(node.func.id)
            if place is not None and len(node.args) > place:
                value = node.args[place]
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[value.value] = f"{path.name}:{node.lineno}"
    return found


def test_every_reason_stands_in_the_contract() -> None:
    reasons = raised()
    assert len(reasons) > 20
    assert {reason: at for reason, at in reasons.items() if reason not in KNOWN} == {}
