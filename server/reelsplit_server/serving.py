"""Serves until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from pathlib import Path

from reelsplit_server import composition, telemetry, tracing
from reelsplit_server.jobs.database import StoreUnavailableError, StoreVersionError
from reelsplit_server.settings import Settings

_SWITCH = 0.0005
"""Seconds after which a thread hands over that computes. The one that writes to the database comes
back from each of its statements behind it, ten times for each write: at Python's own 5 ms a busy
server keeps its writer from writing."""
_YOUNG, _MIDDLE, _OLD = 5_000, 10, 10
"""How many containers more than were let go of are looked through for cycles, and of how many such
looks one goes further. At Python's own 700 every burst of submits has all that the server holds
looked through again and again, and each time it stands still for a tenth of a second."""


def serve(settings: Settings, folder: Path) -> None:
    """Serve on a data folder that is held, until the process is told to stop, and drain. Raises
    `StartError`."""
    telemetry.configure(settings.log_level, settings.log_format)
    sys.setswitchinterval(_SWITCH)
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    end_tracing = tracing.configure()
    try:
        asyncio.run(_serve(settings, folder))
    except (StoreVersionError, StoreUnavailableError) as error:
        raise composition.StartError(str(error)) from error
    finally:
        end_tracing()


async def _serve(settings: Settings, folder: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, loop, stopping)
    async with composition.running(settings, folder) as address:
        # What is there now stays: looking through it for cycles finds none, and takes long.
        gc.collect()
        gc.freeze()
        if settings.announce is not None:
            _announce(settings.announce, address)
        if settings.exit_with_stdin:
            loop.add_reader(sys.stdin.fileno(), _watch_stdin, loop, stopping)
        await stopping.wait()


def _stop(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Drain at the first signal. The next one ends the process at once, as it would any other:
    nothing is lost by that, and workers end with it."""
    stopping.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        # Taken away, Ctrl-C would raise KeyboardInterrupt in the middle of the drain.
        signal.signal(number, signal.SIG_DFL)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stopping.set()


def _announce(path: Path, address: str) -> None:
    """Write the address in one step, so that no reader sees half of it."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_text(address + "\n")
    with contextlib.suppress(FileNotFoundError):
        made.replace(path)
