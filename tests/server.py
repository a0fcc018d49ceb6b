"""Running servers for tests: one in this process on a thread, or one in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reelsplit_server.composition import running
from reelsplit_server.settings import Settings
from tests.patience import PATIENCE
from tests.ports import free_ports


@dataclass(frozen=True, slots=True)
class Served:
    """A server: its address, the folder that it may read and write, and its data folder."""

    address: str
    root: Path
    data: Path


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[Served]:
    """A server in this process, on a thread with an event loop of its own."""
    root, data = folder / "root", folder / "data"
    root.mkdir(exist_ok=True)
    given: dict[str, Any] = {"workers": 2, "grace": 1.0, "root": [root], **settings}
    chosen = Settings(listen="127.0.0.1:0", data_dir=data, **given)
    ready, stop = threading.Event(), asyncio.Event()
    told: list[Any] = []

    async def serve() -> None:
        told.append(asyncio.get_running_loop())
        async with running(chosen) as address:
            told.append(address)
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            told.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="server")
    thread.start()
    assert ready.wait(PATIENCE)
    if isinstance(told[-1], BaseException):
        thread.join()
        raise told[-1]
    try:
        yield Served(told[1], root, data)
    finally:
        told[0].call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if isinstance(told[-1], BaseException):
            raise told[-1]


class ServerProcess:
    """``python -m reelsplit_server`` on a folder, which can be killed and started again."""

    def __init__(
        self, folder: Path, *flags: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.flags = folder, flags
        self.environment = dict(environment or {})
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)
        # Kept over restarts, so none of those that the system gives to clients meanwhile.
        self.listen = f"127.0.0.1:{free_ports(1)[0]}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return self.listen

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged, without what others wrote and what is half since it was killed."""
        found = []
        for line in self.log.splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Self:
        """Start, on the same port as before; returns when calls are answered."""
        self.begin()
        announce = self.folder / "address"
        wait_for(lambda: announce.exists() or self.process.poll() is not None)  # type: ignore[union-attr]
        assert announce.exists(), self.log
        self.listen = announce.read_text().strip()
        return self

    def begin(self) -> None:
        """Begin to start."""
        announce = self.folder / "address"
        announce.unlink(missing_ok=True)
        arguments = ["--listen", self.listen, "--data-dir", str(self.folder / "data")]
        arguments += ["--root", str(self.root), "--announce", str(announce), *self.flags]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reelsplit_server", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={n: v for n, v in os.environ.items() if not n.startswith("REELSPLIT_")}
                | self.environment,
            )

    def terminate(self) -> int:
        """Ask it to stop; answers its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once, as the kernel does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def wait_for(done: Any, patience: float = PATIENCE) -> None:
    """Wait until something is so; fails when it takes too long."""
    deadline = time.monotonic() + patience
    while not done():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def processes_below(parent: int) -> list[int]:
    """The living descendants of a process."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and alive(int(name)):
            children.setdefault(_parent(int(name)), []).append(int(name))
    found, left = [], [parent]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def workers_of(server: int) -> list[int]:
    """The worker processes of a server: those that its fork server made."""
    below = processes_below(server)
    return [pid for pid in below if _parent(pid) != server and "forkserver" in _command(pid)]


def alive(pid: int) -> bool:
    """Whether a process runs, and is not just remembered."""
    return _stat(pid)[0] not in "ZX"


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0"]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
