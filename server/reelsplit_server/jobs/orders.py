"""The units of jobs as the engine is given them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from reelsplit.types.segment import Segment
from reelsplit.types.spec import ReportKind
from reelsplit_server.engine import seam
from reelsplit_server.jobs.records import JobRecord

_TURN = 3.0
"""Seconds after which what helps an analysis lets other units have their turn."""
_FIRST_TURN = 0.5
"""The same while no segment is known: the first one is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the units are bound by. ``tries`` counts the first."""

    scratch: Path
    cores: int
    tries: int
    most_segments: int
    most_pixels: int
    most_frames: int


class Orders:
    """Writes out the units of a job as it is known now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def analysis(
        self,
        record: JobRecord,
        *,
        threads: int = 1,
        intents: Mapping[ReportKind, str],
        helpers: int = 0,
    ) -> seam.Analyse:
        """The unit that analyses the source of a job."""
        return seam.Analyse(
            job_id=record.job_id,
            spec=record.spec,
            pin=record.source_pin,
            folder=self.folder(record.job_id),
            threads=threads,
            most_segments=self._limits.most_segments,
            most_pixels=self._limits.most_pixels,
            intents=intents,
            helpers=helpers,
        )

    def scan(self, record: JobRecord, share: str) -> seam.Scan:
        """The unit that helps with the analysis for a while."""
        return seam.Scan(
            job_id=record.job_id,
            spec=record.spec,
            pin=record.source_pin,
            folder=self.folder(record.job_id),
            share=share,
            most_pixels=self._limits.most_pixels,
            seconds=_TURN if record.segment_count or record.spec.output is None else _FIRST_TURN,
        )

    def unit(
        self, record: JobRecord, segment: Segment, *, threads: int = 1, intent: str | None = None
    ) -> seam.Render:
        """The unit that makes a segment."""
        assert record.spec.output is not None
        folder = self.folder(record.job_id)
        return seam.Render(
            job_id=record.job_id,
            source=record.spec.input,
            pin=record.source_pin,
            folder=folder,
            output=record.spec.output,
            segment=segment,
            frame_rate=_frame_rate(record),
            threads=threads,
            most_pixels=self._limits.most_pixels,
            most_frames=self._limits.most_frames,
            scratch=folder / f"{segment.index}-{segment.attempt}",
            intent=intent,
        )

    def folder(self, job_id: str) -> Path:
        """What the units of a job share: gone when the job ends."""
        return self._limits.scratch / job_id


def _frame_rate(record: JobRecord) -> Fraction | None:
    video = record.source.video if record.source is not None else None
    rate = video.frame_rate if video is not None else None
    return None if rate is None else Fraction(rate)
