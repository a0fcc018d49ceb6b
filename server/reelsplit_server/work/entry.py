"""Where a worker process begins, and where it takes its units."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import structlog

from reelsplit.types.error import Error
from reelsplit_server import telemetry
from reelsplit_server.media.errors import MediaError
from reelsplit_server.storage.errors import StorageError, disk_full, is_full, is_too_large
from reelsplit_server.storage.grants import SourceGrant
from reelsplit_server.storage.pulse import listen
from reelsplit_server.work import logs
from reelsplit_server.work.accounting import Book, keeping_book
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.limits import limit, most_file
from reelsplit_server.work.priority import forgo_real_time
from reelsplit_server.work.units import Analyse, Failed, Probe, Render, Scan, Unit

log = structlog.get_logger(__name__)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A unit to do: the way to its source, and what its connection says who it is by."""

    unit: Unit
    grant: SourceGrant
    name: str
    secret: str


def prepare(largest: int | None = None, log_level: str = "info", log_format: str = "json") -> None:
    """Make this process a worker: bare environment, and an end with its server's. It writes no
    file that is larger than ``largest`` bytes."""
    for name in set(os.environ) - {"PATH", "LANG", "TZ", "TMPDIR"}:
        del os.environ[name]
    telemetry.configure(log_level, log_format)
    forgo_real_time()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C at a terminal reaches the whole group; what happens then is the server's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit(largest)
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
    execute_all([Call(unit=unit, grant=grant, name=name, secret=secret)], path)


def execute_all(calls: Sequence[Call], path: str) -> None:
    """As `execute`, for units that want the same of one source, each over a connection of its
    own. They stand in the order of what they make."""
    # The server knows this function by name and must not load a codec for it.
    from reelsplit_server.work import render

    # Without the server there is nobody to report to, and nothing may be published.
    with contextlib.suppress(ConnectionError), contextlib.ExitStack() as stack:
        book = stack.enter_context(keeping_book())
        todo: deque[tuple[Call, Channel]] = deque()
        for call in calls:
            channel = stack.enter_context(closing(Channel(path, call.name, call.secret)))
            todo.append((call, channel))
        # The last one stays open until the end, and a sign of life counts for all.
        stack.callback(listen, None)
        listen(channel.beat)
        if len(calls) > 1:
            # What is wrong with each of those that are left shows when it is made alone.
            with contextlib.suppress(MediaError, StorageError):
                members = [
                    (call.unit, channel) for call, channel in todo if isinstance(call.unit, Render)
                ]
                calls[0].unit.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for hand_over in render.run_all(members, calls[-1].grant):
                    call, channel = todo.popleft()
                    logs.unit(call.unit)
                    _report(channel, hand_over, book)
                    if todo:
                        # Its unit is at its end.
                        channel.close()
        for call, channel in todo:
            logs.unit(call.unit)
            _report(channel, functools.partial(_do, call, channel), book)
            channel.close()


def _do(call: Call, channel: Channel) -> None:
    from reelsplit_server.work import analyse, probing, render, scan

    call.unit.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    match call.unit:
        case Analyse() as unit:
            analyse.run(unit, call.grant, channel)
        case Render() as unit:
            render.run(unit, call.grant, channel)
        case Scan() as unit:
            scan.run(unit, call.grant, channel)
        case Probe() as unit:
            probing.run(unit, call.grant, channel)


def _report(channel: Channel, work: Callable[[], None], book: Book) -> None:
    """Do the rest of a unit, and tell where it fails."""
    try:
        work()
    except (MediaError, StorageError) as error:
        told = Error(reason=error.reason, message=error.message, metadata=dict(error.metadata))
        channel.tell(Failed(error=told, transient=error.transient))
    except ConnectionError:
        raise
    except Exception as error:
        channel.tell(Failed(error=_fault(error), transient=False))
    channel.tell(book.settle())


def _fault(error: Exception) -> Error:
    """What is told of an exception that no layer understood."""
    if isinstance(error, OSError) and is_full(error):
        full = disk_full()
        return Error(reason=full.reason, message=full.message)
    if isinstance(error, OSError) and is_too_large(error):
        return Error(
            reason="OUTPUT_TOO_LARGE",
            message="A file would be larger than this server takes. Ask for shorter segments.",
            metadata={"limit": str(most_file())},
        )
    log.error("worker_fault", exc_info=error)
    return Error(
        reason="INTERNAL",
        message="The worker met a fault of its own; the server's log has the details.",
        metadata={"detail": f"{type(error).__name__}: {error}"[:500]},
    )
