"""What the reports that are asked for must be."""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import Protocol

from reelsplit.types.spec import JobSpec, ReportKind, ReportOptions, ShotDetection
from reelsplit_server.media import formats
from reelsplit_server.storage import location, template
from reelsplit_server.storage.report_places import report_endpoint, report_templates
from reelsplit_server.storage.routes import Verb


class Checker(Protocol):
    """The part of the collector of violations that is needed here."""

    def wrong(self, field: str, description: str) -> None:
        """A field is wrong."""

    def unsupported(self, field: str, description: str) -> None:
        """A field asks for what cannot be done here."""

    def length(self, field: str, text: str) -> bool:
        """Whether a template is not too long."""

    def place(
        self, at: str, name: str, uri: str, endpoint: str | None, verb: Verb
    ) -> location.Location | None:
        """Check a location and the endpoint beside it."""

    def folder(self, at: str, name: str, text: str, place: location.Location) -> None:
        """Check the folder of a template for files."""


def check_reports(checker: Checker, spec: JobSpec, stem: str, at: str) -> None:
    """Check everything that does not depend on the source; ``stem`` is its name."""
    reports = spec.reports
    assert reports is not None
    if not reports.kinds and not reports.targets:
        checker.wrong(f"{at}.kinds", "is required: name at least one report, or give targets")
    _check_kinds(checker, spec, reports, at)
    if reports.uri_template is None and reports.kinds and spec.output is None:
        checker.wrong(
            f"{at}.uri_template",
            "is required in a job without output, such as /videos/out/{stem}.{kind}",
        )
    elif reports.uri_template is not None and not reports.kinds:
        checker.wrong(f"{at}.uri_template", "needs kinds; each of the targets has its own")
    fields: dict[str, int] = {}
    if reports.uri_template is not None:
        fields[reports.uri_template] = len(set(reports.kinds))
    sound = [
        _check_template(checker, text, count, f"{at}.uri_template")
        for text, count in fields.items()
    ]
    sound += [
        _check_template(checker, target.uri_template, 1, f"{at}.targets[{n}].uri_template")
        for n, target in enumerate(reports.targets)
    ]
    if all(sound):
        check_report_places(checker, spec, stem, at)


def _check_kinds(checker: Checker, spec: JobSpec, reports: ReportOptions, at: str) -> None:
    named = [(f"{at}.kinds[{n}]", kind) for n, kind in enumerate(reports.kinds)]
    named += [(f"{at}.targets[{n}].kind", target.kind) for n, target in enumerate(reports.targets)]
    seen = Counter[ReportKind]()
    for field, kind in named:
        seen[kind] += 1
        if kind not in template.KINDS:
            checker.wrong(field, "is required")
        elif seen[kind] > 1:
            checker.wrong(field, f"names {kind.name} a second time")
        elif kind is ReportKind.OTIO and importlib.util.find_spec("opentimelineio") is None:
            checker.unsupported(field, "needs the library opentimelineio beside the server")
        elif kind is ReportKind.SCORES_CSV and not isinstance(spec.mode, ShotDetection):
            checker.wrong(
                field, "is SCORES_CSV, which only shot_detection has: nothing else scores frames"
            )


def _check_template(checker: Checker, text: str, count: int, at: str) -> bool:
    if not text:
        checker.wrong(at, "is required, such as /videos/out/{stem}.{kind}")
        return False
    if not checker.length(at, text):
        return False
    try:
        template.check_report(text, count)
    except template.TemplateError as error:
        checker.wrong(at, str(error))
        return False
    if formats.container_of(text) is not None:
        checker.wrong(at, "has the ending of a video; reports have others")
        return False
    return True


def check_report_places(checker: Checker, spec: JobSpec, stem: str, at: str) -> None:
    """Check where each report goes, and that no two go to one place."""
    reports = spec.reports
    assert reports is not None
    own = {target.kind: n for n, target in enumerate(reports.targets)}
    taken: dict[location.Location, ReportKind] = {}
    for kind, text in report_templates(spec).items():
        if not text or kind not in template.KINDS:
            continue
        inner = f"{at}.targets[{own[kind]}]" if kind in own else at
        try:
            uri = template.expand_report(text, kind, stem, f"{0:032}")
        except template.TemplateError:
            # The output's own, which was told already.
            continue
        given = kind in own or reports.uri_template is not None
        if not given and spec.output is not None:
            inner = at.rpartition(".")[0] + ".output"
        place = checker.place(inner, "uri_template", uri, report_endpoint(spec, uri), "write")
        if place is not None:
            checker.folder(inner, "uri_template", text, place)
        if place is not None and taken.setdefault(place, kind) is not kind:
            checker.wrong(
                f"{inner}.uri_template", f"leads {taken[place].name} and {kind.name} to one place"
            )
