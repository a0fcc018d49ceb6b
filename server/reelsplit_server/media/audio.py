"""Audio of a span: copied packet by packet, or encoded to the sample."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, cast

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.formats import (
    AUDIO_IN,
    DEFAULT_AUDIO,
    ENCODERS,
    LAYOUTS,
    SAMPLE_RATES,
    AudioCodec,
    Container,
)
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.plan import (
    Action,
    AudioMode,
    AudioSettings,
    StreamKind,
    StreamOutcome,
)

#: Seconds by which a frame's time may miss the end of the one before it and still follow it.
_JITTER = Fraction(3, 100)
_OPUS_RATE = 48_000
#: Seconds of silence made at a time.
_SILENCE = 1
#: Seconds that a decoder of each codec needs to sound right after a cut.
_WARM_UP = {"opus": Fraction(8, 100), "mp3": Fraction(8, 100), "vorbis": Fraction(5, 100)}


class AudioWriter(Protocol):
    done: bool
    """Nothing more is wanted."""
    end: Fraction | None
    """Seconds on the source's own clock; may be set late, but before what lies beyond comes."""

    def take(self, packet: Packet[Stream]) -> None: ...

    def finish(self) -> None: ...


def plan_audio(stream: AudioStream, container: Container, asked: AudioSettings) -> StreamOutcome:
    """What is to become of one audio stream."""
    context = stream.codec_context
    source = "unknown" if context is None else context.codec.canonical_name

    def outcome(action: Action, codec: str | None, reason: str | None) -> StreamOutcome:
        return StreamOutcome(
            kind=StreamKind.AUDIO,
            source_index=stream.index,
            source_codec=source,
            codec=codec,
            action=action,
            language=stream.language,
            reason=reason,
        )

    fits = source in AUDIO_IN[container]
    cannot = f"a .{container.value} file cannot hold {source} audio"
    if asked.codec is AudioMode.NONE:
        return outcome(Action.DROPPED, None, "no audio was asked for")
    if context is None or not context.sample_rate:
        return outcome(Action.DROPPED, None, "its codec or format is unknown")
    if asked.codec is AudioMode.COPY:
        if fits:
            return outcome(Action.COPIED, source, None)
        return outcome(Action.DROPPED, None, cannot)
    if isinstance(asked.codec, AudioCodec):
        return outcome(Action.ENCODED, asked.codec.value, None)
    if fits and not asked.asks_to_encode:
        return outcome(Action.COPIED, source, None)
    codec = DEFAULT_AUDIO[container]
    if fits and source in {c.value for c in AudioCodec}:
        codec = AudioCodec(source)
    return outcome(Action.ENCODED, codec.value, None if fits else cannot)


class CopiedAudio:
    """Packets as they are. Where the container hides what lies before time 0, one or more
    packets of pre-roll make the first sample right; else packets go by their middle, so that
    neighbouring segments tile."""

    def __init__(
        self, output: Output, source: AudioStream, start: Fraction, end: Fraction | None
    ) -> None:
        """`start` and `end`: seconds on the source's own clock."""
        self.done = False
        self._output, self._start, self.end = output, start, end
        with writing():
            self._stream = output.file.add_stream_from_template(source)
        inherit(self._stream, source)
        context = source.codec_context
        self._base = Fraction(source.time_base or Fraction(1, context.sample_rate))
        self._nominal = Fraction(context.frame_size or 1024, context.sample_rate)
        self._stream.time_base = self._base
        self._preroll = Fraction(0)
        if output.hides_preroll:
            self._preroll = _WARM_UP.get(context.codec.canonical_name, self._nominal)
        self._zero = round(start / self._base)
        self._last: int | None = None

    def take(self, packet: Packet[Stream]) -> None:
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None or self.done:
            return
        time = pts * self._base
        length = packet.duration * self._base if packet.duration else self._nominal
        if self._output.hides_preroll:
            if time + length <= self._start - self._preroll:
                return
            if self.end is not None and time >= self.end:
                self.done = True
                return
            if self.end is not None and time + length > self.end:
                # The header then says where the sound really ends.
                packet.duration = max(1, round((self.end - time) / self._base))
        else:
            middle = time + length / 2
            if middle < self._start:
                return
            if self.end is not None and middle >= self.end:
                self.done = True
                return
        pts -= self._zero
        if self._last is not None and pts <= self._last:
            return
        self._last = pts
        packet.pts = packet.dts = pts
        packet.time_base = self._base
        packet.stream = self._stream
        self._output.mux(packet)

    def finish(self) -> None:
        self.done = True


class EncodedAudio:
    """Decoded, trimmed to the sample at both ends, and encoded anew."""

    def __init__(
        self,
        output: Output,
        source: AudioStream,
        codec: AudioCodec,
        asked: AudioSettings,
        start: Fraction,
        end: Fraction | None,
        damage: Damage,
    ) -> None:
        """`start` and `end`: seconds on the source's own clock."""
        self.done = False
        self._output, self._source, self._damage = output, source, damage
        self._start, self.end = start, end
        self._base = Fraction(source.time_base or Fraction(1, source.codec_context.sample_rate))
        rate = asked.sample_rate or _nearest_rate(codec, source.codec_context.sample_rate)
        options: dict[str, str] = {}
        if codec is AudioCodec.OPUS:
            # Opus is played at 48 kHz whatever went in; a lower rate is a lower bandwidth.
            options = {"cutoff": str(rate // 2)} if rate < _OPUS_RATE else {}
            rate = _OPUS_RATE
        layout = _layout(asked.channels or source.codec_context.channels)
        channels = asked.channels or source.codec_context.channels
        with writing():
            self._stream = cast(
                AudioStream,
                output.file.add_stream(ENCODERS[codec], rate=rate, options=options, layout=layout),
            )
        context = self._stream.codec_context
        context.bit_rate = asked.bit_rate or _default_bit_rate(codec, channels)
        context.time_base = Fraction(1, rate)
        self._stream.time_base = Fraction(1, rate)
        inherit(self._stream, source)
        with writing():
            context.open()
        self._resampler = AudioResampler(format=context.format.name, layout=layout, rate=rate)
        self._rate = 0
        self._next = 0
        self._format: tuple[str, str] | None = None
        self._out_rate = rate
        self._out_next: int | None = None

    def take(self, packet: Packet[Stream]) -> None:
        if self.done:
            return
        try:
            frames = self._source.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            self._damage.note(f"an audio packet cannot be decoded ({error.strerror})")
            return
        for frame in frames:
            self._place(frame)

    def finish(self) -> None:
        if not self.done:
            try:
                for frame in self._source.codec_context.decode(None):
                    self._place(frame)
            except av.error.FFmpegError as error:
                self._damage.note(f"the last audio cannot be decoded ({error.strerror})")
        self.done = True
        if self._out_next is not None:
            for resampled in self._resampler.resample(None):
                self._encode(resampled)
        with writing():
            packets = self._stream.codec_context.encode(None)
        self._mux(packets)

    def _place(self, frame: AudioFrame) -> None:
        """Put a decoded frame on the output's clock, cut off what lies outside the range, and
        fill a hole before it with silence."""
        if self.done:
            return
        first = self._rate == 0
        if first:
            self._rate = frame.sample_rate
        if frame.pts is None:
            at = self._next
        else:
            base = frame.time_base or self._base
            at = round((frame.pts * base - self._start) * self._rate)
            if not first and abs(at - self._next) <= _JITTER * self._rate:
                at = self._next
        if not first and at > max(self._next, 0):
            self._silence(max(self._next, 0), at, frame)
        skip = max(0, (0 if first else self._next) - at, -at)
        take = frame.samples
        length = self._length()
        if length is not None and at + frame.samples >= length:
            take = length - at
            self.done = True
        self._next = max(self._next, at + frame.samples) if not first else at + frame.samples
        if take > skip:
            self._feed(_cut(frame, skip, take), at + skip)

    def _length(self) -> int | None:
        """Samples of the source's rate in the whole range."""
        return None if self.end is None else round((self.end - self._start) * self._rate)

    def _silence(self, at: int, until: int, like: AudioFrame) -> None:
        if self._out_next is None:
            # The track begins late; its time says so.
            return
        length = self._length()
        if length is not None:
            until = min(until, length)
        while at < until:
            count = min(until - at, self._rate * _SILENCE)
            array = like.to_ndarray()
            channels = like.layout.nb_channels
            shape = (channels, count) if like.format.is_planar else (1, count * channels)
            fill = 128 if array.dtype == np.uint8 else 0
            silent = AudioFrame.from_ndarray(
                np.full(shape, fill, dtype=array.dtype),
                format=like.format.name,
                layout=like.layout.name,
            )
            self._feed(silent, at)
            at += count

    def _feed(self, frame: AudioFrame, at: int) -> None:
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = at
        if self._out_next is None:
            self._out_next = round(Fraction(at, self._rate) * self._out_rate)
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:
            # The source changed its sample format or layout midway.
            flushed = self._resampler.resample(None)
            context = self._stream.codec_context
            self._resampler = AudioResampler(
                format=context.format.name, layout=context.layout.name, rate=self._out_rate
            )
            resampled = [*flushed, *self._resampler.resample(frame)]
        for piece in resampled:
            self._encode(piece)

    def _encode(self, frame: AudioFrame) -> None:
        assert self._out_next is not None
        frame.time_base = Fraction(1, self._out_rate)
        frame.pts = self._out_next
        self._out_next += frame.samples
        with writing():
            packets = self._stream.codec_context.encode(frame)
        self._mux(packets)

    def _mux(self, packets: list[Packet[Stream]]) -> None:
        for packet in packets:
            packet.stream = self._stream
            self._output.mux(packet)


def _cut(frame: AudioFrame, first: int, last: int) -> AudioFrame:
    """The samples from `first` to before `last`."""
    if first == 0 and last == frame.samples:
        return frame
    array, channels = frame.to_ndarray(), frame.layout.nb_channels
    if frame.format.is_planar:
        array = array[:, first:last]
    else:
        array = array[:, first * channels : last * channels]
    return AudioFrame.from_ndarray(array.copy(), format=frame.format.name, layout=frame.layout.name)


def _nearest_rate(codec: AudioCodec, rate: int) -> int:
    rates = SAMPLE_RATES[codec]
    return next((known for known in sorted(rates) if known >= rate), rates[-1])


def _layout(channels: int) -> str:
    fitting = max((count for count in LAYOUTS if count <= max(channels, 1)), default=2)
    return LAYOUTS[fitting]


def _default_bit_rate(codec: AudioCodec, channels: int) -> int:
    each = 64_000 if codec is AudioCodec.AAC else 48_000
    return each * min(max(channels, 1), 8)
