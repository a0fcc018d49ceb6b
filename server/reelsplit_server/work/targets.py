"""Where the segment of a unit goes: its location, and the file in which it is made before."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path, PurePosixPath

from reelsplit_server.storage.location import public, stem_of
from reelsplit_server.storage.template import Values, expand
from reelsplit_server.work.units import Render


def target_uri(unit: Render) -> str:
    """The location of the unit's segment, as the template names it."""
    segment = unit.segment
    assert segment.requested is not None
    values = Values(
        index=segment.index,
        start=Fraction(segment.requested.start_offset),
        end=Fraction(segment.requested.end_offset),
        stem=stem_of(unit.source.uri or ""),
        job_id=unit.job_id,
    )
    return expand(unit.output.uri_template, values)


def target_label(unit: Render) -> str:
    """The location as messages call it."""
    return public(target_uri(unit))


def scratch_file(unit: Render) -> Path:
    """The file in which the segment is made."""
    return unit.scratch / f"segment{PurePosixPath(unit.output.uri_template).suffix}"
