"""A spec that is right, and the checker's answer to others."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from reelsplit import FixedInterval, Input, JobSpec, Output, TimeRange
from reelsplit_server.access.outbound import Outbound
from reelsplit_server.app.bounds import Bounds
from reelsplit_server.app.errors import Violation
from reelsplit_server.app.validation import Checker
from reelsplit_server.storage.location import Scheme
from reelsplit_server.storage.routes import Routes, StoreRoute

BOUNDS = Bounds(
    routes=Routes(
        roots=(Path("/v"), Path("/w")),
        stores=(
            StoreRoute(
                name="main", scheme=Scheme.S3, buckets=("videos", "out-*"), endpoints=("s3.local",)
            ),
            StoreRoute(
                name="oss",
                scheme=Scheme.OSS,
                buckets=("films",),
                endpoints=("oss-cn-shanghai.example.com",),
            ),
        ),
        aliases={"oss://old": "s3://videos"},
        hosts=("cdn.example.com", "*.open.example.com"),
    ),
    callbacks=Outbound(hosts=["hooks.example.com", "10.*", "*.open.example.com"]),
    most_ranges=10,
    most_frame_rate=240,
    most_template=200,
    most_waiting=10,
    default_timeout=Fraction(3600),
    default_segment_timeout=Fraction(60),
    default_time_to_live=Fraction(30 * 86400),
    most_time_to_live=Fraction(366 * 86400),
)


def spec(**values: Any) -> JobSpec:
    given: dict[str, Any] = {
        "input": Input(uri="/v/film.mp4"),
        "mode": FixedInterval(interval=10),
        **values,
    }
    return JobSpec(**given)


def output(**values: Any) -> JobSpec:
    return spec(output=Output(**{"uri_template": "/w/{index}.mp4", **values}))


def span(start: object, end: object) -> TimeRange:
    return TimeRange(start_offset=start, end_offset=end)  # type: ignore[arg-type]


def violations(wanted: JobSpec) -> tuple[Violation, ...]:
    checker = Checker(BOUNDS)
    checker.spec(wanted)
    return tuple(checker.violations)


def fields(wanted: JobSpec) -> set[str]:
    return {violation.field for violation in violations(wanted)}
