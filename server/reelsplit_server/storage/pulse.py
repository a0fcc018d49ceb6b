"""Tells that bytes are moving, so that who waits for a slow store is not taken to hang."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def listen(listener: Callable[[], None] | None) -> None:
    """Have ``listener`` called at each `beat` of this process, by whichever thread it comes from;
    None for nobody. It raises nothing."""
    global _listener
    _listener = listener


def beat() -> None:
    """Something came or went, or is tried again after a failure."""
    if _listener is not None:
        _listener()
