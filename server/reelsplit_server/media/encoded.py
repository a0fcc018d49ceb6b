"""One segment while its frames are encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.made import Made
from reelsplit_server.media.mp4_edit import hide_after
from reelsplit_server.media.others import is_stale, sounds_of
from reelsplit_server.media.output import Output
from reelsplit_server.media.plan import Action, CutMode, RenderPlan, StreamKind, StreamOutcome
from reelsplit_server.media.reader import Reader
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks
from reelsplit_server.media.video import VideoWriter


class Encoded:
    """Is shown the frames of a reader and given its packets, and takes what lies in its span."""

    def __init__(
        self,
        plan: RenderPlan,
        path: Path,
        on_progress: Callable[[int], None],
        span: Span,
        outcomes: Sequence[StreamOutcome],
        own: InputContainer | None,
    ) -> None:
        """`outcomes` says what becomes of the other streams. Of `own`, the source opened once
        more, nothing is read: its decoders serve this segment alone. None: the reader's are."""
        self._plan, self._path, self._span = plan, path, span
        self._on_progress, self._outcomes, self._own = on_progress, outcomes, own
        self._early: list[Packet[Stream]] = []
        self._output: Output | None = None
        self._writer: VideoWriter | None = None
        self._tracks: Tracks | None = None
        self._ended = False

    def show(self, reader: Reader, frame: VideoFrame) -> None:
        """The reader's next frame."""
        pts = frame.pts or 0
        if self._ended or pts < self._span.low:
            return
        if self._span.ends_before(pts):
            self.end(reader, pts)
            return
        if self._writer is None:
            self._begin(reader, frame)
        else:
            self._writer.push(frame)

    def take(self, reader: Reader, packet: Packet[Stream]) -> None:
        """The reader's next packet of another stream."""
        if self._tracks is not None:
            self._tracks.take(packet)
            return
        # The entry may lie hours before the range.
        start = self._span.low * self._span.time_base
        if not is_stale(packet, start, sounds_of(reader.container)):
            self._early.append(packet)

    def end(self, reader: Reader, beyond: int | None) -> None:
        """No frame of the segment comes any more. `beyond` is when the source's next one is
        shown, in ticks.

        Raises `MediaError` where there was none: ``RANGE_OUTSIDE_SOURCE``, ``SOURCE_DAMAGED``.
        """
        if self._ended:
            return
        self._ended = True
        if self._writer is None or self._tracks is None:
            raise _nothing_found(self._span, reader.damage.count, beyond)
        self._writer.finish(beyond)
        if self._span.end is not None:
            self._tracks.end_at(self._writer.end_pts * self._span.time_base)

    def is_done(self, reader: Reader) -> bool:
        """Whether all that belongs into the segment was read."""
        if not self._ended or self._tracks is None:
            return False
        return self._tracks.done or reader.is_past(self._span)

    def close(self, reader: Reader) -> Made:
        """Write the end of the file."""
        output, writer, tracks, span = self._output, self._writer, self._tracks, self._span
        assert output is not None
        assert writer is not None
        assert tracks is not None
        tracks.finish()
        output.close()
        if writer.overshoots:
            hide_after(self._path, writer.placed_end * writer.time_base)
        video = StreamOutcome(
            kind=StreamKind.VIDEO,
            source_index=reader.video.index,
            source_codec=reader.video.codec_context.codec.canonical_name,
            codec=writer.codec.value,
            action=Action.ENCODED,
            language=reader.video.language,
            reason=writer.reason,
        )
        return Made(
            mode=CutMode.ENCODE,
            span=span,
            start_pts=writer.start_pts,
            end_pts=writer.end_pts,
            early_frames=0,
            placed=np.array(writer.placed, dtype=np.int64),
            placed_end=writer.placed_end,
            time_base=writer.time_base,
            rate=writer.rate,
            encoded_head=writer.frame_count,
            encoded_tail=0,
            hides=False,
            damaged=reader.damage.count,
            broken=reader.damage.between(span.zero),
            reason=writer.reason,
            streams=sorted((video, *self._outcomes), key=lambda each: each.source_index),
            audio=tracks.audio,
        )

    def abandon(self) -> None:
        """Let go of the file as it is; nothing happens where it was closed."""
        if self._output is not None:
            self._output.abandon()

    def _begin(self, reader: Reader, first: VideoFrame) -> None:
        plan, span = self._plan, self._span
        output = self._output = Output(self._path, plan.container)
        writer = VideoWriter(output, plan, reader.video, first, span, self._on_progress)
        tracks = Tracks(
            output,
            self._own or reader.container,
            plan,
            self._outcomes,
            start=span.zero + span.offset(first.pts or 0),
            end=None if span.end is None else span.zero + span.end,
            damage=reader.damage,
        )
        if span.end is not None:
            tracks.hold_end(span.zero + span.end)
        output.begin()
        writer.push(first)
        for packet in self._early:
            tracks.take(packet)
        self._early.clear()
        self._writer, self._tracks = writer, tracks


def _nothing_found(span: Span, damaged: int, beyond: int | None) -> MediaError:
    """The error for a range out of which no frame came."""
    if damaged:
        return MediaError(
            "SOURCE_DAMAGED",
            f"No frame from {span} can be decoded: the source is corrupt there.",
            metadata={"broken": str(damaged)},
        )
    return span.empty(beyond)
