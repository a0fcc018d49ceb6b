"""Finding shots by our own detector: the source seen in order, boundaries sought in what was
seen, borders and shots made of these as soon as they are certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.declared import missing_bytes
from reelsplit_server.media.decoding import Damage, packets, prepare
from reelsplit_server.media.detection.board import LeadBoard
from reelsplit_server.media.detection.borders import Border, Borders
from reelsplit_server.media.detection.boundary import Boundary
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.efforts import effort_of
from reelsplit_server.media.detection.index import SourceIndex, read_index
from reelsplit_server.media.detection.letterbox import without_bars
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.stretches import Stretch, plan_stretches
from reelsplit_server.media.detection.survey import Seen, Survey
from reelsplit_server.media.metrics import Measured
from reelsplit_server.media.packet_view import is_hidden
from reelsplit_server.media.probe import SourceFacts, VideoFacts
from reelsplit_server.media.shot_settings import OwnSettings, ShotSettings
from reelsplit_server.media.shots import ShotScan, outside, tick_at
from reelsplit_server.media.tiling import Change, Shot, Tiling, Transition

OnShot = Callable[[Shot], None]
OnProgress = Callable[[int, Fraction], None]
Share = Callable[[View, Sequence[Stretch]], "LeadBoard | None"]
"""Has others help with these stretches, if there are any."""
Expect = Callable[[tuple[int, "int | None"]], None]
"""Hears which bytes of the file are read next: from one up to another, None for the end."""


def search_shots(
    file: BinaryIO,
    facts: SourceFacts,
    settings: ShotSettings,
    on_shot: OnShot,
    on_progress: OnProgress | None = None,
    *,
    on_boundary: Callable[[Boundary], None] | None = None,
    measured: Measured | None = None,
    threads: int = 0,
    share: Share | None = None,
    expect: Expect = lambda place: None,
) -> ShotScan:
    """Cut the analysed part of a source into shots, each told as soon as its end is certain.

    Shots come in order; they tile the part, but for transitions that are to be dropped.
    `on_boundary` gets what was found, before borders are made of it. `on_progress` gets the
    frames so far and the position reached in seconds. `measured` hears the score of each frame
    that was looked at: how much it differs from the one before, about 1 for a clear cut. All are
    called in the calling thread; what they raise ends the analysis and comes through.

    With `share`, others may help where the source has an index; without, `threads` are the
    decoder's (0: one a core). What is found depends on neither.

    Raises `MediaError` with ``SOURCE_UNREADABLE``, ``SOURCE_FORMAT_REFUSED``,
    ``SOURCE_NO_VIDEO``, ``CROP_OUTSIDE_SOURCE``, or ``RANGE_OUTSIDE_SOURCE`` where no frame lies
    in the part.
    """
    assert isinstance(settings.detector, OwnSettings)
    video = facts.video
    start, end = tick_at(settings.start, video.time_base), tick_at(settings.end, video.time_base)
    low = video.start_pts + start if start else None
    high = None if end is None else video.start_pts + end
    missing = missing_bytes(file) if high is None else 0
    index = read_index(file, facts)
    crop = settings.crop
    if settings.skip_letterbox or (settings.skip_letterbox is None and crop is None):
        length = facts.duration or Fraction(0)
        last = video.start_pts + round(length / video.time_base)
        crop = without_bars(
            file,
            video,
            low,
            last if high is None else min(high, last),
            crop,
            told=settings.skip_letterbox is True,
        )
    view = View(
        width=video.width,
        height=video.height,
        rate=video.frame_rate or Fraction(25),
        crop=crop,
        downscale=settings.downscale,
    )
    shots = _Shots(
        settings, facts.video, view, on_shot, on_progress, on_boundary, measured, threads
    )
    survey = Survey(file, view, shots.effort, shots.add, threads=threads, expect=expect)
    shots.seen = survey.seen
    board: LeadBoard | None = None
    if index is None:
        survey.serially(low, high)
    else:
        stretches = plan_stretches(index, video, low, high)
        first = _first_frame(file, index, video.start_pts, low)
        if share is not None:
            board = share(view, stretches)
        try:
            survey.by_stretches(stretches, first, board, threads=threads if board is None else 1)
        finally:
            if board is not None:
                board.close()
    scan = shots.finish()
    if not missing:
        return scan
    detail = f"the file lacks its last {missing} bytes"
    return replace(
        scan, truncated=True, detail=f"{detail}; {scan.detail}" if scan.detail else detail
    )


class _Shots:
    """Makes shots of what is seen."""

    def __init__(
        self,
        settings: ShotSettings,
        video: VideoFacts,
        view: View,
        on_shot: OnShot,
        on_progress: OnProgress | None,
        on_boundary: Callable[[Boundary], None] | None,
        measured: Measured | None,
        threads: int,
    ) -> None:
        assert isinstance(settings.detector, OwnSettings)
        self._settings, self._video = settings, video
        self._on_shot, self._on_progress = on_shot, on_progress
        self._on_boundary, self._measured = on_boundary, measured
        self.effort = effort_of(
            settings.detector,
            rate=view.rate,
            threads=threads,
            on_scores=None if measured is None else self._scored,
        )
        self._seeker = self.effort.seeker()
        self._tiling: Tiling | None = None
        self._borders: Borders | None = None
        self.seen = Seen()

    def add(self, part: Scanned) -> None:
        """Look at the next part."""
        if not len(part.pts):
            return
        base, first = self._video.time_base, self.seen.first_frame
        if self._tiling is None:
            self._tiling = Tiling(
                base, self._video.start_pts, first, self._settings.max_shot, self._on_shot
            )
            self._borders = Borders(
                self._settings.policy,
                tick_at(self._settings.min_shot, base) or 0,
                first,
                self._time_of,
            )
        for pts in part.pts.tolist():
            self._tiling.add(pts)
        self._found(self._seeker.push(part), self._seeker.certain)
        if self._on_progress is not None:
            self._on_progress(self.seen.frames, self._offset(self.seen.end))

    def finish(self) -> ShotScan:
        """All parts were added: tell the last shots."""
        seen, base, origin = self.seen, self._video.time_base, self._video.start_pts
        if self._tiling is None or self._borders is None:
            raise outside(self._settings, self._offset(seen.end) if seen.end else Fraction(0))
        self._found(self._seeker.finish(), seen.first_frame + seen.frames)
        for border in self._borders.finish(seen.end):
            self._cut(border)
        self._tiling.finish(seen.end)
        return ShotScan(
            frame_count=seen.frames,
            shot_count=self._tiling.shot_count,
            end=self._offset(seen.end),
            time_base=base,
            first_pts=origin,
            damaged=seen.damaged,
            detail=seen.detail,
            places=tuple(place - origin * base for place in seen.places),
            restarts=seen.restarts,
        )

    def _found(self, boundaries: list[Boundary], certain: int) -> None:
        assert self._borders is not None
        if self._on_boundary is not None:
            for boundary in boundaries:
                self._on_boundary(boundary)
        for border in self._borders.push(boundaries, certain):
            self._cut(border)

    def _cut(self, border: Border) -> None:
        assert self._tiling is not None
        first, found = self.seen.first_frame, border.boundary
        change = Change(
            transition=Transition(found.kind.value),
            start=found.start - first,
            end=found.end - first,
            confidence=found.confidence,
        )
        out, into = border.out - first, border.into - first
        # A transition that the end of the source cuts off leads to no other shot.
        if out < self._tiling.frame_count:
            self._tiling.border(out, into, change)

    def _scored(self, number: int, scores: NDArray[np.float32]) -> None:
        assert self._measured is not None
        times = [self._time_of(number + place) for place in range(len(scores))]
        self._measured(number, times, {"score": scores.tolist()})

    def _time_of(self, number: int) -> int:
        """When a frame of the source is shown, or the last one of those known ends: ticks."""
        assert self._tiling is not None
        place = number - self.seen.first_frame
        if place < self._tiling.frame_count:
            return self._tiling.time_of(place)
        return self.seen.end

    def _offset(self, pts: int) -> Fraction:
        return (pts - self._video.start_pts) * self._video.time_base


def _first_frame(file: BinaryIO, index: SourceIndex, origin: int, low: int | None) -> int:
    """The number of the first frame that is shown at `low` ticks or later; number 0 is shown at
    `origin`."""
    if low is None:
        return 0
    if index.pts is not None:
        return int(np.searchsorted(index.pts, low))
    # Counted without decoding.
    with open_source(file) as container:
        stream = video_stream(container)
        prepare(container, stream, 1)
        codec = stream.codec_context.codec.canonical_name
        count = 0
        for packet in packets(container, stream, Damage()):
            pts = packet.pts
            if pts is None or (packet.dts is not None and packet.dts >= low):
                break
            if origin <= pts < low and not is_hidden(codec, memoryview(packet)):
                count += 1
        return count
