"""Where what a unit makes goes: its location, and the file in which it is made before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

from reelsplit.types.output import OverwritePolicy
from reelsplit.types.spec import JobSpec, ReportKind
from reelsplit_server.storage.location import public, stem_of
from reelsplit_server.storage.report_places import report_endpoint, report_templates
from reelsplit_server.storage.template import Values, expand, expand_report
from reelsplit_server.work.units import Analyse, Render, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A file that a unit makes and that the server publishes.

    ``intent`` is the checksum that an earlier attempt was about to publish: what lies at the
    location with this checksum is the job's own.
    """

    job_id: str
    uri: str
    endpoint: str | None
    scratch: Path
    replace: bool
    """Whether it may replace what is there already."""
    intent: str | None

    @property
    def label(self) -> str:
        """The location as messages call it."""
        return public(self.uri)


def segment_of(unit: Render) -> Delivery:
    """The segment of a unit."""
    segment = unit.segment
    assert segment.requested is not None
    values = Values(
        index=segment.index,
        start=Fraction(segment.requested.start_offset),
        end=Fraction(segment.requested.end_offset),
        stem=stem_of(unit.source.uri or ""),
        job_id=unit.job_id,
    )
    template = unit.output.uri_template
    return Delivery(
        job_id=unit.job_id,
        uri=expand(template, values),
        endpoint=unit.output.endpoint,
        scratch=unit.scratch / f"segment{PurePosixPath(template).suffix}",
        replace=unit.output.overwrite_policy is OverwritePolicy.REPLACE,
        intent=unit.intent,
    )


def reports_of(unit: Analyse) -> Mapping[ReportKind, Delivery]:
    """The reports of a unit."""
    spec, found = unit.spec, dict[ReportKind, Delivery]()
    stem = stem_of(unit.source.uri or "")
    for kind, template in report_templates(spec).items():
        uri = expand_report(template, kind, stem, unit.job_id)
        found[kind] = Delivery(
            job_id=unit.job_id,
            uri=uri,
            endpoint=report_endpoint(spec, uri),
            scratch=unit.folder / f"report-{kind.name.lower()}",
            replace=_replaces(spec),
            intent=unit.intents.get(kind),
        )
    return found


def deliveries(unit: Unit) -> list[Delivery]:
    """All that a unit publishes."""
    if isinstance(unit, Render):
        return [segment_of(unit)]
    return list(reports_of(unit).values()) if isinstance(unit, Analyse) else []


def _replaces(spec: JobSpec) -> bool:
    assert spec.reports is not None
    policy = spec.reports.overwrite_policy
    if policy is None and spec.output is not None:
        policy = spec.output.overwrite_policy
    return policy is OverwritePolicy.REPLACE
