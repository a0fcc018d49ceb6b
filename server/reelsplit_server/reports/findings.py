"""What a job found, as every report is made of it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from reelsplit.types.job import SourceInfo
from reelsplit.types.segment import Segment, SegmentBounds, Transition, TransitionType
from reelsplit_server.reports.timecode import Timecodes

BOUNDARIES = frozenset(
    {
        TransitionType.CUT,
        TransitionType.DISSOLVE,
        TransitionType.FADE_BLACK,
        TransitionType.FADE_WHITE,
        TransitionType.WIPE,
    }
)
"""Where the picture changes, unlike at a beginning or where a long shot was split."""


class Scores:
    """The scores of frames, in columns of equal length; frames that were not looked at are not
    among them. Some 20 bytes a frame."""

    def __init__(self) -> None:
        self.frames = array("q")
        """Counted from 0 over all presented frames of the source; strictly increasing."""
        self.pts = array("q")
        """Ticks of the source's video."""
        self.columns: dict[str, array[float]] = {}
        """Not a number where a detector gives none."""

    def add(self, first: int, pts: Iterable[int], columns: Mapping[str, Iterable[float]]) -> None:
        """The scores of the frames from ``first`` on, behind those that are there. The columns are
        the same at each call; raises `ValueError` where anything does not fit."""
        if not self.columns:
            self.columns = {name: array("f") for name in columns}
        if columns.keys() != self.columns.keys() or (self.frames and first <= self.frames[-1]):
            raise ValueError("scores come in order, and in the same columns")
        self.pts.extend(map(int, pts))
        self.frames.extend(range(first, first + len(self.pts) - len(self.frames)))
        for name, values in columns.items():
            self.columns[name].extend(map(float, values))
            if len(self.columns[name]) != len(self.frames):
                raise ValueError(f"the scores {name!r} are not as many as their frames")

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """A small picture of a segment: WebP, in pixels."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the source is, and what was found in it."""

    uri: str
    """Where the source lies, without secrets."""
    source: SourceInfo
    method: str
    """How the segments were found, in words."""
    segments: Sequence[Segment]
    """All have bounds."""
    is_edit: bool = False
    """The segments are a choice of the caller's, in his order; else they follow each other."""
    scores: Scores = field(default_factory=Scores)
    stills: Mapping[int, Still] = field(default_factory=dict)
    """By the index of the segment."""

    @property
    def name(self) -> str:
        """What the source is called, without its folder and without characters that act."""
        last = self.uri.rstrip("/").rpartition("/")[2] or self.uri
        return "".join(c if c.isprintable() else " " for c in last).strip()[:200]

    @property
    def rate(self) -> Fraction | None:
        """Frames a second on the average, where the source tells."""
        video = self.source.video
        rate = video.frame_rate if video is not None else None
        return Fraction(rate) if rate else None

    @property
    def timecodes(self) -> Timecodes:
        """How editing programs count its frames."""
        return Timecodes.of(self.rate)

    @property
    def zero(self) -> int:
        """Ticks of the source at its first presented frame."""
        for segment in self.segments:
            bounds = bounds_of(segment)
            if bounds.time_base:
                start = Fraction(bounds.start_offset or 0) / Fraction(bounds.time_base)
                return bounds.start_pts - round(start)
        return self.source.video.start_pts if self.source.video is not None else 0


def bounds_of(segment: Segment) -> SegmentBounds:
    """The bounds of a segment that has some."""
    assert segment.bounds is not None
    return segment.bounds


def span_of(segment: Segment) -> tuple[Fraction, Fraction]:
    """Where a segment begins and ends, in seconds from the source's first frame."""
    bounds = bounds_of(segment)
    return Fraction(bounds.start_offset or 0), Fraction(bounds.end_offset or 0)


def is_counted(segment: Segment) -> bool:
    """Whether it is known which frames a segment has."""
    return bounds_of(segment).end_frame > 0


def transition_name(segment: Segment) -> str:
    """How a segment begins, as in the contract but in lower case; empty where nothing is said."""
    found = segment.transition
    if found is None or found.type is TransitionType.UNSPECIFIED:
        return ""
    return found.type.name.lower()


def boundary_of(segment: Segment) -> Transition | None:
    """The change of picture that a segment begins with, if it does."""
    found = segment.transition
    return found if found is not None and found.type in BOUNDARIES else None
