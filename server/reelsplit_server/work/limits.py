"""What the system lets a worker process take."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

_MOST_OPEN = 1024
_FIRST_TO_GO = "500"


def limit(largest: int | None) -> None:
    """Bound this process: files of at most ``largest`` bytes (``EFBIG`` beyond that), a thousand
    open ones, and no core dumps, in which would be what is signed for its unit.

    Memory is watched by the server: a limit of addresses breaks encoders and torch.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _MOST_OPEN)
    if largest is not None:
        _lower(resource.RLIMIT_FSIZE, largest)
    # Where memory runs out all the same, the kernel ends a worker, and not the server.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def most_file() -> int:
    """The bytes of the largest file that this process may write."""
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0]


def _lower(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))
