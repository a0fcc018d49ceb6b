"""Where a worker process begins, and where it takes its units."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from contextlib import closing

from reelsplit.types.error import Error
from reelsplit_server.media.errors import MediaError
from reelsplit_server.storage.errors import StorageError, disk_full, is_full
from reelsplit_server.storage.grants import SourceGrant
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.units import Analyse, Failed, Probe, Render, Unit

_PR_SET_PDEATHSIG = 1


def prepare() -> None:
    """Make this process a worker: bare environment, and an end with its server's."""
    for name in set(os.environ) - {"PATH", "LANG", "TZ", "TMPDIR"}:
        del os.environ[name]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C at a terminal reaches the whole group; what happens then is the server's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # The parent is the process that workers are forked from, which ends with the server.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_die_with_server, daemon=True).start()


def _die_with_server() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def ready() -> None:
    """Do nothing: scheduled to find out that the process is up."""


def execute(unit: Unit, grant: SourceGrant, path: str, name: str, secret: str) -> None:
    """Do one unit and report on it over the socket at ``path``. Raises nothing."""
    # The server knows this function by name and must not load a codec for it.
    from reelsplit_server.work import analyse, probing, render

    # Without the server there is nobody to report to, and nothing may be published.
    with contextlib.suppress(ConnectionError), closing(Channel(path, name, secret)) as channel:
        try:
            unit.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            match unit:
                case Analyse():
                    analyse.run(unit, grant, channel)
                case Render():
                    render.run(unit, grant, channel)
                case Probe():
                    probing.run(unit, grant, channel)
        except (MediaError, StorageError) as error:
            told = Error(reason=error.reason, message=error.message, metadata=dict(error.metadata))
            channel.tell(Failed(error=told, transient=error.transient))
        except ConnectionError:
            raise
        except Exception as error:
            channel.tell(Failed(error=_fault(error), transient=False))


def _fault(error: Exception) -> Error:
    """What is told of an exception that no layer understood."""
    if isinstance(error, OSError) and is_full(error):
        full = disk_full()
        return Error(reason=full.reason, message=full.message)
    traceback.print_exception(error)
    return Error(
        reason="INTERNAL",
        message="The worker met a fault of its own; the server's log has the details.",
        metadata={"detail": f"{type(error).__name__}: {error}"[:500]},
    )
