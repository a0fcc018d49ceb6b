"""Packets that a file lists, and that hold nothing or are not there."""

from __future__ import annotations

from typing import BinaryIO

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.declared import missing_bytes


class Holes:
    """Watches a video stream's packets, as they are read one after the other.

    FFmpeg says nothing of what is missing: it passes over empty packets of an MP4, and a file
    that breaks off seems to end.
    """

    def __init__(self, file: BinaryIO, video: VideoStream) -> None:
        self._file, self._video = file, video
        self._is_mov = video.container.format.name.startswith("mov,mp4")
        self._next: int | None = None
        """Where the index should list the next packet."""
        self._last: int | None = None

    def rewind(self) -> None:
        """What comes next does not follow what came last."""
        self._next = self._last = None

    def before(self, packet: Packet[Stream]) -> bool:
        """Take the next packet; whether the index lists an empty one right before it."""
        if packet.dts is None:
            return False
        self._last = packet.dts
        if not self._is_mov:
            return False
        entries, at = self._video.index_entries, self._next
        if at is None or at >= len(entries) or entries[at].timestamp != packet.dts:
            at = entries.search_timestamp(packet.dts, any_frame=True)
        is_hole = self._next is not None and at > 0 and entries[at - 1].size == 0
        self._next = at + 1 if at >= 0 else None
        return is_hole

    def at_end(self, high: int | None) -> bool:
        """Whether the file breaks off before `high`, ticks, when all packets were read: it
        promises more than it holds. False where the format does not say."""
        if self._last is not None and high is not None and self._last >= high:
            return False
        if missing_bytes(self._file):
            return True
        if self._last is None or not self._is_mov:
            return False
        entries = self._video.index_entries
        return bool(len(entries)) and entries[len(entries) - 1].timestamp > self._last
