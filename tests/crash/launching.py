"""Servers that start quickly: forked from a process that has loaded the server's code.

What is forked has neither threads nor connections; from there on it is a server as any other, in a
process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE
from tests.server import ServerProcess, alive, processes_below, wait_for


class Forked:
    """A process as `subprocess.Popen` shows one, though its parent is the launcher."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it lives; what its exit code was nobody knows. It lives as long as any of its
        threads does: until then it holds its locks."""
        return None if Path(f"/proc/{self.pid}").exists() else 0

    def wait(self, timeout: float) -> int:
        wait_for(lambda: self.poll() is not None, timeout)
        return 0

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The process that servers are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def launch(self, arguments: list[str], environment: dict[str, str], log: Path) -> Forked:
        order = {"arguments": arguments, "environment": environment, "log": str(log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


class QuickServer(ServerProcess):
    """A server on a folder, by a launcher. ``temporary`` is its folder for what it calls
    temporary; by its name all processes are found that it ever made."""

    def __init__(self, launcher: Launcher, folder: Path, *flags: str, **environment: str) -> None:
        super().__init__(folder, *flags, environment=environment)
        self._launcher = launcher
        # Not below the test's own folder: paths to sockets may not be long.
        self.temporary = Path(tempfile.mkdtemp(prefix="crash-"))
        self.environment["TMPDIR"] = str(self.temporary)
        self.starts = 0

    def begin(self) -> None:
        announce = self.folder / "address"
        announce.unlink(missing_ok=True)
        arguments = ["--listen", self.listen, "--data-dir", str(self.folder / "data")]
        arguments += ["--root", str(self.root), "--announce", str(announce), *self.flags]
        kept = {n: v for n, v in os.environ.items() if not n.startswith("REELSPLIT_")}
        made: Any = self._launcher.launch(arguments, kept | self.environment, self.folder / "log")
        self.process = made
        self.starts += 1

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def stray(self) -> list[int]:
        """The processes that a server made which is gone."""
        mark = f"TMPDIR={self.temporary}\0".encode()
        known = {self.pid, *processes_below(self.pid)}
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in known:
                continue
            try:
                environ = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            if mark in environ and alive(int(name)):
                found.append(int(name))
        return found


@contextmanager
def launcher() -> Iterator[Launcher]:
    """A launcher, until the block ends."""
    made = Launcher()
    try:
        yield made
    finally:
        made.close()
