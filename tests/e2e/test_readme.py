"""The README's code blocks do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
INSTALL = "python3 -m venv .venv && .venv/bin/pip install "


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a fresh clone, as far as the README's commands see it."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    return tmp_path


@pytest.fixture
def address(clone: Path) -> Iterator[str]:
    """The README's server, on a free port and with a data folder of its own."""
    (command,) = (block for block in blocks("sh") if block.startswith("reelsplit serve"))
    announced, data = clone / "address", clone / "data"
    flags = f"--listen 127.0.0.1:0 --data-dir {data} --announce {announced} --exit-with-stdin"
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command.strip()} {flags}"],
        cwd=clone,
        env=environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdin is not None
    try:
        for _ in range(600):
            if announced.exists() or server.poll() is not None:
                break
            with pytest.raises(subprocess.TimeoutExpired):
                server.wait(0.1)
        yield announced.read_text().strip()
    finally:
        server.stdin.close()
        assert server.wait(60) == 0


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_command_splits_the_sample_at_its_shots(clone: Path) -> None:
    command = next(block for block in blocks("sh") if block.startswith(INSTALL + "'.[server]'"))
    # Installing is what the continuous integration does, with the second command.
    split = command.strip().rpartition(" && ")[2].removeprefix(".venv/bin/")
    run(split, clone)
    made = sorted(path.name for path in (clone / "out").iterdir())
    assert made == [f"big_buck_bunny_{index:02d}.mp4" for index in range(len(made))]
    assert len(made) > 5


def test_the_second_command_is_what_the_continuous_integration_runs() -> None:
    commands = [block.strip() for block in blocks("sh") if block.startswith(INSTALL + "-e")]
    assert commands == [INSTALL + "-e '.[dev]' && .venv/bin/pytest"]
    assert "README.md" in (ROOT / ".ci/run").read_text()


def test_the_terminal_examples_work(clone: Path) -> None:
    (block,) = (block for block in blocks("sh") if "--ranges" in block)
    printed = run(block, clone)
    names = {path.name for path in (clone / "out").iterdir()}
    assert {"range_0.mkv", "range_1.mkv", "five_0.mp4", "five_3.mp4"} <= names
    assert "cut" in printed


def test_the_python_example_works(clone: Path, address: str) -> None:
    (block,) = blocks("python")
    (clone / "example.py").write_text(block.replace("localhost:50051", address))
    printed = run("python example.py", clone)
    assert f"{clone}/out/python_0.mp4 60 2.5" in printed
    assert "JobStateChanged" in printed


@pytest.mark.skipif(shutil.which("grpcurl", path=str(BIN)) is None, reason="grpcurl is missing")
def test_the_grpcurl_example_works(clone: Path, address: str) -> None:
    (block,) = (block for block in blocks("sh") if block.startswith("grpcurl"))
    printed = run(block.replace("localhost:50051", address), clone)
    assert '"state": "JOB_STATE_PENDING"' in printed
    # Which case it prints names in depends on grpcurl's version.
    assert re.search('"watch_?[tT]oken"', printed)
