"""A server for one command alone: a child process on a loopback port with a one-off token.

It ends when this process does, whatever ends it: it watches the pipe that we hold open.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from reelsplit.cli.failures import ExitCode, Failure
from reelsplit.cli.signals import Interrupts

MISSING_EXTRA = "the server is not installed; install it with: pip install 'reelsplit[server]'"
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_LOG_BYTES = 8 * 2**20
"""The server's log is emptied when it is longer."""
_TAIL_BYTES = 64 * 2**10
"""So much of its end is read."""
_POLL = 0.02
_NAMES = ("TOKEN", "SERVER", "CONFIG", "LISTEN", "TLS", "LOG", "CALLBACK", "SECRET")
_OURS = tuple(f"REELSPLIT_{name}" for name in _NAMES)
"""What settings begin with that are not for this server. Others, such as the number of workers,
hold for it as well."""


class LocalServer:
    """Entered, it runs; left, it has ended and its folder is gone."""

    def __init__(self, roots: Sequence[str], interrupts: Interrupts) -> None:
        self.token = secrets.token_urlsafe(32)
        self.target = ""
        self._roots = roots
        self._interrupts = interrupts
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._log: Path | None = None
        self._stopping = False
        self._said = ""

    def __enter__(self) -> LocalServer:
        if importlib.util.find_spec("reelsplit_server") is None:
            raise Failure(ExitCode.USAGE, MISSING_EXTRA, reason="SERVER_NOT_INSTALLED")
        self._interrupts.at_once.append(self._kill)
        try:
            self._start()
            self._await_address()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raise if the server has ended although it should not."""
        if self._process is not None and not self._stopping and self._process.poll() is not None:
            raise self._failure("the local server ended unexpectedly")
        if self._log is not None and self._log.stat().st_size > _LOG_BYTES:
            os.truncate(self._log, 0)

    def log(self) -> str:
        """What the server's log last said of an error."""
        if self._log is None or not self._log.exists():
            return self._said
        with self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return last_words(file.read().decode(errors="replace").splitlines())

    def _start(self) -> None:
        self._folder, lock = _new_folder()
        folder = self._folder
        command = [sys.executable, "-m", "reelsplit_server", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", str(folder / "data"), "--announce", str(folder / "address")]
        command += [argument for root in self._roots for argument in ("--root", root)]
        # Whatever runs when we are gone has nobody who waits for it. Nobody else can call it, and
        # what its caller may reach by himself it may reach for him.
        command += ["--exit-with-stdin", "--grace", "0", "--trust-callers"]
        self._log = folder / "log"
        try:
            # No pipe: if we are killed, or stopped for a while, the server can still write.
            # Appending, so that we can empty the file.
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env=_environment(self.token),
                    pass_fds=() if lock is None else (lock,),
                    # A Ctrl-C at the terminal is for us alone.
                    start_new_session=True,
                )
        except OSError as error:
            raise Failure(
                ExitCode.UNREACHABLE, f"the local server cannot be started: {error.strerror}"
            ) from None
        finally:
            if lock is not None:
                os.close(lock)

    def _await_address(self) -> None:
        assert self._process is not None
        assert self._folder is not None
        announced = self._folder / "address"
        deadline = time.monotonic() + _START_SECONDS
        while not announced.exists():
            if self._interrupts.happened():
                raise Failure(ExitCode.INTERRUPTED, "interrupted", reason="CANCELLED")
            if self._process.poll() is not None:
                raise self._failure("the local server did not start")
            if time.monotonic() > deadline:
                raise self._failure(f"the local server did not start in {_START_SECONDS:.0f} s")
            time.sleep(_POLL)
        self.target = announced.read_text(encoding="utf-8").strip()

    def _failure(self, message: str) -> Failure:
        said = self.log()
        if "No module named" in said:
            return Failure(
                ExitCode.USAGE, f"{MISSING_EXTRA} ({said})", reason="SERVER_NOT_INSTALLED"
            )
        return Failure(
            ExitCode.UNREACHABLE,
            f"{message}: {said}" if said else message,
            reason="UNAVAILABLE",
        )

    def _stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.terminate()
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _kill_group(process)
                process.wait()
        self._said = self.log()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._kill in self._interrupts.at_once:
            self._interrupts.at_once.remove(self._kill)

    def _kill(self) -> None:
        """End it now. Runs in a signal handler."""
        if self._process is not None:
            _kill_group(self._process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def last_words(lines: Sequence[str]) -> str:
    """The last message of a log that says why: its last error, else its last line."""
    plain = ""
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            plain = plain or line.strip().removeprefix("reelsplit serve: ")
        elif str(record.get("level", "")).lower() in ("error", "critical", "fatal"):
            event = str(record.get("event") or record.get("message") or "")
            cause = record.get("error") or record.get("exception")
            last = str(cause).strip().splitlines()[-1] if cause else ""
            return plain or ": ".join(filter(None, (event, last)))
    return plain


def _environment(token: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {
        **kept,
        "REELSPLIT_TOKENS": json.dumps({"local": token}),
        "REELSPLIT_LOG_FORMAT": "json",
    }


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _new_folder() -> tuple[Path, int | None]:
    # Not in /tmp, which may lie in memory: finished segments wait here for publication.
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    above = Path(home) / "reelsplit"
    name = secrets.token_hex(8)
    folder, unlocked = above / f"run-{name}", above / f"new-{name}"
    try:
        above.mkdir(parents=True, exist_ok=True)
        _sweep(above)
        unlocked.mkdir(mode=0o700)
        lock = _lock(unlocked)
        unlocked.rename(folder)
    except OSError as error:
        raise Failure(
            ExitCode.UNREACHABLE,
            f"no working folder can be made below {above}: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder with space",
        ) from None
    return folder, lock


def _lock(folder: Path) -> int | None:
    """A lock that lasts as long as this process or its server; None where there are none."""
    try:
        import fcntl
    except ImportError:
        return None
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _sweep(above: Path) -> None:
    """Remove the folders of runs that were killed."""
    try:
        import fcntl
    except ImportError:
        return
    for folder in above.glob("run-*"):
        with contextlib.suppress(OSError):
            file = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(file)
