"""Helping the lead: scanning one stretch after another, as long as there are some."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from reelsplit_server.media.detection.board import HelperBoard
from reelsplit_server.media.detection.effort import Effort, Scanned
from reelsplit_server.media.detection.efforts import effort_of
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.shot_settings import OwnSettings

#: Frames between two looks whether there still is a lead.
_CHECK_EVERY = 32


@dataclass(slots=True, kw_only=True)
class Source:
    """How a helper gets at the source."""

    opened: Callable[[], AbstractContextManager[BinaryIO]]
    """Opens it, once there is something to do."""
    expect: Callable[[BinaryIO, tuple[int, int | None]], None] = lambda file, place: None
    """Hears which bytes of the file are read next."""
    check: Callable[[BinaryIO], None] = lambda file: None
    """Raises where what was read is not what the file holds."""


def help_out(
    board: HelperBoard, settings: OwnSettings, source: Source, *, seconds: float, wait: float
) -> bool:
    """Scan stretches for about so many seconds, and leave what was seen for the lead; whether
    there was anything to do. Where all is too far ahead of the lead, wait so many seconds first.

    Raises `Over` when there is nothing more to do, and what opening, reading and `Source.check`
    raise; a stretch that was begun is the lead's then.
    """
    until = time.monotonic() + seconds
    claim = board.next(wait)
    if claim is None:
        return False
    effort = effort_of(settings, rate=board.view.rate)
    with ExitStack() as stack:
        file: BinaryIO | None = None
        reel: Reel | None = None
        while claim is not None:
            try:
                if file is None or reel is None:
                    file = stack.enter_context(source.opened())
                    reel = stack.enter_context(Reel(file, board.view))
                stretch = board.stretches[claim.number]
                if effort.dense:
                    source.expect(file, stretch.place)
                scanned = _scan(effort, reel, stretch, board)
                source.check(file)
                board.put(claim, scanned)
            finally:
                claim.release()
            claim = board.next(0) if time.monotonic() < until else None
    return True


def _scan(effort: Effort, reel: Reel, stretch: Stretch, board: HelperBoard) -> Scanned:
    frames = 0

    def pause() -> None:
        nonlocal frames
        frames += 1
        if frames % _CHECK_EVERY == 0:
            board.check()

    try:
        return effort.scan(reel, stretch, pause)
    except MediaError as error:
        # The lead finds out whether all of the source is like that.
        return Scanned(pts=np.empty(0, np.int64), strips=(), flaw=str(error))
