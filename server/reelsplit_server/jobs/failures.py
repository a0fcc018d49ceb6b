"""The errors that the scheduler itself gives jobs and segments."""

from __future__ import annotations

from fractions import Fraction

from reelsplit.types.error import Error
from reelsplit_server.engine.seam import RemoveError

__all__ = ["RemoveError", "internal", "store_unavailable", "too_late", "worker_died"]


def worker_died(tries: int) -> Error:
    """Worker processes died each time they tried."""
    return Error(
        reason="WORKER_DIED",
        message="The worker processes that tried this ended unexpectedly. The source may be "
        "damaged in a way that crashes a codec, or memory may be short.",
        metadata={"tries": str(tries)},
    )


def too_late(what: str, limit: Fraction | float | None) -> Error:
    """The job or segment took longer than its limit, in seconds."""
    seconds = float(limit or 0)
    return Error(
        reason="DEADLINE_EXCEEDED",
        message=f"The {what} took longer than its timeout of {seconds:g} s.",
        metadata={"timeout": f"{seconds:g}s"},
    )


def store_unavailable() -> Error:
    """The server could not keep what became of the work."""
    return Error(
        reason="STORE_UNAVAILABLE",
        message="The server could not keep the state of the job: the disk of its data folder may "
        "be full or read-only, or its database locked. Mend that, then retry the job.",
    )


def internal(error: BaseException) -> Error:
    """The server's own fault; nothing of it is told but its type."""
    return Error(
        reason="INTERNAL",
        message="The server met a fault of its own; its log has the details.",
        metadata={"detail": type(error).__name__},
    )
