"""Runs jobs for a command and shows them, on a server that may be started for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reelsplit.cli import json_lines, templates
from reelsplit.cli.connection import connect, connect_or_start
from reelsplit.cli.failures import ExitCode, Failure, Problem, wrong_usage
from reelsplit.cli.options import MaybeServer, Server
from reelsplit.cli.reporting import reporter, tell
from reelsplit.cli.runner import Outcome, Runner, Task, exit_code
from reelsplit.cli.signals import Interrupts
from reelsplit.cli.specs import Recipe

_FAULT = "INTERNAL"

Last = Callable[[Outcome], dict[str, Any]]
"""The last line of a job as JSON."""
Show = Callable[[Outcome, str], None]
"""Prints the table of a job under a title."""


def run(
    jobs: Sequence[templates.Job],
    recipe: Recipe,
    access: MaybeServer,
    last: Last | None,
    show: Show,
) -> ExitCode:
    """Run these jobs to their end. An interruption cancels them."""
    check_text(jobs)
    if access.server is None:
        jobs = [templates.local(job) for job in jobs]
    tasks = [Task(name=job.name, spec=recipe.spec(job)) for job in jobs]
    with Interrupts() as interrupts:
        with (
            connect_or_start(access, lambda: templates.roots(jobs), interrupts) as server,
            reporter(len(tasks), last) as shown,
        ):
            outcomes = Runner(server.client, shown, interrupts, server.check).run(tasks)
        _finish(outcomes, last, show)
        said = server.log()
        if said and any(
            outcome.failure and outcome.failure.reason == _FAULT for outcome in outcomes
        ):
            tell(Failure(ExitCode.FAILED, f"the server's log: {said}"))
    return exit_code(outcomes)


def follow(job_id: str, access: Server, last: Last | None, show: Show) -> ExitCode:
    """Follow a job to its end. An interruption leaves the job alone."""
    task = Task(name=job_id[:8], job_id=job_id)
    with Interrupts() as interrupts, connect(access) as client:
        with reporter(1, last) as shown:
            outcomes = Runner(client, shown, interrupts).run([task])
        _finish(outcomes, last, show)
    return exit_code(outcomes)


def or_last_line(
    last: Callable[[Failure], dict[str, Any]] | None, job: Callable[[], ExitCode]
) -> ExitCode:
    """Do it. With `last`, a failure before there is a job still prints a last line."""
    try:
        return job()
    except Failure as failure:
        if last is not None:
            json_lines.emit(last(failure))
        raise


def check_text(jobs: Sequence[templates.Job]) -> None:
    """Refuse names that the contract cannot carry."""
    wrong = [
        Problem(place=place, text=f"{text!r} is no UTF-8, which names of videos must be")
        for job in jobs
        for place, text in (
            ("INPUT", job.source),
            ("TEMPLATE", job.template or ""),
            *(("--report", report.template or "") for report in job.reports),
        )
        if not _is_text(text)
    ]
    if wrong:
        raise wrong_usage(wrong)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finish(outcomes: Sequence[Outcome], last: Last | None, show: Show) -> None:
    several = len(outcomes) > 1
    for outcome in outcomes:
        name = outcome.task.name if several else ""
        if last is None and outcome.segments:
            show(outcome, name)
        if outcome.failure is not None:
            tell(outcome.failure, name)
