"""`reelsplit split`."""

from __future__ import annotations

from typing import Annotated

import typer

from reelsplit.cli.failures import Finished, usage
from reelsplit.cli.options import (
    DetectOptions,
    JobOptions,
    Json,
    MaybeServer,
    ModeOptions,
    OutputOptions,
    ReportOptions,
)

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT... TEMPLATE",
        help="The videos, and where the segments go: out/{index:03d}.mp4. Also {start}, {end}, "
        "{stem} and {job_id}; several videos need {stem}.",
        show_default=False,
    ),
]


def split(
    *,
    paths: Paths,
    mode: ModeOptions,
    detect: DetectOptions,
    output: OutputOptions,
    reports: ReportOptions,
    job: JobOptions,
    json: Json = False,
    server: MaybeServer,
) -> None:
    """Split videos into segments and wait for them.

    With --json, stdout gets one line for each event (a WatchJobResponse), and as the last line
    {"job": …, "segments": […]}, on failure too. Several videos are split at the same time: each
    has such a line of its own when it ends, and the events name their job.

    Exit codes: 0 done, 1 a job failed, 2 wrong usage, 3 no server reached, 130 interrupted, which
    cancels the jobs.
    """
    from reelsplit.cli import execute, json_lines, specs, tables, templates
    from reelsplit.cli.failures import ExitCode
    from reelsplit.cli.runner import Outcome

    def last(outcome: Outcome) -> dict[str, object]:
        return json_lines.result(outcome.job, outcome.segments, outcome.outside)

    def show(outcome: Outcome, title: str) -> None:
        tables.show(tables.segments(outcome.segments, title))
        tables.show_reports(outcome.job)

    def run() -> ExitCode:
        if len(paths) < 2:
            usage("TEMPLATE", "is missing; after the video comes where to, such as out/{index}.mp4")
        if job.notify and server.server is None:
            # A server that is started for this command ends with the job.
            usage("--notify", "goes with --server only")
        recipe = specs.recipe(mode, detect, output, job)
        jobs = templates.pair(paths[:-1], paths[-1], specs.read_reports(reports))
        return execute.run(jobs, recipe, server, last if json else None, show)

    nothing = (lambda failure: json_lines.result(None, (), failure)) if json else None
    raise Finished(execute.or_last_line(nothing, run))
