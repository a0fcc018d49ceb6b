"""Worker processes, and the fork server that they come from, which knows no secret.

The class of a process is loaded in the process itself, so nothing else is loaded here.
"""

from __future__ import annotations

import contextlib
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.util
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH")
_NEEDED = "reelsplit_server.work.preload"
"""What the fork server loads, so that no worker has to."""
_starting = threading.Lock()


def begin() -> None:
    """Start the fork server if there is none yet, which then loads what workers need. Blocks for
    milliseconds; the first worker waits until all is loaded."""
    with _starting, _bare_starts():
        multiprocessing.forkserver.set_forkserver_preload([_NEEDED])
        multiprocessing.forkserver.ensure_running()


class WorkerProcess(multiprocessing.context.ForkServerProcess):
    """A process whose fork server was started with a bare environment, also where that is another
    than the first: one may be killed for want of memory."""

    def start(self) -> None:
        """Begin. Blocks, for seconds where there is no fork server any more."""
        with _starting, _bare_starts():
            super().start()


class WorkerContext(multiprocessing.context.ForkServerContext):
    """How worker processes are made."""

    Process = WorkerProcess


@contextlib.contextmanager
def _bare_starts() -> Iterator[None]:
    """Within the block, what the library starts by itself has nothing in its environment that is
    not its own. That of this process stays as it is: other threads look at it."""
    library = multiprocessing.util.spawnv_passfds
    multiprocessing.util.spawnv_passfds = _spawn
    try:
        yield
    finally:
        multiprocessing.util.spawnv_passfds = library


def _spawn(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """As the library's own, but for the environment."""
    bare = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    bare["OPENBLAS_NUM_THREADS"] = bare["OMP_NUM_THREADS"] = "1"
    child = subprocess.Popen(args, executable=path, env=bare, pass_fds=passfds)  # noqa: S603
    # The library waits for it, and subprocess would take its end away.
    child.returncode = 0
    return child.pid
