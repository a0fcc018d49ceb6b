"""The reports of a job: gathers what its analysis finds, writes them, and has them published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import BinaryIO

from reelsplit.types.job import SourceInfo
from reelsplit.types.segment import Segment
from reelsplit.types.spec import (
    FixedInterval,
    JobSpec,
    ReelsplitDetector,
    ReportKind,
    ShotDetection,
    UserDefined,
)
from reelsplit_server.media.stills import Stretch, take_stills
from reelsplit_server.reports.findings import Findings, Scores, Still
from reelsplit_server.reports.writing import write
from reelsplit_server.storage.location import public
from reelsplit_server.work.asks import ReportFinished
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.publishing import publish
from reelsplit_server.work.targets import Delivery, reports_of
from reelsplit_server.work.units import Analyse

_SCORED = frozenset({ReportKind.SCORES_CSV, ReportKind.HTML})


class Reporting:
    """Gathers as the analysis goes on; where no report was asked for it does nothing. All calls
    come from one thread."""

    def __init__(self, unit: Analyse) -> None:
        self._unit = unit
        self._wanted: Mapping[ReportKind, Delivery] = reports_of(unit)
        self._segments: list[Segment] = []
        self._scores = Scores()

    @property
    def wants_scores(self) -> bool:
        """Whether a report tells the scores of frames."""
        return not _SCORED.isdisjoint(self._wanted)

    def add(self, segments: Iterable[Segment]) -> None:
        """Segments were told, in order."""
        if self._wanted:
            self._segments += (found for found in segments if found.bounds is not None)

    def score(self, first: int, pts: Iterable[int], columns: Mapping[str, Iterable[float]]) -> None:
        """Frames were scored: see `Scores.add`."""
        if self.wants_scores:
            self._scores.add(first, pts, columns)

    def publish(self, file: BinaryIO, source: SourceInfo, channel: Channel) -> None:
        """Write all reports and have them published; ``source`` is what is known of it at the end.

        Reads pictures from ``file`` where a page is wanted. Raises `StorageError`, and `MediaError`
        where the source cannot be opened any more.
        """
        if not self._wanted:
            return
        stills = self._stills(file, source) if ReportKind.HTML in self._wanted else {}
        spec = self._unit.spec
        found = Findings(
            uri=public(spec.input.uri or ""),
            source=source,
            method=_method(spec),
            segments=self._segments,
            is_edit=isinstance(spec.mode, UserDefined),
            scores=self._scores,
            stills=stills,
        )
        for kind, delivery in self._wanted.items():
            # A new file each time: what an earlier attempt has published may be this very one.
            delivery.scratch.unlink(missing_ok=True)
            write(kind, found, delivery.scratch)
            publish(delivery, _finished(kind), channel)
            delivery.scratch.unlink(missing_ok=True)

    def _stills(self, file: BinaryIO, source: SourceInfo) -> Mapping[int, Still]:
        video = source.video
        base = video.time_base if video is not None else None
        if video is None or base is None:
            return {}
        wanted = {
            segment.index: stretch
            for segment in self._segments
            if (stretch := _stretch(segment, Fraction(base), video.start_pts)) is not None
        }
        pictures = take_stills(
            file,
            list(wanted.values()),
            rotation=-video.rotation % 360,
            shape=video.sample_aspect_ratio,
        )
        return {
            index: Still(data=picture.data, width=picture.width, height=picture.height)
            for index, picture in zip(wanted, pictures, strict=True)
            if picture is not None
        }


def _finished(kind: ReportKind) -> Callable[[int, str], ReportFinished]:
    return lambda size, checksum: ReportFinished(report=kind, size_bytes=size, checksum=checksum)


def _stretch(segment: Segment, base: Fraction, first_pts: int) -> Stretch | None:
    """The ticks of the source in which a segment shows nothing but itself."""
    bounds, change = segment.bounds, segment.transition
    assert bounds is not None
    zero = first_pts
    if bounds.end_frame:
        zero = bounds.start_pts - round(Fraction(bounds.start_offset or 0) / base)
    start, end = (
        zero + round(Fraction(offset or 0) / base)
        for offset in (bounds.start_offset, bounds.end_offset)
    )
    frames = bounds.end_frame - bounds.start_frame
    if change is not None and bounds.start_frame < change.end_frame < bounds.end_frame:
        start += (end - start) * (change.end_frame - bounds.start_frame) // frames
    return Stretch(start=start, end=end) if start < end else None


def _method(spec: JobSpec) -> str:
    """How the segments of a resolved spec are found, in words."""
    match spec.mode:
        case ShotDetection(detector=ReelsplitDetector() as own):
            effort = f", effort {own.effort.name.lower()}" if own.effort is not None else ""
            return f"shots, by Reelsplit's detector{effort}"
        case ShotDetection(detector=detector):
            return f"shots, by PySceneDetect's {type(detector).__name__}"
        case FixedInterval(interval=interval):
            return f"intervals of {float(interval):g} s"
        case _:
            return "ranges that were asked for"
