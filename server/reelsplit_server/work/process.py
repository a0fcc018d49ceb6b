"""Worker processes, and the fork server that they come from, which knows no secret.

The class of a process is loaded in the process itself, so nothing else is loaded here.
"""

from __future__ import annotations

import contextlib
import multiprocessing.context
import multiprocessing.forkserver
import os
import threading
from collections.abc import Iterator

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH")
_starting = threading.Lock()


class WorkerProcess(multiprocessing.context.ForkServerProcess):
    """A process whose fork server was started with a bare environment, also where that is another
    than the first: one may be killed for want of memory."""

    def start(self) -> None:
        """Begin."""
        with _starting:
            if not _is_running():
                with _scrubbed_environment():
                    multiprocessing.forkserver.ensure_running()
        super().start()


class WorkerContext(multiprocessing.context.ForkServerContext):
    """How worker processes are made."""

    Process = WorkerProcess


def _is_running() -> bool:
    pid = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if pid is None:
        return False
    look = getattr(os, "waitid", None)
    if look is None:
        return True
    try:
        # The library itself finds out, and must still be able to.
        return look(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


@contextlib.contextmanager
def _scrubbed_environment() -> Iterator[None]:
    """While the fork server starts, the environment has nothing in it that is not its own."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update({name: kept[name] for name in _ENVIRONMENT if name in kept})
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
