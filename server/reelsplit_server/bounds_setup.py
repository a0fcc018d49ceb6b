"""From settings to bounds: what callers may ask for, and what workers are held to."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from pathlib import Path

from reelsplit_server.access.outbound import Outbound
from reelsplit_server.app.bounds import Bounds
from reelsplit_server.assets.prober import ProbeLimits
from reelsplit_server.engine.vitals import WorkerLimits
from reelsplit_server.jobs.orders import Limits
from reelsplit_server.machine import cores
from reelsplit_server.settings import Settings
from reelsplit_server.store_setup import routes

_YEAR = Fraction(365 * 86400)


def bounds(settings: Settings, callbacks: Outbound) -> Bounds:
    """What callers may ask for."""
    return Bounds(
        routes=routes(settings),
        callbacks=callbacks,
        most_ranges=settings.max_ranges,
        most_frame_rate=settings.max_frame_rate,
        most_template=settings.max_template,
        most_waiting=settings.max_queued,
        most_waiting_of_one=settings.max_queued_per_caller,
        default_timeout=_seconds(settings.job_timeout),
        default_segment_timeout=_seconds(settings.segment_timeout),
        default_time_to_live=Fraction(settings.time_to_live.total_seconds()),
        most_time_to_live=Fraction(settings.max_time_to_live.total_seconds()),
    )


def ims_time_to_live(bounds: Bounds) -> Fraction:
    """How long jobs of the IMS face are kept: a year, where the settings allow that."""
    return min(_YEAR, bounds.most_time_to_live)


def unit_limits(settings: Settings, scratch: Path) -> Limits:
    """What the units of jobs are bound by."""
    return Limits(
        scratch=scratch,
        cores=cores(),
        tries=settings.tries,
        most_segments=settings.max_segments,
        most_pixels=settings.max_pixels,
        most_frames=settings.max_segment_frames,
    )


def worker_limits(settings: Settings) -> WorkerLimits:
    """What ends a worker."""
    return WorkerLimits(
        # One that waits for a store shows a sign of life with each answer and each try, for
        # which it looks up a name, connects, sends, and waits twice.
        silence=max(settings.stall_timeout, 5 * settings.storage_timeout),
        memory=settings.max_worker_memory,
        file_size=settings.max_file_bytes,
    )


def probe_limits(settings: Settings, scratch: Path) -> ProbeLimits:
    """What the probes of assets are bound by."""
    return ProbeLimits(
        scratch=scratch,
        tries=settings.tries,
        most_pixels=settings.max_pixels,
        # The other half is left to jobs, whatever sources hang.
        at_once=max(1, settings.workers // 2),
    )


def _seconds(value: timedelta | None) -> Fraction | None:
    return None if value is None else Fraction(value.total_seconds())
