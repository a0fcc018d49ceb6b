"""The reports of whole jobs on a running server."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import opentimelineio as otio
import pytest

from reelsplit import (
    AdaptiveDetector,
    Client,
    InvalidRequestError,
    Job,
    JobState,
    Output,
    OverwritePolicy,
    PlanCompleted,
    Report,
    ReportKind,
    ReportOptions,
    ReportTarget,
    every,
    ranges,
    shots,
)

ALL = [kind for kind in ReportKind if kind is not ReportKind.UNSPECIFIED]
NAMES = ["edl", "html", "otio", "scores.csv", "shots.csv", "shots.json"]
SHOTS = [(0, 72), (72, 168), (168, 240)]
FOUND = shots(detector=AdaptiveDetector())


def done(job: Job) -> Sequence[Report]:
    assert job.state is JobState.SUCCEEDED, job.error
    return job.reports


def check(reports: Sequence[Report]) -> dict[ReportKind, Path]:
    """What the job tells of its reports is so."""
    for report in reports:
        data = Path(report.uri).read_bytes()
        assert report.size_bytes == len(data)
        assert report.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
    return {report.kind: Path(report.uri) for report in reports}


def clips(timeline: otio.schema.Timeline) -> list[tuple[int, int]]:
    (track,) = timeline.tracks
    return [
        (
            round(clip.source_range.start_time.value),
            round(clip.source_range.end_time_exclusive().value),
        )
        for clip in track
    ]


def test_all_reports_of_a_job_without_segments(client: Client, film: str, out: Path) -> None:
    options = ReportOptions(kinds=ALL, uri_template=f"{out}/deep/{{stem}}.{{kind}}")
    handle = client.submit(film, FOUND, reports=options)
    reports = check(done(handle.result(timeout=90)))
    assert sorted(path.name for path in (out / "deep").iterdir()) == [f"clip.{n}" for n in NAMES]
    assert list(reports) == ALL

    told = json.loads(reports[ReportKind.SHOTS_JSON].read_text())
    assert [(shot["startFrame"], shot["endFrame"]) for shot in told["shots"]] == SHOTS
    assert told["source"]["frameCount"] == 240
    with reports[ReportKind.SHOTS_CSV].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["start_frame"]), int(row["end_frame"])) for row in rows] == SHOTS
    with reports[ReportKind.SCORES_CSV].open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in scores] == list(range(240))
    assert max(scores[1:], key=lambda row: float(row["content_val"]))["frame"] in ("72", "168")
    edl = otio.adapters.read_from_string(reports[ReportKind.EDL].read_text(), "cmx_3600", rate=24)
    assert clips(edl) == SHOTS
    assert clips(otio.adapters.read_from_file(str(reports[ReportKind.OTIO]), "otio_json")) == SHOTS
    page = reports[ReportKind.HTML].read_text()
    assert page.count("<figure") == page.count("<img") == 3
    assert "<svg" in page

    plans = [
        event.event
        for event in client.watch(handle.job_id)
        if isinstance(event.event, PlanCompleted)
    ]
    assert [report.kind for plan in plans for report in plan.reports] == ALL


def test_our_own_detector_scores_every_frame(client: Client, film: str, out: Path) -> None:
    wanted = [ReportKind.SCORES_CSV, ReportKind.HTML]
    options = ReportOptions(kinds=wanted, uri_template=f"{out}/{{kind}}")
    reports = check(done(client.submit(film, shots(), reports=options).result(timeout=90)))
    with reports[ReportKind.SCORES_CSV].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(240))
    scores = [float(row["score"]) for row in rows]
    assert sorted(range(240), key=scores.__getitem__)[-2:] in ([72, 168], [168, 72])
    assert [float(row["seconds"]) for row in rows] == pytest.approx(
        [n / 24 for n in range(240)], abs=1e-6
    )
    assert reports[ReportKind.HTML].read_text().count("<svg") == 1


def test_reports_lie_beside_the_segments_and_go_with_them(
    client: Client, film: str, out: Path
) -> None:
    output = Output(uri_template=f"{out}/{{stem}}/{{index}}.mp4")
    handle = client.submit(film, every(5), output, reports=[ReportKind.EDL, ReportKind.HTML])
    reports = check(done(handle.result(timeout=90)))
    assert set(reports.values()) == {out / "clip" / "clip.edl", out / "clip" / "clip.html"}
    assert client.delete(handle.job_id, delete_outputs=True) == 4
    assert list((out / "clip").iterdir()) == []


def test_reports_may_have_places_of_their_own(client: Client, film: str, out: Path) -> None:
    options = ReportOptions(
        targets=[
            ReportTarget(kind=ReportKind.EDL, uri_template=f"{out}/a b/cut list.edl"),
            ReportTarget(kind=ReportKind.SHOTS_CSV, uri_template=f"file://{out}/%25{{stem}}.csv"),
        ]
    )
    job = client.submit(film, ranges((5, 6), (0, 1)), reports=options).result(timeout=90)
    assert len(done(job)) == 2
    content = (out / "a b" / "cut list.edl").read_text()
    assert clips(otio.adapters.read_from_string(content, "cmx_3600", rate=24)) == [
        (120, 144),
        (0, 24),
    ]
    assert (out / "%clip.csv").exists()


def test_what_is_there_already_is_kept_or_replaced_as_asked(
    client: Client, film: str, out: Path
) -> None:
    out.mkdir(exist_ok=True)
    path = out / "x.edl"
    path.write_text("precious")
    options = ReportOptions(kinds=[ReportKind.EDL], uri_template=str(path))
    job = client.submit(film, every(5), reports=options).wait(timeout=90)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.reason, job.error.metadata) == ("OUTPUT_EXISTS", {"uri": str(path)})
    assert path.read_text() == "precious"
    assert job.reports == ()
    # The user makes room, and the same job goes on.
    path.unlink()
    client.retry(job.job_id)
    check(done(client.wait(job.job_id, timeout=90)))
    over = ReportOptions(
        kinds=[ReportKind.EDL],
        uri_template=str(path),
        overwrite_policy=OverwritePolicy.REPLACE,
    )
    path.write_text("old")
    check(done(client.submit(film, every(2), reports=over).result(timeout=90)))
    assert "005" in path.read_text()


def test_a_report_never_replaces_the_source(client: Client, clip: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    source = out / "video"
    source.write_bytes(clip.read_bytes())
    options = ReportOptions(
        kinds=[ReportKind.EDL],
        uri_template=str(source),
        overwrite_policy=OverwritePolicy.REPLACE,
    )
    job = client.submit(str(source), every(5), reports=options).wait(timeout=90)
    assert job.error is not None
    assert job.error.reason == "OUTPUT_COLLISION"
    assert source.read_bytes() == clip.read_bytes()


def test_what_cannot_be_had_is_refused_at_once(client: Client, film: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.submit(film, every(1), reports=[ReportKind.SCORES_CSV])
    assert {violation.field for violation in caught.value.violations} == {
        "spec.reports.kinds[0]",
        "spec.reports.uri_template",
    }
