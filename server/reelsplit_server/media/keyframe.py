"""Cutting without encoding: from a clean key frame to a key frame, packets as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from reelsplit_server.media.cadence import OwnTimes, nominal_rate
from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import VIDEO_IN, Container
from reelsplit_server.media.order import Order
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.picture import display_matrix
from reelsplit_server.media.plan import Action, RenderPlan, RenderResult, StreamKind, StreamOutcome
from reelsplit_server.media.probe import first_frame
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks, plan_others

_STEPS_BACK = (0, 2, 10, 60)
_MAX_DEMUX_ERRORS = 8
_EARLY = Fraction(1, 4)
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
    entry = _find_entry(file, span)
    with ExitStack() as stack:
        source = _Source(file, span)
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
        for packet in events:
            if packet.stream_index != source.video.index:
                tracks.take(packet)
                if finished and tracks.done:
                    break
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
                tracks.end_at(writer.finish(ending) * span.time_base)
                finished = True
                if tracks.done:
                    break
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


class _Source:
    """The source's packets from a key frame on."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file, self._span = file, span
        self.damage = Damage()
        self.container: InputContainer = open_source(file)
        self.video: VideoStream = video_stream(self.container)

    def close(self) -> None:
        self.container.close()

    def from_key(self, key: int) -> Iterator[Packet[Stream]]:
        """Everything around and after the key frame shown at `key`; video begins with it."""
        ticks = 1 / self._span.time_base
        for step in (*_STEPS_BACK, None):
            target = None if step is None else key - round((_EARLY + step) * ticks)
            if target is None or target <= self._span.origin:
                self._rewind()
            elif not _seek(self.container, self.video, target):
                continue
            others: list[Packet[Stream]] = []
            packets = demuxed(self.container, self.damage)
            for packet in packets:
                if packet.stream_index != self.video.index:
                    others.append(packet)
                elif packet.is_keyframe and packet.pts == key:
                    return self._joined(packet, others, packets)
                elif packet.is_keyframe and packet.pts is not None and packet.pts > key:
                    break
        raise MediaError(
            "SOURCE_DAMAGED", "The source's key frame before the range could not be read again."
        )

    def _joined(
        self,
        first: Packet[Stream],
        others: list[Packet[Stream]],
        packets: Iterator[Packet[Stream]],
    ) -> Iterator[Packet[Stream]]:
        yield from others
        yield first
        yield from packets

    def _rewind(self) -> None:
        # The output's streams are made from this container's: it must stay the same one.
        start = self.container.start_time
        with suppress(av.error.FFmpegError):
            self.container.seek(start if start is not None else 0)


def demuxed(container: InputContainer, damage: Damage) -> Iterator[Packet[Stream]]:
    """All packets that carry data; what the demuxer trips over is noted."""
    failures = 0
    while failures < _MAX_DEMUX_ERRORS:
        try:
            for packet in container.demux():
                failures = 0
                if packet.size:
                    yield packet
            return
        except av.error.FFmpegError as error:
            failures += 1
            damage.note(f"the container breaks off or is corrupt ({error.strerror})")


def _find_entry(file: BinaryIO, span: Span) -> int:
    """The pts of the last key frame at or before the span from which decoding is clean."""
    limit = span.low
    ticks = 1 / span.time_base
    with open_source(file) as container:
        video = video_stream(container)
        for step in _STEPS_BACK:
            target = limit - round(step * ticks)
            if target <= span.origin or not _seek(container, video, target):
                break
            entry = _last_clean_key(container, video, span, limit)
            if entry is not None:
                return entry
    with open_source(file) as container:
        entry = _last_clean_key(container, video_stream(container), span, limit)
        if entry is None:
            raise MediaError(
                "COPY_IMPOSSIBLE",
                "The source has no key frame from which it could be played before the range. "
                "Ask for the video to be encoded.",
            )
        return entry


def _last_clean_key(
    container: InputContainer, video: VideoStream, span: Span, limit: int
) -> int | None:
    """Read to the span's start; keep each key frame that the next one does not replace."""
    clean: int | None = None
    group: list[Packet[Stream]] = []
    for packet in demuxed(container, Damage()):
        if packet.stream_index != video.index:
            continue
        pts = packet.pts
        beyond = (packet.dts if packet.dts is not None else pts) or 0
        if packet.is_keyframe and pts is not None and pts <= limit:
            checked = _check(video, group, span)
            clean = clean if checked is None else checked
            group = [packet]
        elif group and len(group) < 64:
            group.append(packet)
        past = beyond > limit or (pts is not None and pts > limit and packet.is_keyframe)
        if past and (packet.is_keyframe or len(group) >= 32):
            break
    checked = _check(video, group, span)
    return clean if checked is None else checked


def _check(video: VideoStream, group: list[Packet[Stream]], span: Span) -> int | None:
    """The pts of the group's key frame if it is the first that a fresh decoder shows."""
    if not group:
        return None
    decoder = cast(VideoCodecContext, av.CodecContext.create(video.codec_context.codec.name, "r"))
    decoder.extradata = video.codec_context.extradata
    decoder.thread_count = 1
    decoder.options = dict(video.codec_context.options)
    frames = []
    for packet in (*group, None):
        with suppress(av.error.FFmpegError):
            frames = decoder.decode(packet)
        if frames:
            break
    key = group[0].pts
    # Frames that an edit list hides are not shown at all.
    if not frames or frames[0].pts == key or (key is not None and key < span.origin):
        return key
    return None


def _seek(container: InputContainer, video: VideoStream, target: int) -> bool:
    try:
        container.seek(target, stream=video)
    except av.error.FFmpegError:
        return False
    return True


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
