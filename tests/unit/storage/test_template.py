"""Output templates: only the known placeholders, and nothing of Python's format language."""

from __future__ import annotations

from fractions import Fraction

import pytest

from reelsplit.types.spec import ReportKind
from reelsplit_server.storage.location import parse
from reelsplit_server.storage.template import (
    KINDS,
    TemplateError,
    Values,
    beside,
    check,
    check_report,
    expand,
    expand_report,
)

VALUES = Values(
    index=7, start=Fraction(3, 2), end=Fraction(10), stem="film", job_id="0123456789abcdef" * 2
)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/o/{index}.mp4", "/o/7.mp4"),
        ("/o/{index:d}.mp4", None),
        ("/o/{index:04d}.mp4", "/o/0007.mp4"),
        ("/o/{index:4d}.mp4", "/o/   7.mp4"),
        ("/o/{index:020d}.mp4", f"/o/{7:020d}.mp4"),
        ("/o/{start}-{end}-{index}.mp4", "/o/1.500-10.000-7.mp4"),
        ("/o/{stem}/{index}.mp4", "/o/film/7.mp4"),
        ("/o/{job_id}/{index}.mp4", "/o/" + "0123456789abcdef" * 2 + "/7.mp4"),
        ("/o/{{index}}-{index}.mp4", "/o/{index}-7.mp4"),
        ("/o/{index}{index}.mp4", "/o/77.mp4"),
    ],
)
def test_placeholders_are_expanded(template: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(TemplateError):
            check(template)
    else:
        check(template)
        assert expand(template, VALUES) == path


@pytest.mark.parametrize(
    "template",
    [
        "",
        "/o/film.mp4",
        "/o/{{index}}.mp4",
        "/o/{stem}.mp4",
        "/o/{}.mp4",
        "/o/{0}{index}.mp4",
        "/o/{index.__class__}.mp4",
        "/o/{index.__class__.__mro__[1]}{index}.mp4",
        "/o/{index[0]}{index}.mp4",
        "/o/{index!r}.mp4",
        "/o/{stem!s}{index}.mp4",
        "/o/{index:>9999}.mp4",
        "/o/{index:9999d}.mp4",
        "/o/{index:21d}.mp4",
        "/o/{index:0d}.mp4",
        "/o/{index:-4d}.mp4",
        "/o/{index:04x}.mp4",
        "/o/{index:٤d}.mp4",
        "/o/{index:{index}}.mp4",
        "/o/{start:04d}{index}.mp4",
        "/o/{stem:>99}{index}.mp4",
        "/o/{Index}.mp4",
        "/o/{ index }.mp4",
        "/o/{index",
        "/o/index}",
        "/o/{index}{",
        "/o/{index}{unknown}.mp4",
    ],
)
def test_a_template_that_is_no_plain_one_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        check(template)


def test_what_a_source_is_called_is_never_expanded_again() -> None:
    hostile = Values(
        index=0, start=Fraction(0), end=Fraction(1), stem="{job_id}{index.x}", job_id="j"
    )
    assert expand("/o/{stem}{index}.mp4", hostile) == "/o/{job_id}{index.x}0.mp4"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (Fraction(0), "0.000"),
        (Fraction(1, 3), "0.333"),
        (Fraction(2, 3), "0.667"),
        (Fraction(1001, 30000), "0.033"),
        (Fraction(36_000_000), "36000000.000"),
        (Fraction(59_9999, 10_000), "60.000"),
    ],
)
def test_times_have_three_decimals(time: Fraction, text: str) -> None:
    values = Values(index=0, start=time, end=time, stem="s", job_id="j")
    assert expand("{index} {start} {end}", values) == f"0 {text} {text}"


def test_the_stem_is_escaped_where_escapes_are_read() -> None:
    values = Values(index=0, start=Fraction(0), end=Fraction(1), stem="100%2f? #ä", job_id="j")
    place = parse(expand("file:///o/{stem}{index}.mp4", values))
    assert place.path == "/o/100%2f? #ä0.mp4"
    assert parse(expand("/o/{stem}{index}.mp4", values)).path == "/o/100%2f? #ä0.mp4"
    place = parse(expand("HTTPS://b-x.oss-x.example/{stem}{index}.mp4", values))
    assert (place.bucket, place.path) == ("b-x", "100%2f? #ä0.mp4")


# --- Reports -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/o/{stem}.{kind}", "/o/a b%.shots.json"),
        ("file:///o/{stem}.{kind}", "file:///o/a%20b%25.shots.json"),
        ("s3://b/{job_id}/x", "s3://b/7/x"),
        ("/o/{{kind}}", "/o/{kind}"),
    ],
)
def test_reports_have_placeholders_of_their_own(template: str, path: str) -> None:
    check_report(template, 1)
    assert expand_report(template, ReportKind.SHOTS_JSON, "a b%", "7") == path


@pytest.mark.parametrize(
    "template",
    ["/o/{index}", "/o/{start}", "/o/{}", "/o/{kind:3}", "/o/{kind!r}", "/o/{kind.x}", "/o/{"],
)
def test_other_placeholders_of_reports_are_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        check_report(template, 1)


def test_every_report_has_a_name_of_its_own() -> None:
    assert set(KINDS) == set(ReportKind) - {ReportKind.UNSPECIFIED}
    assert len(set(KINDS.values())) == len(KINDS)
    with pytest.raises(TemplateError, match=r"needs {kind}"):
        check_report("/o/{stem}", 2)


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        ("/o/{index}.mp4", "/o/"),
        ("{index}.mp4", ""),
        ("/o/{stem}/a-{index}/{stem}.mp4", "/o/{stem}/"),
        ("/o/{job_id}/{{x}}/{end}{index}.mp4", "/o/{job_id}/{{x}}/"),
        ("s3://b/{index}.mp4", "s3://b/"),
    ],
)
def test_reports_lie_in_the_folder_that_all_segments_share(template: str, folder: str) -> None:
    assert beside(template) == folder + "{stem}.{kind}"
