"""`reelsplit shots`."""

from __future__ import annotations

from typing import Annotated

import typer

from reelsplit.cli.failures import Finished
from reelsplit.cli.options import (
    DetectOptions,
    JobOptions,
    Json,
    MaybeServer,
    ModeOptions,
    OutputOptions,
    Overwrite,
    ReportOptions,
)

Source = Annotated[str, typer.Argument(metavar="INPUT", help="The video.", show_default=False)]


def shots(
    *,
    source: Source,
    detect: DetectOptions,
    reports: ReportOptions,
    overwrite: Overwrite = False,
    json: Json = False,
    server: MaybeServer,
) -> None:
    """List the shots of a video without cutting it, and write reports of them.

    With --json, stdout gets one line for each event, and as the last line {"shots":
    [{"startFrame", "endFrame", "startOffset", "endOffset", "transition", "confidence"}, …]}.
    Frames count from 0 in the order in which they are presented; the end is the first frame
    behind the shot. On failure the last line has an "error" besides.
    """
    from reelsplit.cli import execute, json_lines, specs, tables, templates
    from reelsplit.cli.failures import ExitCode
    from reelsplit.cli.runner import Outcome

    def last(outcome: Outcome) -> dict[str, object]:
        return json_lines.shots(outcome.segments, outcome.failure)

    def show(outcome: Outcome, title: str) -> None:
        tables.show(tables.shots(outcome.segments, title))
        tables.show_reports(outcome.job)

    def run() -> ExitCode:
        mode, output = ModeOptions(shots=True), OutputOptions()
        recipe = specs.recipe(mode, detect, output, JobOptions(), overwrite=overwrite)
        jobs = templates.pair([source], None, specs.read_reports(reports))
        return execute.run(jobs, recipe, server, last if json else None, show)

    nothing = (lambda failure: json_lines.shots((), failure)) if json else None
    raise Finished(execute.or_last_line(nothing, run))
