"""What is kept of the reports of a job while its analysis publishes them."""

from __future__ import annotations

from pathlib import Path

from reelsplit import Report, ReportKind, ReportOptions
from reelsplit.types.event import PlanCompleted
from reelsplit.types.job import JobState
from reelsplit_server.engine import seam
from tests.unit.jobs.engines import PIN, SOURCE, ScriptedEngine, ended, scheduling
from tests.unit.jobs.keeping import Kept, kept

REPORTS = ReportOptions(kinds=[ReportKind.EDL, ReportKind.HTML], uri_template="/v/{stem}.{kind}")


def report(kind: ReportKind, checksum: str = "sha256:edl") -> Report:
    return Report(kind=kind, uri=f"/v/film.{kind.name.lower()}", size_bytes=7, checksum=checksum)


async def test_reports_stand_in_the_job_and_in_its_plan(keep: Kept) -> None:
    engine = ScriptedEngine()
    made = [report(ReportKind.EDL), report(ReportKind.HTML, "sha256:html")]

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Analyse):
            assert unit.intents == {}
            await on_report(seam.Opened(source=SOURCE, pin=PIN))
            for one in made:
                told = seam.PublishingReport(report=one.kind, checksum=one.checksum)
                await on_report(told)
                await on_report(seam.PublishedReport(report=one))
            return seam.PlanDone(source=SOURCE)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(reports=REPORTS)
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert record.state is JobState.SUCCEEDED
    assert list(record.reports) == made
    events = [item.event.event for item in await keep.store.events(job.job_id, 0, 100)]
    (plan,) = [event for event in events if isinstance(event, PlanCompleted)]
    assert list(plan.reports) == made


async def test_a_repeated_analysis_knows_what_the_one_before_was_about_to_publish(
    keep: Kept,
) -> None:
    engine, seen = ScriptedEngine(), list[dict[ReportKind, str]]()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if not isinstance(unit, seam.Analyse):
            return await engine.well(unit, on_report)
        seen.append(dict(unit.intents))
        mark = f"sha256:{len(seen)}"
        await on_report(seam.Opened(source=SOURCE, pin=PIN))
        await on_report(seam.PublishingReport(report=ReportKind.EDL, checksum=mark))
        if len(seen) == 1:
            raise seam.WorkerDiedError("killed")
        await on_report(seam.PublishedReport(report=report(ReportKind.EDL, mark)))
        await on_report(seam.PublishedReport(report=report(ReportKind.EDL, mark)))
        return seam.PlanDone(source=SOURCE)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(reports=REPORTS)
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert seen == [{}, {ReportKind.EDL: "sha256:1"}]
    assert list(record.reports) == [report(ReportKind.EDL, "sha256:2")]


async def test_what_a_killed_server_left_is_cleared_up_unless_it_is_listed(
    tmp_path: Path,
) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add(reports=REPORTS)
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        for kind in REPORTS.kinds:
            await keep.store.intend_report(job.job_id, kind, f"sha256:{kind.name}")
        listed = report(ReportKind.EDL, "sha256:EDL")
        await keep.store.report_published(job.job_id, listed)
    engine = ScriptedEngine()
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        record = await ended(keep, job.job_id)
        await keep.store.delete("me", job.job_id)
        assert await keep.store.report_intents(job.job_id) == {}
    assert list(record.reports) == [listed]
    (left,) = engine.left
    assert isinstance(left, seam.Analyse)
    assert left.intents == {ReportKind.HTML: "sha256:HTML"}
