"""The ids of jobs and of assets."""

from __future__ import annotations

import secrets
import time


def new_id() -> str:
    """32 hexadecimal digits that nobody guesses, in the order of time: 14 count microseconds, 18
    are random. What is made at one time then lies on few pages of an index, of which a commit
    writes each that it touches; and what the clock of a store gives the same time keeps its
    order."""
    return f"{time.time_ns() // 10**3:014x}{secrets.token_hex(9)}"
