"""Which reports may be asked for, and where they go."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from reelsplit import (
    JobSpec,
    Output,
    OverwritePolicy,
    ReportKind,
    ReportOptions,
    ReportTarget,
    ShotDetection,
)
from reelsplit_server.app.presenting import _without_secrets
from reelsplit_server.app.resolution import resolve
from reelsplit_server.storage.report_places import report_endpoint, report_templates
from tests.unit.app.specs import BOUNDS, spec, violations

EDL, HTML, SCORES = ReportKind.EDL, ReportKind.HTML, ReportKind.SCORES_CSV
OUT = Output(uri_template="/w/{stem}/{index}.mp4")


def asked(
    *kinds: ReportKind, output: Output | None = None, mode: Any = None, **values: Any
) -> JobSpec:
    """A job that only wants reports, or also segments."""
    options = ReportOptions(kinds=kinds, **values)
    return spec(output=output, mode=mode or ShotDetection(), reports=options)


def target(kind: ReportKind, template: str) -> ReportTarget:
    return ReportTarget(kind=kind, uri_template=template)


RIGHT = [
    asked(EDL, output=OUT),
    asked(EDL, uri_template="/w/film.edl"),
    asked(EDL, HTML, SCORES, uri_template="/w/{stem}.{kind}"),
    asked(EDL, HTML, uri_template="s3://videos/r/{job_id}/{kind}"),
    asked(targets=[target(EDL, "/w/a.edl"), target(HTML, "/v/{stem}.html")]),
    asked(EDL, output=OUT, targets=[target(HTML, "/v/page.html")]),
    asked(EDL, mode=spec().mode, uri_template="/w/film.edl"),
]


@pytest.mark.parametrize("wanted", RIGHT, ids=range(len(RIGHT)))
def test_what_is_right_is_taken(wanted: JobSpec) -> None:
    assert violations(wanted) == ()


WRONG: list[tuple[JobSpec, str, str]] = [
    (asked(), "kinds", "is required"),
    (asked(EDL), "uri_template", "is required in a job without output"),
    (asked(EDL, uri_template=""), "uri_template", "is required"),
    (asked(EDL, uri_template="/w/{index}.edl"), "uri_template", "holds {index}"),
    (asked(EDL, uri_template="/w/{kind!r}"), "uri_template", "conversions"),
    (asked(EDL, HTML, uri_template="/w/film"), "uri_template", "needs {kind}"),
    (asked(EDL, uri_template="/x/film.edl"), "uri_template", "lies outside"),
    (asked(EDL, uri_template="film.edl"), "uri_template", ""),
    (asked(EDL, uri_template="/w/0.mp4"), "uri_template", "ending of a video"),
    (asked(EDL, uri_template="/w/" + "x" * 200), "uri_template", "longer than 200"),
    (asked(EDL, uri_template="http://cdn.example.com/x.edl"), "uri_template", "only read"),
    (
        asked(EDL, uri_template="/w/film.edl", endpoint="s3.local"),
        "endpoint",
        "has no endpoint",
    ),
    (asked(EDL, EDL, uri_template="/w/{kind}"), "kinds[1]", "a second time"),
    (
        asked(EDL, uri_template="/w/{kind}", targets=[target(EDL, "/w/b")]),
        "targets[0].kind",
        "a second time",
    ),
    (asked(ReportKind.UNSPECIFIED, uri_template="/w/{kind}"), "kinds[0]", "is required"),
    (
        asked(SCORES, mode=spec().mode, uri_template="/w/{kind}"),
        "kinds[0]",
        "only shot_detection",
    ),
    (
        asked(targets=[target(EDL, "/w/x"), target(HTML, "/w/x")]),
        "targets[1].uri_template",
        "leads EDL and HTML to one place",
    ),
    (asked(targets=[target(EDL, "")]), "targets[0].uri_template", "is required"),
    (
        asked(uri_template="/w/{kind}", targets=[target(EDL, "/w/x")]),
        "uri_template",
        "needs kinds",
    ),
]


@pytest.mark.parametrize(
    ("wanted", "field", "words"), WRONG, ids=[f"{n}-{w[1]}" for n, w in enumerate(WRONG)]
)
def test_what_is_wrong_is_named(wanted: JobSpec, field: str, words: str) -> None:
    (violation,) = violations(wanted)
    assert violation.field == f"spec.reports.{field}"
    assert violation.reason == "INVALID_FIELD"
    assert words in violation.description


def test_a_timeline_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = asked(EDL, ReportKind.OTIO, uri_template="/w/{kind}")
    assert violations(wanted) == ()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (violation,) = violations(wanted)
    assert (violation.field, violation.reason) == ("spec.reports.kinds[1]", "NOT_SUPPORTED")


def test_reports_lie_beside_the_segments() -> None:
    for template, beside in {
        "/w/{index}.mp4": "/w/{stem}.{kind}",
        "/w/{stem}/{index:04d}/x.mp4": "/w/{stem}/{stem}.{kind}",
        "s3://videos/{job_id}-{start}/{index}.mp4": "s3://videos/{stem}.{kind}",
        "/w/{{index}}/{index}.mp4": "/w/{{index}}/{stem}.{kind}",
    }.items():
        wanted = asked(EDL, output=Output(uri_template=template))
        assert violations(wanted) == ()
        resolved = resolve(wanted, BOUNDS)
        assert resolved.reports is not None
        assert resolved.reports.uri_template == beside
        assert report_templates(resolved) == {EDL: beside}


@pytest.mark.parametrize(
    ("own", "output", "resolved"),
    [
        (None, None, "REFUSE"),
        (None, OverwritePolicy.REPLACE, "REPLACE"),
        (OverwritePolicy.REFUSE, OverwritePolicy.REPLACE, "REFUSE"),
        (OverwritePolicy.REPLACE, None, "REPLACE"),
    ],
)
def test_what_is_there_is_treated_as_with_the_output(
    own: OverwritePolicy | None, output: OverwritePolicy | None, resolved: str
) -> None:
    out = Output(uri_template="/w/{index}.mp4", overwrite_policy=output)
    reports = resolve(asked(EDL, output=out, overwrite_policy=own), BOUNDS).reports
    assert reports is not None
    assert reports.overwrite_policy == resolved


def test_the_endpoint_is_the_outputs_for_its_bucket() -> None:
    out = Output(uri_template="s3://videos/{index}.mp4", endpoint="s3.local")
    wanted = asked(EDL, output=out, targets=[target(HTML, "/w/page.html")])
    assert violations(wanted) == ()
    assert report_endpoint(wanted, "s3://videos/film.edl") == "s3.local"
    assert report_endpoint(wanted, "s3://out-1/film.edl") is None
    assert report_endpoint(wanted, "/w/page.html") is None


def test_secrets_in_templates_are_not_shown() -> None:
    options = ReportOptions(
        kinds=[EDL],
        uri_template="s3://key:secret@videos/{kind}",
        targets=[target(HTML, "s3://key:secret@videos/{kind}")],
    )
    assert "secret" not in repr(_without_secrets(spec(reports=options)).reports)
