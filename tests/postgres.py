"""A real PostgreSQL for tests, in processes of its own, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

_USER = "postgres"
"""Who runs it where the tests run as root, as whom it refuses to run."""


def missing() -> str:
    """Why it cannot be started here; empty where it can."""
    if _programs() is None:
        return "PostgreSQL is not installed (Debian's package postgresql)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_USER)
        except KeyError:
            return f"there is no user {_USER}, and PostgreSQL does not run as root"
    return ""


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    return Path(there).parent if there else None


@contextmanager
def postgres() -> Iterator[URL]:
    """A cluster that is gone afterwards; gives the URL of its first database. It listens on a
    socket in a folder of its own only."""
    programs = _programs()
    assert programs is not None
    # A socket's path is short, and its user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _USER if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(arguments: Sequence[str | Path]) -> None:
        done = subprocess.run(
            arguments, user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run([programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8"])
        # What is kept here need not outlive the machine.
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        log = folder / "log"
        run([programs / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start"])
        try:
            yield URL.create(
                "postgresql+psycopg",
                username=_USER,
                database="postgres",
                query={"host": str(folder)},
            )
        finally:
            run([programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
