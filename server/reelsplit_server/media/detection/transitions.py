"""Dissolves, wipes and pushes, with the odds of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from reelsplit_server.media.detection.boundary import Kind
from reelsplit_server.media.detection.evidence import DISSOLVE, PUSH, WIPE, weigh
from reelsplit_server.media.detection.frames import Floats, Frames
from reelsplit_server.media.detection.fronts import front_measures
from reelsplit_server.media.detection.gradual import (
    LONGEST,
    MARGIN,
    Window,
    dissolve_extent,
    dissolve_measures,
    find_windows,
    steps_measures,
    surroundings,
)
from reelsplit_server.media.detection.matching import drift, match
from reelsplit_server.media.detection.pushes import push_measures
from reelsplit_server.media.detection.wipes import wipe_measures

REACH = LONGEST // 2 + MARGIN


@dataclass(frozen=True, slots=True)
class Change:
    """A change of shot that may be one."""

    kind: Kind
    start: int
    """The first frame that is not purely the old shot."""
    end: int
    """The first frame that is purely the new one."""
    odds: float
    """The logarithm of the odds that it is one."""
    sharp: int | None = None
    """As that of `Boundary`."""
    told_as_cut: bool = False
    """All of it is one cut, to the frame `end`."""


def find_transitions(
    frames: Frames, step: Floats, start: int, stop: int, stride: int, least: float
) -> list[Change]:
    """The gradual changes whose middle lies from frame `start` to `stop` (exclusive) and whose
    odds are above `least`; many of them overlap. None begins, and nothing is read, further than
    `REACH` strides before `start`, nor is anything read further behind `stop`. `step` holds the
    steps of all frames of the window.
    """
    windows = find_windows(frames, step, start, stop, stride)
    found = []
    # What costs least comes first. Nothing that is matched counts for a push: its parts are found
    # again, moved.
    dissolve = (dissolve_measures, surroundings, match_measures)
    wipe = (wipe_measures, surroundings, front_measures, match_measures)
    push = (surroundings, push_measures)
    for kind, weighing, some, stages in (
        (Kind.DISSOLVE, DISSOLVE, windows.mixed, dissolve),
        (Kind.WIPE, WIPE, windows.parted, wipe),
        (Kind.WIPE, PUSH, windows.moved, push),
    ):
        for window in some:
            value = weigh(
                weighing,
                least,
                partial(steps_measures, frames, step, window),
                *(partial(stage, frames, window) for stage in stages),
            )
            if value is not None:
                extent = (window.before + 1, window.after)
                if kind is Kind.DISSOLVE:
                    extent = dissolve_extent(frames, window)
                found.append(Change(kind, *extent, value))
    return found


def match_measures(frames: Frames, window: Window) -> dict[str, float]:
    """How well the parts of a window's ends are found again in each other, and how far movement
    explains what changes in its middle."""
    before, after, stride = window.before, window.after, window.stride
    middle = (before + after) // 2
    reach = max(1, (after - before) // (8 * stride)) * stride
    return {
        "match": match(frames, before, after),
        "drift": drift(frames, middle - reach, middle + reach),
    }
