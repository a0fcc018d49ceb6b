"""Lists that come page by page."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Generic, TypeVar

from reelsplit.types.job import Job

ItemT = TypeVar("ItemT")


class JobOrder(enum.StrEnum):
    """JobOrder is an order of jobs."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: CREATE_TIME_DESCENDING."""

    CREATE_TIME_DESCENDING = "CREATE_TIME_DESCENDING"
    """The newest first."""

    CREATE_TIME_ASCENDING = "CREATE_TIME_ASCENDING"
    """The oldest first."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of a list of jobs."""

    jobs: Sequence[Job]
    """The jobs."""

    next_page_token: str
    """What to ask for the next page with; empty on the last."""

    total_size: int
    """How many jobs match in all."""

    watch_token: str
    """What ``watch_jobs`` takes to follow on from this list without a gap."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[ItemT]):
    """One page of any list, for the iterators over it."""

    items: Sequence[ItemT]
    next_page_token: str
