"""One segment made of copied packets, and of encoded ones at its ends."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from reelsplit_server.media.approach import Approach, exact, whole_group
from reelsplit_server.media.cadence import nominal_rate
from reelsplit_server.media.elementary import elementary_of
from reelsplit_server.media.ends import PACKET_OVERHEAD, AtEntry, Coded, Covering, End, GapFree
from reelsplit_server.media.entrance import Entrance
from reelsplit_server.media.made import Made
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.output import Output
from reelsplit_server.media.plan import (
    Action,
    CutMode,
    RenderPlan,
    StreamKind,
    StreamOutcome,
)
from reelsplit_server.media.seam import Encoder, frames_at, frames_of
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks
from reelsplit_server.media.video_track import VideoTrack

#: The most bytes of packets that are held in memory for the end of a segment.
_MOST_HELD = 48 << 20
#: The luma quantiser that is taken for the source's where no picture tells.
_USUAL_QUANTISER = 24


class Splice:
    """One segment on its way: head, copy, tail, and the other streams all along."""

    def __init__(
        self,
        file: BinaryIO,
        entrance: Entrance,
        plan: RenderPlan,
        span: Span,
        output: Output,
        outcomes: list[StreamOutcome],
        on_progress: Callable[[int], None],
    ) -> None:
        self._file, self._entrance, self._plan, self._span = file, entrance, plan, span
        self._output, self._outcomes, self._on_progress = output, outcomes, on_progress
        self._elementary = elementary_of(entrance.video, plan.container)
        self._times = array("q")
        self._quantisers: list[int] = []
        self._group: list[Coded] | None = []
        """Since the last entry before the end, in decoding order; None once it is too large."""
        self._group_size = 0
        self._copied_until: int | None = None
        self._sets: bytes | None = None
        """The encoder's parameter sets that are in the header."""
        self.overshoots = False
        """Whether the header will say that the video lasts longer than it does."""

    def run(self) -> Made:
        mode, span, elementary = self._plan.mode, self._span, self._elementary
        events = self._entrance.packets(elementary, whole_group=mode is CutMode.KEYFRAME)
        if mode is CutMode.AUTO:
            way = exact(events, span, joins=elementary.joins)
        else:
            way = whole_group(
                events,
                span,
                hides=mode is CutMode.EDIT_LIST,
                hides_preroll=self._output.hides_preroll,
            )
        elementary.enter(way.entry.access, drops_references=way.drops_references)
        head = self._begin(way)
        end = self._copy(way, events)
        tail = self._tail(end) if mode is CutMode.AUTO else 0
        return self._finish(end, head, tail)

    def _begin(self, way: Approach) -> int:
        """Write the header, and the frames before those that are copied; answers how many."""
        low, first = self._span.low, way.first
        wanted = [each.pts for each in way.head if low <= each.pts < first]
        if self._plan.mode is not CutMode.AUTO:
            wanted = []
        for each in way.head:
            self._note_quantiser(each)
        encoder = self._encoder(needed=bool(wanted))
        zero = min((*wanted, first))
        self._track = VideoTrack(
            self._output,
            self._entrance.video,
            self._span,
            zero=zero,
            extradata=self._elementary.extradata(),
        )
        span_end = None if self._span.end is None else self._span.zero + self._span.end
        self._tracks = Tracks(
            self._output,
            self._entrance.container,
            self._plan,
            self._outcomes,
            start=zero * self._span.time_base,
            end=span_end,
            damage=self._entrance.damage,
        )
        if span_end is not None:
            self._tracks.hold_end(span_end)
        self._output.begin()
        for packet in way.others:
            self._tracks.take(packet)
        if encoder is None or not wanted:
            return 0
        frames = frames_of(
            self._entrance.video, way.head, low=low, high=first, threads=self._plan.threads
        )
        return self._encode(encoder, frames)

    def _encoder(self, *, needed: bool) -> Encoder | None:
        """An encoder whose parameter sets are in the header; None where none will be needed."""
        context = self._entrance.video.codec_context
        may_end_early = self._span.high is not None and context.reorder_depth > 0
        if self._plan.mode is not CutMode.AUTO or not (needed or may_end_early):
            return None
        if not (needed or self._elementary.joins):
            return None
        encoder = self._new_encoder()
        self._elementary.adopt(encoder.extradata)
        self._sets = encoder.extradata
        return encoder

    def _new_encoder(self) -> Encoder:
        known = self._quantisers
        quantiser = round(sum(known) / len(known)) if known else _USUAL_QUANTISER
        return Encoder(self._elementary, self._entrance.video, quantiser)

    def _encode(self, encoder: Encoder, frames: Iterable[VideoFrame]) -> int:
        count = 0
        for frame in frames:
            assert frame.pts is not None
            self._shows(frame.pts)
            count += 1
            for packet, pts in encoder.push(frame):
                self._track.push(packet, pts)
        for packet, pts in encoder.finish():
            self._track.push(packet, pts)
        return count

    def _shows(self, pts: int) -> None:
        self._times.append(pts)
        self._on_progress(len(self._times))

    def _copy(self, way: Approach, events: Iterator[Coded | Packet[Stream]]) -> End:
        high = self._span.high
        end: End
        match self._plan.mode:
            case CutMode.KEYFRAME:
                end = AtEntry(high)
            case CutMode.EDIT_LIST:
                end = Covering(high)
            case _:
                end = GapFree(high)
        kept_leading = way.leading if way.keeps_leading else ()
        hidden_until = self._track.zero
        shown_before = high if self._plan.mode is CutMode.EDIT_LIST else None

        def take(ready: Iterable[Coded]) -> None:
            for coded in ready:
                packet = self._elementary.copied(coded.packet, coded.access)
                self._track.push(packet, coded.pts)
                until = self._copied_until
                self._copied_until = coded.pts if until is None else max(coded.pts, until)
                if coded.pts >= hidden_until and (shown_before is None or coded.pts < shown_before):
                    self._shows(coded.pts)
                if shown_before is None and self._span.ends_before(coded.pts):
                    # The next key frame may be hours away.
                    self._tracks.hold_end(coded.pts * self._span.time_base)

        for event in chain((way.entry, *kept_leading, *way.after), events):
            if isinstance(event, Packet):
                self._tracks.take(event)
                continue
            self._keep_for_tail(event)
            take(end.push(event))
            if end.done:
                break
        self._rest = events
        take(end.finish())
        return end

    def _end_of(self, last: int, end: End) -> int:
        """The tick at which the picture shown at `last`, the segment's last one, ends."""
        if end.beyond is None:
            return last + self._last_duration(last)
        if self._plan.mode is CutMode.KEYFRAME:
            return end.beyond
        # Not far beyond the range where the source's picture pauses there: what the source says
        # of its duration may be the whole pause.
        assert self._span.high is not None
        return min(end.beyond, max(self._span.high, last + self._track.step))

    def _last_duration(self, pts: int) -> int:
        """Ticks that the picture at `pts` is shown, by what the source itself says."""
        usual = self._track.step
        said = next((each.packet.duration for each in self._group or () if each.pts == pts), None)
        # What is a rounding away from the usual is the usual.
        return said if said and abs(said - usual) > 1 else usual

    def _keep_for_tail(self, coded: Coded) -> None:
        is_before_end = not self._span.ends_before(coded.pts)
        if coded.access.picture.is_entry and is_before_end:
            self._group, self._group_size = [], 0
            self._quantisers = []
        self._note_quantiser(coded)
        self._group_size += coded.packet.size + PACKET_OVERHEAD
        if self._group_size > _MOST_HELD:
            self._group = None
        if self._group is not None:
            self._group.append(coded)

    def _note_quantiser(self, coded: Coded) -> None:
        if coded.access.slice_type == "P" and coded.access.quantiser is not None:
            self._quantisers.append(coded.access.quantiser)

    def _tail(self, end: End) -> int:
        """Encode what is shown before the end and was not copied; answers how many frames."""
        if not end.left:
            return 0
        if self._copied_until is None:
            raise CannotJoin("no picture in the range can be copied")
        low, high = self._copied_until + 1, self._span.high
        video, threads = self._entrance.video, self._plan.threads
        if not self._elementary.joins or self._sets is None:
            raise CannotJoin("the pictures at the end of the range lean on later ones")
        if self._group is not None:
            frames = frames_of(video, self._group, low=low, high=high, threads=threads)
        else:
            frames = frames_at(self._file, self._span, low=low, threads=threads)
        encoder = self._new_encoder()
        if encoder.extradata != self._sets:
            raise CannotJoin("the encoder's parameter sets differ at the two ends")
        count = self._encode(encoder, frames)
        if count != end.left:
            raise CannotJoin("pictures at the end of the range cannot be decoded")
        return count

    def _finish(self, end: End, head: int, tail: int) -> Made:
        span, source = self._span, self._entrance.video
        shown = np.sort(np.array(self._times, dtype=np.int64))
        early = int(np.searchsorted(shown, span.low))
        if early == len(shown) or span.ends_before(int(shown[early])):
            beyond = end.beyond if early == len(shown) else int(shown[early])
            raise span.empty(beyond)
        if np.any(np.diff(shown) <= 0):
            raise CannotJoin("two pictures of the source are shown at the same time")
        codec = source.codec_context.codec.canonical_name
        hides = self._track.frame_count > len(shown)
        if hides and codec == "av1":
            # FFmpeg up to 6 gives its AV1 decoder everything, and drops nothing of what comes.
            raise CannotJoin("players show what an edit list hides of AV1 video")
        end_pts = self._end_of(int(shown[-1]), end)
        track_end = end_pts
        if hides and self._copied_until is not None and self._copied_until >= end_pts:
            track_end = self._copied_until + self._track.step
        self.overshoots = self._track.finish(track_end)
        stop = end_pts * span.time_base
        if span.end is not None:
            self._tracks.end_at(stop)
        for packet in self._entrance.others(self._rest, stop):
            self._tracks.take(packet)
            if self._tracks.done:
                break
        self._tracks.finish()
        video = StreamOutcome(
            kind=StreamKind.VIDEO,
            source_index=source.index,
            source_codec=codec,
            codec=codec,
            action=Action.ENCODED if head + tail == len(shown) else Action.COPIED,
            language=source.language,
        )
        return Made(
            mode=self._plan.mode,
            span=span,
            start_pts=int(shown[0]),
            end_pts=end_pts,
            early_frames=early,
            placed=np.array([self._track.place(int(pts)) for pts in shown], dtype=np.int64),
            placed_end=self._track.place(end_pts),
            time_base=self._track.time_base,
            rate=nominal_rate(source),
            encoded_head=head,
            encoded_tail=tail,
            hides=hides,
            damaged=self._entrance.damage.count,
            broken=self._entrance.damage.between(span.zero),
            reason=None,
            streams=sorted((video, *self._outcomes), key=lambda each: each.source_index),
            audio=self._tracks.audio,
        )
