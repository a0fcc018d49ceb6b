"""Audio decoded, cut on the sample at both ends, and encoded anew."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.formats import ENCODERS, LAYOUTS, SAMPLE_RATES, AudioCodec, Container
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.plan import AudioSettings

#: Seconds by which a frame's time may miss the end of the one before it and still follow it.
_JITTER = Fraction(3, 100)
_OPUS_RATE = 48_000
#: Seconds of silence made at a time.
_SILENCE = 1
#: Seconds of a hole that are filled with silence, at most: a file can claim holes of years.
_LONGEST_SILENCE = 600
#: Seconds from time 0 beyond which a frame's time is a lie.
_FARTHEST = 10**9
#: The formats that encoders without loss take, by what a decoder gives.
_EXACT_FORMATS = {
    "flac": {"s16": "s16", "s16p": "s16", "s32": "s32", "s32p": "s32"},
    "alac": {"s16": "s16p", "s16p": "s16p", "s32": "s32p", "s32p": "s32p"},
}
#: The most bits of a sample that they keep.
_MOST_BITS = 24


def keeps_all(source: AudioStream) -> bool:
    """Whether the stream can be encoded anew without any loss."""
    context = source.codec_context
    codec = context.codec.canonical_name
    if codec not in _EXACT_FORMATS or context.format is None:
        return False
    return (
        context.format.name in _EXACT_FORMATS[codec]
        and context.layout.name in LAYOUTS.values()
        and 0 < _bits(codec, context.extradata or b"") <= _MOST_BITS
    )


class EncodedAudio:
    """Sound from the first sample of the range to its last; silence in holes.

    Where the range begins and ends is looked up in the decoded frame there, by its own time, so
    that neighbouring segments have every sample once.
    """

    def __init__(
        self,
        output: Output,
        source: AudioStream,
        codec: AudioCodec | None,
        asked: AudioSettings,
        start: Fraction,
        end: Fraction | None,
        damage: Damage,
    ) -> None:
        """`start` and `end`: seconds on the source's own clock. Without a `codec` the source's
        own one is used, which must be one that `keeps_all`, and nothing is lost."""
        self.done = False
        self.end = end
        self._output, self._source, self._damage = output, source, damage
        self._start = start
        context = source.codec_context
        self._base = Fraction(source.time_base or Fraction(1, context.sample_rate))
        if codec is None:
            self._stream = _exact_stream(output, source)
        else:
            self._stream = _stream(output, source, codec, asked)
        inherit(self._stream, source)
        with writing():
            self._stream.codec_context.open()
        self._out_rate = self._stream.codec_context.sample_rate
        self._resampler = self._new_resampler()
        self._rate = 0
        """Samples a second of the decoded frames; 0 before the first."""
        self._next = 0
        """Where the next frame is expected, in those samples from time 0."""
        self._out_first: int | None = None
        self._out_next = 0

    def take(self, packet: Packet[Stream]) -> None:
        if self.done:
            return
        try:
            frames = self._source.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            # A seek may have led into the middle of one.
            if not self._is_over(packet):
                self._damage.note(f"an audio packet cannot be decoded ({error.strerror})")
            return
        for frame in frames:
            self._place(frame)

    def _is_over(self, packet: Packet[Stream]) -> bool:
        """Whether nothing of a packet is heard, nor of the next, whose decoding may need it."""
        if packet.pts is None or not packet.duration:
            return False
        return (packet.pts + 2 * packet.duration) * self._base <= self._start

    def finish(self) -> None:
        if not self.done:
            try:
                for frame in self._source.codec_context.decode(None):
                    self._place(frame)
            except av.error.FFmpegError as error:
                self._damage.note(f"the last audio cannot be decoded ({error.strerror})")
        self.done = True
        if self._out_first is not None:
            self._encode(self._resampler.resample(None))
        with writing():
            packets = self._stream.codec_context.encode(None)
        self._mux(packets)

    @property
    def placed(self) -> AudioPlaced:
        """Where the sound lies; call it after `finish`."""
        context = self._stream.codec_context
        packet = Fraction(context.frame_size or 1024, self._out_rate)
        delay = packet if _has_delay(context.name) else Fraction(0)
        first = Fraction(self._out_first or 0, self._out_rate)
        # What an encoder puts before the first sample: MKV says that it is not to be heard, MP4
        # hides what lies before time 0, and MPEG-TS nothing.
        hidden = delay
        if self._output.is_iso:
            hidden = min(delay, max(delay - first, Fraction(0)))
        elif self._output.container is Container.TS:
            hidden = Fraction(0)
        return AudioPlaced(
            index=self._stream.index,
            codec=context.codec.canonical_name,
            first=first - delay + hidden,
            last=Fraction(self._out_next, self._out_rate),
            tolerance=self._output.tick + self._base + Fraction(1, self._out_rate),
            overrun=packet if delay else Fraction(0),
            preroll=hidden,
            empty=self._out_first is None,
        )

    def _new_resampler(self) -> AudioResampler:
        context = self._stream.codec_context
        return AudioResampler(
            format=context.format.name, layout=context.layout.name, rate=self._out_rate
        )

    def _place(self, frame: AudioFrame) -> None:
        """Put a decoded frame on the output's clock, cut off what lies outside the range, and
        fill a hole before it with silence."""
        if self.done or not frame.samples or frame.sample_rate <= 0:
            return
        if self._rate not in (0, frame.sample_rate):
            self._next = round(Fraction(self._next * frame.sample_rate, self._rate))
            self._renew()
        first = self._rate == 0
        rate = self._rate = frame.sample_rate
        if frame.pts is not None:
            time = frame.pts * Fraction(frame.time_base or self._base)
            if abs(time - self._start) >= _FARTHEST:
                return
        else:
            time = self._start + Fraction(self._next, rate)
        skip = max(0, round((self._start - time) * rate))
        take = frame.samples
        if self.end is not None:
            take = min(take, round((self.end - time) * rate))
            self.done = take < frame.samples
        at = round((time - self._start) * rate)
        if not first and abs(at - self._next) <= _JITTER * rate:
            at = self._next
        if self._out_first is not None:
            if at > self._next:
                self._silence(at, frame)
            # What the source repeats is left out.
            skip = max(skip, self._next - at)
        self._next = max(self._next, at + frame.samples) if not first else at + frame.samples
        if take > skip:
            self._feed(_cut(frame, skip, take), max(at + skip, 0))

    def _silence(self, until: int, like: AudioFrame) -> None:
        """Silence from where the sound ends to before sample `until`, or to the range's end."""
        at = self._next
        if self.end is not None:
            until = min(until, round((self.end - self._start) * self._rate))
        if until - at > _LONGEST_SILENCE * self._rate:
            self._damage.note("a hole in the sound is too long to be true")
            until = at + _LONGEST_SILENCE * self._rate
        array, channels = like.to_ndarray(), like.layout.nb_channels
        while at < until:
            count = min(until - at, self._rate * _SILENCE)
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
        if self._out_first is None:
            self._out_first = self._out_next = round(Fraction(at * self._out_rate, self._rate))
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:
            # The source changed its sample format or layout midway.
            self._renew()
            resampled = self._resampler.resample(frame)
        self._encode(resampled)

    def _renew(self) -> None:
        """Begin anew for frames of another kind."""
        if self._out_first is not None:
            self._encode(self._resampler.resample(None))
        self._resampler = self._new_resampler()

    def _encode(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
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


def _stream(
    output: Output, source: AudioStream, codec: AudioCodec, asked: AudioSettings
) -> AudioStream:
    """A new track, not yet open, of `codec`, with what was asked for."""
    context = source.codec_context
    rate = asked.sample_rate or _nearest_rate(codec, context.sample_rate)
    options: dict[str, str] = {}
    if codec is AudioCodec.OPUS:
        # Opus is played at 48 kHz whatever went in; a lower rate is a lower bandwidth.
        options = {"cutoff": str(rate // 2)} if rate < _OPUS_RATE else {}
        rate = _OPUS_RATE
    channels = asked.channels or context.channels
    with writing():
        stream = cast(
            AudioStream,
            output.file.add_stream(
                ENCODERS[codec], rate=rate, options=options, layout=_layout(channels)
            ),
        )
    stream.codec_context.bit_rate = asked.bit_rate or _default_bit_rate(codec, channels)
    stream.codec_context.time_base = stream.time_base = Fraction(1, rate)
    return stream


def _exact_stream(output: Output, source: AudioStream) -> AudioStream:
    """A new track, not yet open, that loses nothing of `source`."""
    context = source.codec_context
    codec, rate = context.codec.canonical_name, context.sample_rate
    with writing():
        stream = cast(
            AudioStream, output.file.add_stream(codec, rate=rate, layout=context.layout.name)
        )
    stream.codec_context.format = _EXACT_FORMATS[codec][context.format.name]
    stream.codec_context.time_base = stream.time_base = Fraction(1, rate)
    return stream


def _bits(codec: str, extradata: bytes) -> int:
    """Bits of a sample, by the codec's own header; 0 where it has none."""
    if codec == "flac" and len(extradata) >= 34:
        return ((extradata[12] & 1) << 4 | extradata[13] >> 4) + 1
    if codec == "alac" and len(extradata) >= 36:
        return extradata[17]
    return 0


def _has_delay(encoder: str) -> bool:
    return encoder not in _EXACT_FORMATS


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
