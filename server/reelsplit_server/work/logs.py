"""What a worker logs: as the server does, with the ids of what it works on."""

from __future__ import annotations

import structlog

from reelsplit_server.work.units import Probe, Render, Unit


def unit(unit: Unit) -> None:
    """All lines from now on belong to a unit."""
    ids: dict[str, object] = {"job_id": unit.job_id, "unit": unit.label}
    if isinstance(unit, Render):
        ids["segment"] = unit.segment.index
    trace = None if isinstance(unit, Probe) else unit.trace
    if trace is not None:
        _, ids["trace_id"], ids["span_id"], _ = trace.split("-")
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**ids)
