"""`reelsplit serve`."""

from __future__ import annotations

import typer

from reelsplit.cli.failures import ExitCode, Failure, Finished


def serve(context: typer.Context) -> None:
    """Run a server; `reelsplit serve --help` lists its settings."""
    try:
        from reelsplit_server.main import main
    except ModuleNotFoundError as error:
        from reelsplit.cli.local_server import MISSING_EXTRA

        raise Failure(ExitCode.USAGE, f"{MISSING_EXTRA} ({error})") from None
    raise Finished(main(context.args) or 0)
