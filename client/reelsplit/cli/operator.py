"""`reelsplit keys` and `reelsplit callbacks`: on the data folder of a server, running or not."""

from __future__ import annotations

import typer

from reelsplit.cli.failures import ExitCode, Failure, Finished


def keys(context: typer.Context) -> None:
    """Make, list and disable access keys; `reelsplit keys --help` says how."""
    _hand_over("keys", context.args)


def callbacks(context: typer.Context) -> None:
    """List callbacks that wait or were given up; `reelsplit callbacks --help` says how."""
    _hand_over("callbacks", context.args)


def _hand_over(name: str, arguments: list[str]) -> None:
    try:
        from reelsplit_server.operating import main
    except ModuleNotFoundError as error:
        from reelsplit.cli.local_server import MISSING_EXTRA

        raise Failure(ExitCode.USAGE, f"{MISSING_EXTRA} ({error})") from None
    raise Finished(main([name, *arguments]))
