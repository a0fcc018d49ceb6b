"""How the reports of an analysis are published, and what is left of them when it ends badly."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from reelsplit import FixedInterval, Input, JobSpec, Report, ReportKind, ReportOptions
from reelsplit.types.output import OverwritePolicy
from reelsplit_server.engine.desk import Desk
from reelsplit_server.engine.desks import Desks
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    Analyse,
    Failed,
    Outcome,
    PlanDone,
    PublishedReport,
    PublishingReport,
)
from reelsplit_server.engine.seam import Report as Told
from reelsplit_server.storage.stores import Stores
from reelsplit_server.work.asks import Finished, ReportFinished
from tests.clips import make_clip
from tests.proxy import Proxy
from tests.unit.engine.stores import SOON, Bucket, cleared, held, let_go
from tests.unit.engine.units import render_of

KINDS = [ReportKind.SHOTS_CSV, ReportKind.HTML]
SUM = "sha256:" + "3" * 64


class Heard:
    """Hears what a unit tells; ``refuses`` what cannot be kept."""

    def __init__(self, refuses: type[Told] | None = None) -> None:
        self.intents: dict[ReportKind, str] = {}
        self.reports: list[Report] = []
        self._refuses = refuses

    async def __call__(self, told: Told) -> None:
        if self._refuses is not None and isinstance(told, self._refuses):
            raise LookupError("no database")
        match told:
            case PublishingReport(report=kind, checksum=checksum):
                self.intents[kind] = checksum
            case PublishedReport(report=report):
                assert self.intents[report.kind] == report.checksum
                self.reports.append(report)


@pytest.fixture
def analysis(tmp_path: Path) -> Analyse:
    """One that makes two reports, in a folder."""
    clip = tmp_path / "clip.mp4"
    make_clip(clip, frames=24)
    return Analyse(
        job_id="0" * 32,
        spec=JobSpec(
            input=Input(uri=str(clip)),
            mode=FixedInterval(interval=0.5),
            reports=ReportOptions(kinds=KINDS, uri_template=f"{tmp_path}/out/{{stem}}.{{kind}}"),
        ),
        pin=None,
        folder=tmp_path / "job",
        threads=1,
        most_segments=100,
        most_pixels=10**7,
    )


def going_to(unit: Analyse, template: str, *, replace: bool = False) -> Analyse:
    assert unit.spec.reports is not None
    policy = OverwritePolicy.REPLACE if replace else None
    reports = dataclasses.replace(unit.spec.reports, uri_template=template, overwrite_policy=policy)
    return dataclasses.replace(unit, spec=dataclasses.replace(unit.spec, reports=reports))


async def run(engine: LocalEngine, unit: Analyse, heard: Heard) -> Outcome:
    return await asyncio.wait_for(engine.run(unit, heard, timeout=None), 60)


@pytest.mark.parametrize("far", [False, True])
async def test_what_an_earlier_attempt_published_is_no_obstacle(
    engine: LocalEngine, analysis: Analyse, bucket: Bucket, key: str, far: bool
) -> None:
    unit = going_to(analysis, f"s3://{bucket.name}/{key}/{{kind}}") if far else analysis
    first = Heard()
    assert isinstance(await run(engine, unit, first), PlanDone)
    assert [report.kind for report in first.reports] == KINDS
    # As after a crash before its end was seen; of one report even the publishing was not.
    again, known = Heard(), dataclasses.replace(unit, intents=first.intents)
    again.intents = dict(first.intents)
    assert isinstance(await run(engine, known, again), PlanDone)
    assert again.reports == first.reports
    stranger = Heard()
    outcome = await run(engine, unit, stranger)
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "OUTPUT_EXISTS"
    assert stranger.intents == {}


async def test_what_an_earlier_attempt_published_of_other_bytes_is_replaced(
    engine: LocalEngine, analysis: Analyse
) -> None:
    first, second = Heard(), Heard()
    await run(engine, analysis, first)
    other = dataclasses.replace(analysis.spec, mode=FixedInterval(interval=0.25))
    unit = dataclasses.replace(analysis, spec=other, intents=first.intents)
    assert isinstance(await run(engine, unit, second), PlanDone)
    for before, after in zip(first.reports, second.reports, strict=True):
        assert before.uri == after.uri
        assert before.checksum != after.checksum
        assert Path(after.uri).stat().st_size == after.size_bytes


@pytest.mark.parametrize("refused", [PublishingReport, PublishedReport])
@pytest.mark.parametrize("far", [False, True])
async def test_what_cannot_be_listed_does_not_stay(
    engine: LocalEngine,
    analysis: Analyse,
    bucket: Bucket,
    key: str,
    far: bool,
    refused: type[Told],
) -> None:
    unit = going_to(analysis, f"s3://{bucket.name}/{key}/{{kind}}") if far else analysis
    with pytest.raises(LookupError):
        await run(engine, unit, Heard(refuses=refused))
    await cleared(engine)
    assert bucket.keys(key) == bucket.uploads(key) == []
    assert not [path for path in analysis.folder.parent.glob("out/*") if path.is_file()]


async def test_an_upload_under_way_is_given_up_when_the_unit_is_stopped(
    engine: LocalEngine, analysis: Analyse, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    unit = going_to(analysis, f"s3://{bucket.name}/{key}/{{kind}}")
    proxy.holds = lambda line: line.startswith(("PUT ", "POST "))
    heard = Heard()
    task = asyncio.create_task(engine.run(unit, heard, timeout=None))
    await held(proxy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    let_go(proxy)
    await cleared(engine)
    assert heard.reports == []
    assert bucket.keys(key) == bucket.uploads(key) == []


async def test_what_a_dead_server_left_is_cleared_up(
    engine: LocalEngine, analysis: Analyse
) -> None:
    heard = Heard()
    await run(engine, analysis, heard)
    csv, page = (Path(report.uri) for report in heard.reports)
    left = {ReportKind.SHOTS_CSV: heard.intents[ReportKind.SHOTS_CSV], ReportKind.HTML: SUM}
    engine.abandon([dataclasses.replace(analysis, intents=left)])
    await cleared(engine)
    assert not csv.exists()
    assert page.exists()


async def test_a_report_is_finished_once_and_only_if_it_was_asked_for(
    engine: LocalEngine, analysis: Analyse, tmp_path: Path
) -> None:
    stores: Stores = engine._desks.stores

    def finished(kind: ReportKind, checksum: str = SUM, size: int = 1) -> ReportFinished:
        return ReportFinished(report=kind, size_bytes=size, checksum=checksum)

    desk = Desk(Desks(stores, 1), analysis, Heard())
    await desk.open()
    wrong = [
        finished(ReportKind.EDL),
        finished(ReportKind.HTML, checksum="sha256:x"),
        finished(ReportKind.HTML, size=-1),
    ]
    for ask in wrong:
        with pytest.raises(ValueError, match="report"):
            await desk.answer(ask)
    analysis.folder.mkdir()
    (analysis.folder / "report-html").write_bytes(b"page")
    assert await desk.answer(finished(ReportKind.HTML)) is not None
    with pytest.raises(ValueError, match="once"):
        await desk.answer(finished(ReportKind.HTML))
    render = render_of(tmp_path, f"{tmp_path}/{{index}}.mp4")
    with pytest.raises(ValueError, match="segment"):
        await desk.answer(Finished(segment=render.segment))
    other = Desk(Desks(stores, 1), render, Heard())
    await other.open()
    with pytest.raises(ValueError, match="report"):
        await other.answer(finished(ReportKind.HTML))
