"""Cutting without encoding: from a clean key frame to a key frame, packets as they are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.cadence import OwnTimes, nominal_rate
from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.entry import KeySource, early_before, find_entry
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import VIDEO_IN, Container
from reelsplit_server.media.order import Order
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.picture import display_matrix
from reelsplit_server.media.plan import Action, RenderPlan, RenderResult, StreamKind, StreamOutcome
from reelsplit_server.media.probe import first_frame
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks, kept, plan_others

_SKEW = 5


def copy_between_keys(
    file: BinaryIO,
    plan: RenderPlan,
    span: Span,
    path: Path,
    on_progress: Callable[[int], None],
) -> RenderResult:
    """Copy from the last clean key frame at or before the span to the first one at or after it.

    Raises `MediaError` with ``COPY_IMPOSSIBLE`` where the container cannot hold the codec, or
    the source's packets do not say when they are shown.
    """
    with open_source(file) as container:
        codec = video_stream(container).codec_context.codec.canonical_name
        outcomes = plan_others(container, plan)
        reason = None
        if plan.container is Container.TS and display_matrix(
            first_frame(container, video_stream(container))
        ):
            reason = "the container stores no rotation: the copied picture lies on its side"
    if codec not in VIDEO_IN[plan.container]:
        raise MediaError(
            "COPY_IMPOSSIBLE",
            f"A .{plan.container.value} file cannot hold {codec} video as it is. "
            "Ask for another container (.mkv holds most codecs), or for the video to be encoded.",
            metadata={"codec": codec, "container": plan.container.value},
        )
    entry = find_entry(file, span)
    with ExitStack() as stack:
        source = KeySource(
            file, span, kept(outcomes), early_before(file, span, kept(outcomes), entry)
        )
        stack.callback(source.close)
        events = source.from_key(entry)
        output = Output(path, plan.container)
        stack.callback(_close_quietly, output)
        # What an edit list of the source hides stays hidden where the container can do that.
        zero = max(entry, span.origin) if output.hides_preroll else entry
        writer = _Copier(output, source.video, span, zero)
        tracks = Tracks(
            output,
            source.container,
            plan,
            outcomes,
            start=zero * span.time_base,
            end=None if span.end is None else span.zero + span.end,
            damage=source.damage,
        )
        if span.end is not None:
            tracks.hold_end(span.zero + span.end)
        output.begin()
        leading = True
        ending: list[Packet[Stream]] = []
        finished = False
        stop = Fraction(0)
        for packet in events:
            if finished and (tracks.done or source.pending.nothing_before(stop)):
                break
            if packet.stream_index != source.video.index:
                tracks.take(packet)
                continue
            pts = _shown(packet, codec, plan.container)
            if finished:
                if span.high is not None and (pts - span.high) * span.time_base > _SKEW:
                    break
                continue
            if leading and pts < entry:
                continue  # a leading picture of the entry: it needs what comes before
            leading = leading and not (packet.is_keyframe and pts > entry)
            if ending:
                if pts < (ending[0].pts or 0):
                    ending.append(packet)
                    continue
                stop = writer.finish(ending) * span.time_base
                tracks.end_at(stop)
                finished = True
            elif packet.is_keyframe and span.ends_before(pts):
                ending.append(packet)
            else:
                writer.push(packet)
                on_progress(writer.frame_count)
        if not finished:
            stop = writer.finish(ending) * span.time_base
            if span.end is not None:
                tracks.end_at(stop)
        tracks.finish()
        output.close()
        on_progress(writer.frame_count)
        video = StreamOutcome(
            kind=StreamKind.VIDEO,
            source_index=source.video.index,
            source_codec=codec,
            codec=codec,
            action=Action.COPIED,
            language=source.video.language,
            reason=reason,
        )
        start, end = span.offset(zero), span.offset(writer.end_pts)
        return RenderResult(
            frame_count=writer.frame_count,
            early_frames=writer.early_frames,
            start=start,
            end=end,
            start_pts=zero,
            end_pts=writer.end_pts,
            time_base=span.time_base,
            duration=end - start,
            copied_frames=writer.frame_count,
            encoded_frames=0,
            damaged=source.damage.count,
            reason=reason,
            streams=tuple(sorted((video, *outcomes), key=lambda o: o.source_index)),
        )


class _Copier:
    """Video packets on their way into the output."""

    def __init__(self, output: Output, source: VideoStream, span: Span, zero: int) -> None:
        self._output, self._span, self._zero = output, span, zero
        rate = nominal_rate(source)
        self._times = OwnTimes(span, rate)
        with writing():
            self._stream = output.file.add_stream_from_template(source, opaque=True)
        context = self._stream.codec_context
        if context.codec.canonical_name == "hevc" and output.hides_preroll:
            context.codec_tag = "hvc1"
        context.framerate = rate
        self._stream.time_base = self._times.time_base
        inherit(self._stream, source)
        self._step = max(1, round(1 / rate / span.time_base))
        depth = source.codec_context.reorder_depth
        self._filter = _with_sets(output, source)
        self._order = Order(depth=depth, step=self._step)
        self.frame_count = 0
        self.early_frames = 0
        self.end_pts = zero

    def push(self, packet: Packet[Stream]) -> None:
        for ready in self._order.push(packet):
            self._mux(ready)

    def finish(self, ending: list[Packet[Stream]]) -> int:
        """Write what is left; answers the end, in ticks of the source.

        `ending` is the key frame after the range and its leading pictures. They are shown before
        it, but need it: so it is kept where it has some, else left for the next segment.
        """
        following = ending[0].pts if ending else None
        if len(ending) > 1:
            following = None
            for packet in ending:
                self.push(packet)
        for ready in self._order.finish():
            self._mux(ready)
        if following is not None and following - self.end_pts < self._step:
            self.end_pts = following
        return self.end_pts

    def _mux(self, packet: Packet[Stream]) -> None:
        pts, dts, duration = packet.pts or 0, packet.dts or 0, packet.duration or 1
        self.end_pts = max(self.end_pts, pts + duration)
        self.frame_count += pts >= self._zero
        self.early_frames += self._zero <= pts < self._span.low
        tick = self._span.time_base

        def place(ticks: int) -> int:
            return self._times.ticks((ticks - self._zero) * tick)

        packet.pts, packet.dts = place(pts), place(dts)
        packet.duration = max(1, place(pts + duration) - place(pts))
        packet.time_base = self._times.time_base
        for ready in [packet] if self._filter is None else self._filter.filter(packet):
            ready.time_base = self._times.time_base
            ready.stream = self._stream
            self._output.mux(ready)


def _with_sets(output: Output, source: VideoStream) -> BitStreamFilterContext | None:
    """For MPEG-TS: parameter sets before every key frame. The muxer's own conversion puts them
    before IDR pictures only, and an open-GOP entry is none."""
    context = source.codec_context
    codec = context.codec.canonical_name
    out_of_band = (context.extradata or b"")[:1] == b"\x01"
    if output.container is not Container.TS or codec not in ("h264", "hevc") or not out_of_band:
        return None
    return BitStreamFilterContext(f"{codec}_mp4toannexb,dump_extra=freq=keyframe", source)


def _shown(packet: Packet[Stream], codec: str, container: Container) -> int:
    if packet.pts is None:
        raise MediaError(
            "COPY_IMPOSSIBLE",
            f"The source's {codec} packets do not say when they are shown, so they cannot be "
            f"copied into a .{container.value} file. Ask for the video to be encoded.",
        )
    return packet.pts


def _close_quietly(output: Output) -> None:
    with suppress(MediaError):
        output.close()
