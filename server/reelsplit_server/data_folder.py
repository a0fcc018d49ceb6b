"""The data folder: where the database and working files lie, held by one server at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelsplit_server.engine import leftovers

DATABASE = "reelsplit.db"


class StartError(Exception):
    """The server cannot start; the text says what to do."""


@contextmanager
def data_folder(folder: Path) -> Iterator[Path]:
    """The data folder, made where it is missing, held against a second server, and cleared of
    what an earlier one was making. Raises `StartError`."""
    make(folder)
    with held(folder) as alone:
        if not alone:
            raise StartError(
                f"another server uses the data folder {folder}; stop it, or give another with "
                "--data-dir"
            )
        # What an earlier server was making when it was killed.
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        leftovers.clear(folder / leftovers.RECORD)
        (folder / "scratch").mkdir()
        yield folder


def make(folder: Path) -> None:
    """Make the data folder where it is missing. Raises `StartError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(folder, error) from error


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Whether no server runs on a folder, and none can start until the block ends. Raises
    `StartError`."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _unusable(folder: Path, error: OSError) -> StartError:
    return StartError(f"the data folder {folder} cannot be used: {error.strerror}")
