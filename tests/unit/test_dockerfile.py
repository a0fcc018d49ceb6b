"""The image keeps to its rules as far as its text shows; scripts/build_image builds and runs it."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from reelsplit_server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
# Without comments, and with continued lines joined, as a builder reads it.
TEXT = re.sub(
    r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
)
FINAL = TEXT.rpartition("\nFROM ")[2]


def instruction(name: str) -> str:
    """What follows the last instruction of this name in the final stage."""
    return re.findall(rf"^{name} (.*)$", FINAL, flags=re.MULTILINE)[-1]


def variables() -> dict[str, str]:
    return dict(item.split("=", 1) for item in shlex.split(instruction("ENV")))


def test_every_stage_takes_the_base_that_is_given() -> None:
    assert re.findall(r"^FROM (\S+)", TEXT, flags=re.MULTILINE) == ["${BASE}"] * 2


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD", "VOLUME"])
def test_commands_are_in_exec_form(name: str) -> None:
    assert json.loads(instruction(name))


def test_the_health_check_is_in_exec_form() -> None:
    assert json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])


def test_the_user_is_a_number_and_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instruction("USER"))


def test_nothing_is_exposed_without_being_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables().items():
        if name.startswith("REELSPLIT_") and name != "REELSPLIT_ROOT":
            monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="anybody on the network"):
        Settings()
    identity = {"tls_certificate": tmp_path / "c.pem", "tls_key": tmp_path / "k.pem"}
    tokens = {"alice": "a-token-of-some-length"}
    assert not Settings(**identity, tokens=tokens).loopback  # type: ignore[arg-type]


def test_the_health_check_is_a_module_of_the_server() -> None:
    program, flag, module = json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])
    assert (program, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None
    # The environment that is copied has its own Python before any other.
    assert variables()["PATH"].startswith("/opt/reelsplit/bin:")


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    command = [str(hadolint), "--no-color", str(ROOT / "Dockerfile")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
