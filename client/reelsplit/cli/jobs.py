"""`reelsplit get`, `list`, `watch`, `cancel`, `delete`, `retry` and `segments`."""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from reelsplit.cli.failures import Finished
from reelsplit.cli.options import JobId, Json, Server

if TYPE_CHECKING:
    from reelsplit.types.job import Job


class State(StrEnum):
    """The states of a job."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """The states of a segment."""

    PLANNED = "planned"
    RUNNING = "running"
    PUBLISHED = "published"
    FAILED = "failed"


def get(*, job_id: JobId, json: Json = False, server: Server) -> None:
    """Show one job."""
    from reelsplit.cli.connection import connect

    with connect(server) as client:
        _show(client.get(job_id), json)


def list_(
    *,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Only in this state; more than once.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Only with this label; more than once."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many, the newest.")
    ] = None,
    json: Json = False,
    server: Server,
) -> None:
    """List jobs, the newest first. With --json, one a line."""
    from reelsplit.cli import json_lines, tables, times
    from reelsplit.cli.connection import connect
    from reelsplit.cli.failures import Problems
    from reelsplit.types.job import JobState

    problems = Problems()
    pairs = [problems.read("--label", times.parse_label, text) for text in label or ()]
    problems.check()
    with connect(server) as client:
        found = client.list(
            states=[JobState[item.name] for item in state or ()],
            labels=dict(pair for pair in pairs if pair is not None),
            page_size=min(limit or 200, 200),
        )
        jobs = itertools.islice(found, limit)
        if json:
            for job in jobs:
                json_lines.emit(json_lines.as_json(job))
        else:
            tables.show(tables.jobs(list(jobs)))


def watch(*, job_id: JobId, json: Json = False, server: Server) -> None:
    """Follow a job to its end. Ctrl-C leaves the job alone.

    With --json, stdout gets the same lines as from split. Exit codes: 0 it succeeded, 1 it failed
    or was cancelled.
    """
    from reelsplit.cli import execute, json_lines, tables
    from reelsplit.cli.runner import Outcome

    def last(outcome: Outcome) -> dict[str, object]:
        return json_lines.result(outcome.job, outcome.segments, outcome.outside)

    def show(outcome: Outcome, title: str) -> None:
        tables.show(tables.segments(outcome.segments, title))

    raise Finished(execute.follow(job_id, server, last if json else None, show))


def cancel(*, job_id: JobId, json: Json = False, server: Server) -> None:
    """Stop a job. What it published stays."""
    from reelsplit.cli.connection import connect

    with connect(server) as client:
        _show(client.cancel(job_id), json)


def delete(
    *,
    job_id: JobId,
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Delete what it published as well.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Cancel it first if it has not ended.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Be content if there is no such job.")
    ] = False,
    json: Json = False,
    server: Server,
) -> None:
    """Forget a job that has ended."""
    from reelsplit.cli import json_lines
    from reelsplit.cli.connection import connect

    with connect(server) as client:
        count = client.delete(
            job_id, allow_missing=allow_missing, delete_outputs=outputs, force=force
        )
    if json:
        json_lines.emit({"deletedOutputs": count})
    else:
        print("deleted" if not outputs else f"deleted, with {count} files")


def retry(*, job_id: JobId, json: Json = False, server: Server) -> None:
    """Run the failed and missing segments of a job again."""
    from reelsplit.cli.connection import connect

    with connect(server) as client:
        _show(client.retry(job_id), json)


def segments(
    *,
    job_id: JobId,
    state: Annotated[
        list[Stage] | None, typer.Option("--state", help="Only in this state; more than once.")
    ] = None,
    json: Json = False,
    server: Server,
) -> None:
    """List the segments of a job. With --json, one a line."""
    from reelsplit.cli import json_lines, tables
    from reelsplit.cli.connection import connect
    from reelsplit.types.segment import SegmentState

    with connect(server) as client:
        found = client.segments(job_id, states=[SegmentState[item.name] for item in state or ()])
        if json:
            for segment in found:
                json_lines.emit(json_lines.as_json(segment))
        else:
            tables.show(tables.segments(list(found)))


def _show(job: Job, json: bool) -> None:
    from reelsplit.cli import json_lines, tables

    if json:
        json_lines.emit(json_lines.as_json(job))
    else:
        tables.show(tables.job(job))
