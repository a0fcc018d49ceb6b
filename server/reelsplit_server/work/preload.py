"""What every worker needs, loaded once into the process that workers are forked from."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Within the block a library that was not loaded yet cannot be."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


# structlog loads it where it can, for tracebacks in colours, which we do not have: a tenth of the
# time that all of this takes.
with _without("rich"):
    from reelsplit_server.work import analyse, entry, render, scan

__all__ = ["analyse", "entry", "render", "scan"]
