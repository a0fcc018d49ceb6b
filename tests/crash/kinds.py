"""The jobs of crash tests: what is asked for, and what must come of it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reelsplit import (
    AdaptiveDetector,
    CutMode,
    Input,
    JobSpec,
    JobState,
    Output,
    OverwritePolicy,
    ReportKind,
    ReportOptions,
    VideoCodec,
    VideoEncoding,
    every,
    ranges,
    shots,
)
from tests.clips import AudioTrack, make_clip

FRAMES, RATE = 96, 24
CUTS = (24, 60)
"""The frames at which the clip's picture changes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job and how it ends right."""

    kind: str
    spec: JobSpec
    frames: Mapping[int, Sequence[int]] = dataclasses.field(default_factory=dict)
    """The frames of each segment that is published."""
    failed: Mapping[int, str] = dataclasses.field(default_factory=dict)
    """Why other segments fail."""
    state: JobState = JobState.SUCCEEDED
    reports: int = 0
    stopped: str = ""
    """``cancel`` or ``delete``: the job is stopped at some moment, if it has not ended yet."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What the jobs of a test read and where they write."""

    source: str
    folder: str
    dice: random.Random


Kind = Callable[[Where, str], Wanted]


def make_film(path: Path) -> None:
    """The clip that all jobs cut: four seconds."""
    make_clip(path, frames=FRAMES, rate=RATE, size=(192, 112), shots=CUTS, audio=[AudioTrack()])


def copies(where: Where, name: str) -> Wanted:
    """Cut on key frames: each segment takes some milliseconds."""
    policy = where.dice.choice([None, OverwritePolicy.REPLACE])
    output = Output(uri_template=f"{where.folder}/{name}/{{index}}.mp4", overwrite_policy=policy)
    return Wanted(
        kind="copies",
        spec=JobSpec(input=Input(uri=where.source), mode=every(1), output=output),
        frames=_seconds(4),
    )


def smart(where: Where, name: str) -> Wanted:
    """Cut between key frames, and a range that lies outside of the source."""
    output = Output(uri_template=f"{where.folder}/{name}/{{index}}.mp4")
    mode = ranges((0.25, 1.5), (2, 3.25), (60, 61))
    return Wanted(
        kind="smart",
        spec=JobSpec(input=Input(uri=where.source), mode=mode, output=output),
        frames={0: range(6, 36), 1: range(48, 78)},
        failed={2: "RANGE_OUTSIDE_SOURCE"},
        state=JobState.FAILED,
    )


def encodes(where: Where, name: str) -> Wanted:
    """Encoded slowly, several segments by one worker."""
    video = VideoEncoding(codec=VideoCodec.H264, preset="slow", crf=20)
    output = Output(
        uri_template=f"{where.folder}/{name}/{{index}}.mp4",
        video=video,
        width=where.dice.choice([640, 960]),
        cut_mode=CutMode.ENCODE,
    )
    return Wanted(
        kind="encodes",
        spec=JobSpec(input=Input(uri=where.source), mode=every(1), output=output),
        frames=_seconds(4),
    )


def detects(where: Where, name: str) -> Wanted:
    """Shots found, cut and reported."""
    output = Output(uri_template=f"{where.folder}/{name}/{{index}}.mp4")
    reports = ReportOptions(
        kinds=[ReportKind.SHOTS_JSON, ReportKind.EDL],
        uri_template=f"{where.folder}/{name}/{{stem}}.{{kind}}",
    )
    mode = shots(AdaptiveDetector())
    spec = JobSpec(input=Input(uri=where.source), mode=mode, output=output, reports=reports)
    bounds = [0, *CUTS, FRAMES]
    frames = {i: range(bounds[i], bounds[i + 1]) for i in range(len(bounds) - 1)}
    return Wanted(kind="detects", spec=spec, frames=frames, reports=2)


def exports(where: Where, name: str) -> Wanted:
    """Segments that become media assets."""
    output = Output(uri_template=f"{where.folder}/{name}/{{index}}.mp4", export_as_media=True)
    return Wanted(
        kind="exports",
        spec=JobSpec(input=Input(uri=where.source), mode=every(2), output=output),
        frames={0: range(48), 1: range(48, 96)},
    )


def cancelled(where: Where, name: str) -> Wanted:
    """Stopped at some moment: what is published stays."""
    wanted = where.dice.choice([copies, encodes])(where, name)
    return dataclasses.replace(_refusing(wanted), kind="cancelled", stopped="cancel")


def deleted(where: Where, name: str) -> Wanted:
    """Deleted at some moment with all that it made."""
    wanted = where.dice.choice([copies, encodes, detects])(where, name)
    return dataclasses.replace(_refusing(wanted), kind="deleted", stopped="delete")


def _refusing(wanted: Wanted) -> Wanted:
    """What a dead server left where it may be replaced is left for the next attempt, and none may
    come."""
    assert wanted.spec.output is not None
    output = dataclasses.replace(wanted.spec.output, overwrite_policy=None)
    return dataclasses.replace(wanted, spec=dataclasses.replace(wanted.spec, output=output))


def fleeting(where: Where, name: str) -> Wanted:
    """Forgotten soon after its end."""
    wanted = copies(where, name)
    spec = dataclasses.replace(wanted.spec, time_to_live=2)
    return dataclasses.replace(wanted, kind="fleeting", spec=spec)


LASTING: Sequence[Kind] = (copies, smart, encodes, detects, exports, copies)
PASSING: Sequence[Kind] = (cancelled, deleted, fleeting, cancelled, deleted)


def _seconds(count: int) -> dict[int, range]:
    return {index: range(index * RATE, (index + 1) * RATE) for index in range(count)}
