"""Every command ends through here: with a code, and with readable lines instead of a trace."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

from reelsplit.cli.failures import ExitCode, Failure, Finished

P = ParamSpec("P")


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """The same command, whose failures become lines on stderr and exit codes."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        from reelsplit.cli.reporting import tell
        from reelsplit.cli.translate import explain
        from reelsplit.errors import ReelsplitError

        try:
            function(*args, **kwargs)
        except Failure as failure:
            tell(failure)
            raise Finished(failure.code) from None
        except ReelsplitError as error:
            explained = explain(error)
            tell(explained)
            raise Finished(explained.code) from None
        except KeyboardInterrupt:
            raise Finished(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read stdout has gone, and the flush at the end must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Finished(ExitCode.FAILED) from None

    return command
