"""Where the reports of a job go, by its spec alone."""

from __future__ import annotations

from collections.abc import Mapping

from reelsplit.types.spec import JobSpec, ReportKind
from reelsplit_server.storage.location import LocationError, parse
from reelsplit_server.storage.template import beside


def report_templates(spec: JobSpec) -> Mapping[ReportKind, str]:
    """The reports that a spec asks for, each with its template, which is empty where a job without
    output names none."""
    wanted = spec.reports
    if wanted is None:
        return {}
    common = wanted.uri_template
    if common is None and spec.output is not None:
        common = beside(spec.output.uri_template)
    found = dict.fromkeys(wanted.kinds, common or "")
    return found | {target.kind: target.uri_template for target in wanted.targets}


def report_endpoint(spec: JobSpec, uri: str) -> str | None:
    """The endpoint beside the location of a report."""
    assert spec.reports is not None
    if spec.reports.endpoint is not None or spec.output is None:
        return spec.reports.endpoint
    try:
        here, there = parse(uri), parse(beside(spec.output.uri_template))
    except LocationError:
        return None
    same = (here.scheme, here.bucket, here.endpoint) == (there.scheme, there.bucket, there.endpoint)
    return spec.output.endpoint if same else None
