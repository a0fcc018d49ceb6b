"""The entry point of the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_LAST_LINES = {"split": '{"job":null,"segments":[]', "shots": '{"shots":[]'}
_WRONG = ',"error":{"reason":"INVALID_FIELD","message":"wrong usage; stderr says what"}}'


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code."""
    # grpc's own log lines are no answer to anyone; its errors reach us as such.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        import rich  # noqa: F401 - typer needs it only late.

        from reelsplit.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "rich"):
            raise
        print(
            "reelsplit: the command is not installed; install it with: "
            "pip install 'reelsplit[cli]'",
            file=sys.stderr,
        )
        return 2
    from reelsplit.cli.failures import ExitCode, Finished

    try:
        app(arguments, prog_name="reelsplit")
    except Finished as finished:
        return finished.code
    except SystemExit as ended:
        # Typer's own: help, the version, or a line that it cannot parse.
        if ended.code == ExitCode.USAGE and "--json" in arguments and arguments[0] in _LAST_LINES:
            print(_LAST_LINES[arguments[0]] + _WRONG, flush=True)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
