"""The errors that the scheduler itself gives jobs and segments."""

from __future__ import annotations

from fractions import Fraction

from reelsplit.types.error import Error
from reelsplit_server.engine.seam import End, RemoveError, WorkerDiedError

__all__ = ["RemoveError", "internal", "store_unavailable", "too_late", "worker_died"]


_CRASH = "The source may be damaged in a way that crashes a codec."
_CAUSES = {
    "SIGKILL": "The system does that where memory is short.",
    "SIGSEGV": _CRASH,
    "SIGBUS": _CRASH,
    "SIGABRT": _CRASH,
    "SIGFPE": _CRASH,
    "SIGILL": _CRASH,
}


def worker_died(died: WorkerDiedError, tries: int) -> Error:
    """Worker processes died each time they tried; the last of them so."""
    told = {"tries": str(tries)}
    match died.end:
        case End.STALLED:
            return Error(
                reason="WORKER_STALLED",
                message="The worker processes that tried this got nowhere for "
                f"{died.limit or 0:g} s, and were ended. The source may be damaged in a way that "
                "makes a codec hang; for very slow settings, the server's operator raises "
                "--stall-timeout.",
                metadata={**told, "timeout": f"{died.limit or 0:g}s"},
            )
        case End.OUT_OF_MEMORY:
            return Error(
                reason="WORKER_OUT_OF_MEMORY",
                message="The worker processes that tried this took more than the "
                f"{died.limit or 0:,.0f} bytes of memory that one may take, and were ended. Ask "
                "for a smaller picture or a faster preset; the server's operator raises "
                "--max-worker-memory.",
                metadata={**told, "limit": f"{died.limit or 0:.0f}"},
            )
        case End.DIED:
            killed = f" (killed by {died.signal})" if died.signal else ""
            cause = _CAUSES.get(
                died.signal or "",
                "The source may be damaged in a way that crashes a codec, or memory may be short.",
            )
            return Error(
                reason="WORKER_DIED",
                message=f"The worker processes that tried this ended unexpectedly{killed}. {cause}",
                metadata={**told, "signal": died.signal} if died.signal else told,
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
