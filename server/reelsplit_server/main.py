"""The entry point: reads the settings, and serves."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from reelsplit_server.data_folder import StartError, data_folder
from reelsplit_server.engine import leftovers
from reelsplit_server.settings import Settings
from reelsplit_server.work import process


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; answers the exit code: 0 after a drain, 1 when it cannot start, 2 on wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = read_settings(given)
    except (ValidationError, SettingsError, ValueError) as error:
        print(f"reelsplit serve: {readable(error)}", file=sys.stderr)
        return 2
    try:
        with data_folder(settings.data_dir) as folder:
            # What workers need is loaded over there while the rest is loaded here.
            leftovers.prepare(folder / leftovers.RECORD, own=False)
            process.begin()
            from reelsplit_server import serving

            serving.serve(settings, folder)
    except StartError as error:
        print(f"reelsplit serve: {error}", file=sys.stderr)
        return 1
    return 0


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings from flags, environment and file, in this order."""
    flags: CliSettingsSource[object] = CliSettingsSource(Settings, cli_parse_args=list(arguments))
    return Settings(_cli_settings_source=flags)  # type: ignore[call-arg]


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
