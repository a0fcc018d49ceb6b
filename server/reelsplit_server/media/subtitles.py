"""Subtitles of a span: cues clipped at its borders, rewritten where the container asks for it."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av.error
from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.formats import (
    DEFAULT_SUBTITLE,
    SUBTITLE_IN,
    TEXT_SUBTITLES,
    Container,
)
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.plan import Action, StreamKind, StreamOutcome

#: Seconds that a cue is shown for where the source does not say.
_UNTIMED = Fraction(4)

#: What the encoders want to know of styles; only the default one is used.
_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, "
    b"Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n"
    b"\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def plan_subtitle(stream: SubtitleStream, container: Container) -> StreamOutcome:
    """What is to become of one subtitle stream."""
    source = "unknown"
    if stream.codec_context is not None:
        source = stream.codec_context.codec.canonical_name
    target: str | None = None
    reason: str | None = None
    if source in SUBTITLE_IN[container]:
        target = source
    elif source in TEXT_SUBTITLES and DEFAULT_SUBTITLE[container]:
        target = DEFAULT_SUBTITLE[container]
        reason = f"a .{container.value} file holds text subtitles as {target}"
    else:
        reason = f"a .{container.value} file cannot hold {source} subtitles"
    action = Action.DROPPED
    if target is not None:
        action = Action.COPIED if target == source else Action.ENCODED
    return StreamOutcome(
        kind=StreamKind.SUBTITLE,
        source_index=stream.index,
        source_codec=source,
        codec=target,
        action=action,
        language=stream.language,
        reason=reason,
    )


class SubtitleWriter:
    """One subtitle stream on its way into the output."""

    def __init__(
        self,
        output: Output,
        source: SubtitleStream,
        target: str,
        start: Fraction,
        end: Fraction | None,
        damage: Damage,
    ) -> None:
        """`start` and `end`: seconds on the source's own clock."""
        self._output, self._source, self._damage = output, source, damage
        self._start, self.end = start, end
        self._base = Fraction(source.time_base or Fraction(1, 1000))
        self._copies = source.codec_context.codec.canonical_name == target
        with writing():
            if self._copies:
                stream = output.file.add_stream_from_template(source)
                stream.time_base = self._base
            else:
                stream = cast(SubtitleStream, output.file.add_stream(target))
                source.codec_context.open(strict=False)
                stream.codec_context.subtitle_header = (
                    source.codec_context.subtitle_header or _HEADER
                )
                stream.codec_context.time_base = Fraction(1, 1000)
                stream.time_base = Fraction(1, 1000)
                stream.codec_context.open(strict=False)
        self._stream = stream
        inherit(stream, source)

    def length(self, packet: Packet[Stream]) -> Fraction:
        """Seconds that a cue is shown for."""
        return packet.duration * self._base if packet.duration else _UNTIMED

    def take(self, packet: Packet[Stream]) -> None:
        if packet.pts is None:
            return
        shown = packet.pts * self._base
        until = shown + self.length(packet)
        first = max(shown, self._start)
        last = until if self.end is None else min(until, self.end)
        if first >= last:
            return
        written: Packet[Stream] | None = packet if self._copies else self._rewrite(packet)
        if written is None:
            return
        base = self._base if self._copies else Fraction(1, 1000)
        written.pts = written.dts = round((first - self._start) / base)
        written.duration = max(1, round((last - first) / base))
        written.time_base = base
        written.stream = self._stream
        self._output.mux(written)

    def _rewrite(self, packet: Packet[Stream]) -> Packet[Stream] | None:
        try:
            cue = self._source.codec_context.decode2(packet)
        except av.error.FFmpegError as error:
            self._damage.note(f"a subtitle cannot be decoded ({error.strerror})")
            return None
        lines = [part for part in cue or () if isinstance(part, AssSubtitle) and part.dialogue]
        if not lines:
            return None
        text = b"\\N".join(_body(line.ass) for line in lines)
        ass = lines[0].ass[: len(lines[0].ass) - len(_body(lines[0].ass))] + text
        length = max(1, round((packet.duration or 0) * self._base * 1000))
        with writing():
            return self._stream.codec_context.encode_subtitle(
                SubtitleSet.create(text=ass, start=0, end=length)
            )


def _body(event: bytes) -> bytes:
    """The text of an ASS event, after its eight fields."""
    return event.split(b",", 8)[-1]
