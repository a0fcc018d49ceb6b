"""What the machine has, or what of it this process may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cores() -> int:
    """The cores that this process may use: those of its affinity, and of its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def memory() -> int:
    """The bytes of memory that this process may use: the machine's, or its container's."""
    count = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        count = min(count, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return count
