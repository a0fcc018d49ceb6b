"""The part of an analysis that finds shots, alone or with the help of other workers."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import BinaryIO

from reelsplit.types.job import SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentBounds, Transition, TransitionType
from reelsplit.types.spec import ShotDetection, TimeRange
from reelsplit_server.media.detection.board import LeadBoard
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.search import search_shots
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.probe import SourceFacts
from reelsplit_server.media.shot_settings import OwnSettings
from reelsplit_server.media.shots import detect_shots
from reelsplit_server.media.tiling import Shot
from reelsplit_server.storage.opening import expect_part, expect_whole
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.detectors import shot_settings
from reelsplit_server.work.reporting import Reporting
from reelsplit_server.work.units import Analyse, PlanDone, Sharing

_SHARE = "share-"
_MOST_PLACES = 8
"""Places of damage that are told one by one."""
_NEAR = Fraction(1)
"""Seconds between two places of damage that are told as one."""


def find(
    unit: Analyse,
    mode: ShotDetection,
    file: BinaryIO,
    facts: SourceFacts,
    source: SourceInfo,
    channel: Channel,
    reporting: Reporting,
    tell: Callable[[Segment], None],
) -> tuple[PlanDone, bool]:
    """Find the shots and tell each as a segment; answers the end of the plan, and whether the
    source's clock starts over in the middle."""
    base = source.video.time_base if source.video is not None else None
    length = Fraction(source.duration or 0)
    begin = Fraction(mode.start_offset or 0)
    finish = min(Fraction(mode.end_offset), length) if mode.end_offset is not None else length
    count = 0

    def on_shot(shot: Shot) -> None:
        nonlocal count
        tell(_segment(count, shot, base))
        count += 1

    def on_progress(frames: int, position: Fraction) -> None:
        part = finish - begin
        channel.progress(float((position - begin) / part) if part > 0 else 0.0, frames)

    settings = shot_settings(mode)
    measured = reporting.score if reporting.wants_scores else None
    if isinstance(settings.detector, OwnSettings):
        scan = search_shots(
            file,
            facts,
            settings,
            on_shot,
            on_progress,
            measured=measured,
            threads=unit.threads,
            share=_sharing(unit, channel),
            expect=lambda place: expect_part(file, place),
        )
    else:
        expect_whole(file)
        scan = detect_shots(file, settings, on_shot, on_progress, unit.threads, measured)
    if mode.end_offset is None:
        frames = scan.frame_count if not mode.start_offset else 0
        source = dataclasses.replace(source, duration=scan.end, frame_count=frames)
    notices = []
    if scan.truncated or scan.damaged:
        code = "SOURCE_TRUNCATED" if scan.truncated else "SOURCE_DAMAGED"
        notices.append(Notice(code=code, message=damage(scan.detail, scan.places)))
    return PlanDone(source=source, notices=notices), scan.restarts


def damage(detail: str | None, places: Sequence[Fraction] = ()) -> str:
    """What is damaged and where, in seconds, in words for a user."""
    text = (detail or "parts of it cannot be read").strip().rstrip(".")
    where = f" ({_where(places)})" if places else ""
    return f"The source is damaged; what can be decoded is used: {text}{where}."


def _where(places: Sequence[Fraction]) -> str:
    ordered = sorted(places)
    breaks = [n for n, (a, b) in enumerate(pairwise(ordered), 1) if b - a > _NEAR]
    runs = [ordered[a:b] for a, b in pairwise([0, *breaks, len(ordered)])]
    told = [
        f"at {float(run[0]):.3f} s"
        if run[0] == run[-1]
        else f"from {float(run[0]):.3f} s to {float(run[-1]):.3f} s"
        for run in runs[:_MOST_PLACES]
    ]
    more = len(runs) - len(told)
    return ", ".join(told) + (f" and in {more} more places" if more else "")


def _sharing(
    unit: Analyse, channel: Channel
) -> Callable[[View, Sequence[Stretch]], LeadBoard | None]:
    """Lets other workers help, where there are any."""

    def share(view: View, stretches: Sequence[Stretch]) -> LeadBoard | None:
        # What an attempt left that came to a bad end.
        for left in unit.folder.glob(f"{_SHARE}*"):
            shutil.rmtree(left, ignore_errors=True)
        helpers = min(unit.helpers, len(stretches) - 1)
        if helpers <= 0:
            return None
        name = _SHARE + secrets.token_hex(8)
        board = LeadBoard(unit.folder / name, view, stretches)
        channel.tell(Sharing(share=name, helpers=helpers))
        return board

    return share


def _segment(index: int, shot: Shot, base: Fraction | None) -> Segment:
    return Segment(
        index=index,
        requested=TimeRange(start_offset=shot.start, end_offset=shot.end),
        bounds=SegmentBounds(
            start_offset=shot.start,
            end_offset=shot.end,
            start_frame=shot.start_frame,
            end_frame=shot.end_frame,
            start_pts=shot.start_pts,
            end_pts=shot.end_pts,
            time_base=base,
        ),
        transition=Transition(
            type=TransitionType[shot.transition.name],
            start_frame=shot.transition_start,
            end_frame=shot.transition_end,
            confidence=shot.confidence,
        ),
    )
