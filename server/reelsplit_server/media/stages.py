"""Which stages a worker goes through, and when: noted where somebody wants to know."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "open", "probe", "index", "detect", "report", "copy", "encode", "verify", "upload", "publish"
]
_MOST = 64
"""Stages of one unit that are noted; more are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A stage that has ended. Times are nanoseconds since 1970."""

    name: Name
    start: int
    end: int


_notes: ContextVar[list[Noted] | None] = ContextVar("notes", default=None)


@contextmanager
def noting() -> Iterator[list[Noted]]:
    """Note the stages of this thread within the block."""
    notes: list[Noted] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


@contextmanager
def stage(name: Name) -> Iterator[None]:
    """The block is a stage."""
    notes = _notes.get()
    start = time.time_ns()
    try:
        yield
    finally:
        if notes is not None and len(notes) < _MOST:
            notes.append(Noted(name=name, start=start, end=time.time_ns()))
