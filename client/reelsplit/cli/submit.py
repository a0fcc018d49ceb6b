"""`reelsplit submit`."""

from __future__ import annotations

from reelsplit.cli.options import (
    DetectOptions,
    JobOptions,
    Json,
    ModeOptions,
    OutputOptions,
    ReportOptions,
    Server,
)
from reelsplit.cli.split import Paths


def submit(
    *,
    paths: Paths,
    mode: ModeOptions,
    detect: DetectOptions,
    output: OutputOptions,
    reports: ReportOptions,
    job: JobOptions,
    json: Json = False,
    server: Server,
) -> None:
    """Hand videos to a server and print the ids of the jobs, without waiting for them.

    Paths are the server's. A single path without a template finds the segments and cuts nothing.
    """
    from reelsplit.cli import execute, json_lines, specs, templates
    from reelsplit.cli.connection import connect
    from reelsplit.cli.translate import explain
    from reelsplit.errors import ReelsplitError

    recipe = specs.recipe(mode, detect, output, job)
    inputs, template = (paths[:-1], paths[-1]) if len(paths) > 1 else (paths, None)
    jobs = templates.pair(inputs, template, specs.read_reports(reports))
    execute.check_text(jobs)
    with connect(server) as client:
        for one in jobs:
            spec = recipe.spec(one)
            try:
                handle = client.submit_spec(spec)
                if json:
                    json_lines.emit(json_lines.as_json(handle.job or handle.get()))
                else:
                    print(handle.job_id, flush=True)
            except ReelsplitError as error:
                raise explain(error, spec) from None
