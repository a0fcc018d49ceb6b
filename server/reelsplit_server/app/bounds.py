"""The limits on what a caller may ask for, as far as the request itself can exceed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from reelsplit_server.access.outbound import Outbound
from reelsplit_server.app.errors import Violation, invalid
from reelsplit_server.storage.routes import Routes

_MOST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Times are seconds. ``callbacks`` guards the addresses that jobs may be told to."""

    routes: Routes
    callbacks: Outbound
    most_ranges: int
    most_frame_rate: int
    most_template: int
    most_waiting: int
    most_waiting_of_one: int | None = None
    """Jobs that may wait of one caller."""
    default_timeout: Fraction | None
    default_segment_timeout: Fraction | None
    default_time_to_live: Fraction
    most_time_to_live: Fraction


def page_size_of(asked: int, default: int, violations: Sequence[Violation]) -> int:
    """How many a page holds; raises INVALID_FIELD for what the face found wrong, and for a
    negative size."""
    wrong = list(violations)
    if asked < 0:
        wrong.append(Violation(field="page_size", description="is negative"))
    if wrong:
        raise invalid(wrong)
    return min(asked or default, _MOST_PAGE)
