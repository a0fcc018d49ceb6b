"""The folders that a server has outside of its data folder, for sockets: a path to one may not be
long. A server that is killed leaves them, so they are noted before they are made, and the next
server on the data folder deletes them."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.util import Finalize, get_temp_dir
from pathlib import Path

RECORD = "outside"
"""The file beside the working files in which they are noted."""
_PREFIX = "rs-"
_MOST_PATH = 60
"""What multiprocessing puts behind a folder takes 32 bytes, of some hundred that there are."""


def prepare(record: Path, *, own: bool) -> Path | None:
    """Note, then make the folder in which multiprocessing keeps the socket of its fork server;
    with ``own`` another for a socket of ours, which is answered."""
    spare = _name() if own else None
    library = _library_folder()
    _note(record, [library] if spare is None else [library, spare])
    _lead_library_to(library)
    if spare is not None:
        spare.mkdir(mode=0o700)
    return spare


def clear(record: Path) -> None:
    """Delete the folders that were noted by a server that is gone, whose data folder is ours."""
    with suppress(FileNotFoundError):
        for line in record.read_text().splitlines():
            folder = Path(line)
            if folder.name.startswith(_PREFIX) and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _note(record: Path, folders: Sequence[Path]) -> None:
    record.write_text("".join(f"{folder}\n" for folder in folders))


def _is_left(folder: Path) -> bool:
    """Whether it is not another user's by now, nor of a server in this very process."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and folder != _library_folder()


def _name() -> Path:
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(5)}"


@functools.cache
def _library_folder() -> Path:
    """One for the process, since it has one fork server."""
    return _name()


def _lead_library_to(folder: Path) -> None:
    if folder.exists() or len(os.fsencode(folder)) > _MOST_PATH:
        return
    folder.mkdir(mode=0o700)
    # Behind the library's own end of it, at -100.
    Finalize(None, shutil.rmtree, args=[folder], kwargs={"ignore_errors": True}, exitpriority=-101)
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        # Asked for once, and the same from then on.
        get_temp_dir()
    finally:
        tempfile.tempdir = before
