"""The entry point: reads the settings, serves until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from reelsplit_server import composition, telemetry
from reelsplit_server.jobs.database import StoreUnavailableError, StoreVersionError
from reelsplit_server.settings import Settings

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; answers the exit code: 0 after a drain, 1 when it cannot start, 2 on wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = read_settings(given)
    except (ValidationError, SettingsError, ValueError) as error:
        print(f"reelsplit serve: {readable(error)}", file=sys.stderr)
        return 2
    telemetry.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(_serve(settings))
    except (composition.StartError, StoreVersionError, StoreUnavailableError) as error:
        print(f"reelsplit serve: {error}", file=sys.stderr)
        return 1
    return 0


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings from flags, environment and file, in this order."""
    flags: CliSettingsSource[object] = CliSettingsSource(Settings, cli_parse_args=list(arguments))
    return Settings(_cli_settings_source=flags)  # type: ignore[call-arg]


async def _serve(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with composition.running(settings) as address:
        if settings.announce is not None:
            _announce(settings.announce, address)
        if settings.exit_with_stdin:
            loop.add_reader(sys.stdin.fileno(), _watch_stdin, loop, stopping)
        await stopping.wait()


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


def readable(error: Exception) -> str:
    """What is wrong with the settings, in a line, without their values."""
    if not isinstance(error, ValidationError):
        return str(error)
    lines = []
    for item in error.errors():
        name = "--" + str(item["loc"][0]).replace("_", "-") if item["loc"] else ""
        within = ".".join(part for part in item["loc"][1:] if isinstance(part, str))
        name = f"{name} {within}:" if within else name
        lines.append(f"{name} {item['msg'].removeprefix('Value error, ')}".strip())
    return "; ".join(lines)
