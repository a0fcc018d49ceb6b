"""The unit that helps an analysis: looks at stretches of the source, as long as there are some."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from reelsplit.types.spec import ShotDetection
from reelsplit_server.media.container import most_pixels
from reelsplit_server.media.detection.board import Over, helping
from reelsplit_server.media.detection.helper import Source, help_out
from reelsplit_server.media.shot_settings import OwnSettings
from reelsplit_server.storage.grants import SourceGrant
from reelsplit_server.storage.opening import check_readable, expect_part
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.detectors import shot_settings
from reelsplit_server.work.sources import opened
from reelsplit_server.work.units import Scan, ScanDone

_WAIT = 0.2
"""Seconds for which a worker waits until the lead has come along."""


def run(unit: Scan, grant: SourceGrant, channel: Channel) -> None:
    """Look at one stretch after another, and leave what was seen for the lead."""
    most_pixels.set(unit.most_pixels)
    assert isinstance(unit.spec.mode, ShotDetection)
    detector = shot_settings(unit.spec.mode).detector
    assert isinstance(detector, OwnSettings)

    @contextmanager
    def source() -> Iterator[BinaryIO]:
        with opened(grant, channel) as (file, _):
            yield file

    way = Source(opened=source, expect=expect_part, check=check_readable)
    try:
        with helping(unit.folder / unit.share) as board:
            worked = help_out(board, detector, way, seconds=unit.seconds, wait=_WAIT)
    except Over:
        channel.tell(ScanDone(more=False, worked=True))
    else:
        channel.tell(ScanDone(more=True, worked=worked))
