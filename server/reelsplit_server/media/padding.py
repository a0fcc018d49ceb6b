"""Sound that Matroska and WebM do not let be heard: a track's "codec delay".

FFmpeg's muxer takes it from the stream that a track is copied from, and PyAV cannot set it there.
So a track is copied from the header of an empty file that says what is wanted. How long the delay
really is turns out with the first packet: until then a mark stands for it in the header.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream

from reelsplit_server.media.adts import config_of
from reelsplit_server.media.ebml import element_of
from reelsplit_server.media.formats import Container
from reelsplit_server.media.matroska_header import (
    CLUSTER,
    DELAY,
    ENTRY,
    INFO,
    OPUS_HEAD,
    PRIVATE,
    SEGMENT,
    TRACKS,
    Delay,
    set_delays,
)
from reelsplit_server.media.output import Output, writing

#: Seconds: the mark. Four bytes wide in nanoseconds, and a whole number of ticks of a millisecond
#: and of samples at every rate. Delays may be that long.
MARK = Fraction(1, 5)

_CODECS = {
    "aac": b"A_AAC",
    "ac3": b"A_AC3",
    "dts": b"A_DTS",
    "eac3": b"A_EAC3",
    "mp2": b"A_MPEG/L2",
    "mp3": b"A_MPEG/L3",
    "opus": b"A_OPUS",
    "vorbis": b"A_VORBIS",
}


class Padding:
    """A copied track's delay; what it is when the file is closed counts."""

    def __init__(self, rate: int) -> None:
        self.samples = 0
        """Of what the file holds, this is left out at the beginning; at most `MARK` seconds."""
        self.end = 0
        """Samples from time 0 to where the sound ends."""
        self._rate = rate

    @property
    def delay(self) -> Delay:
        return Delay(delay=Fraction(self.samples, self._rate), end=Fraction(self.end, self._rate))


class PaddedTracks:
    """The copied tracks of an output that have a delay."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._paddings: list[Padding] = []

    def add(self, source: AudioStream) -> tuple[AudioStream, Padding] | None:
        """A track of the output for copies of `source`'s packets, and its delay, 0 at first. The
        muxer adds `MARK` to the packets' times; packets of AAC must have no header of their own
        (`adts.without_header`). None where that is not possible."""
        if self._output.container not in (Container.MKV, Container.WEBM):
            return None
        context = source.codec_context
        codec = _CODECS.get(context.codec.canonical_name)
        private, rate = _private(source), context.sample_rate
        if codec is None or private is None or (MARK * rate).denominator != 1:
            return None
        try:
            template = av.open(BytesIO(_header(codec, private, rate, context.channels)))
        except av.error.FFmpegError:
            return None
        with template, writing():
            stream = self._output.file.add_stream_from_template(template.streams.audio[0])
        if not self._paddings:
            self._output.when_closed(self._fill_in)
        padding = Padding(rate)
        self._paddings.append(padding)
        return stream, padding

    def _fill_in(self, path: Path) -> None:
        set_delays(path, MARK, [padding.delay for padding in self._paddings])


def _private(source: AudioStream) -> bytes | None:
    """What the decoder has to know beforehand; None where that is not known."""
    context = source.codec_context
    codec, extradata = context.codec.canonical_name, context.extradata or b""
    if codec == "aac" and not extradata:
        return config_of(source)
    if codec == "opus" and (not extradata.startswith(OPUS_HEAD) or len(extradata) < 19):
        return None
    if codec == "vorbis" and not extradata:
        return None
    return extradata


def _header(codec: bytes, private: bytes, rate: int, channels: int) -> bytes:
    """An empty Matroska file with one track."""
    sound = element_of(0xE1, element_of(0xB5, struct.pack(">d", rate)) + _number(0x9F, channels))
    track = (
        _number(0xD7, 1)
        + _number(0x73C5, 1)
        + _number(0x83, 2)
        + element_of(0x86, codec)
        + _number(DELAY, round(MARK * 10**9))
        + (element_of(PRIVATE, private) if private else b"")
        + sound
    )
    return element_of(0x1A45DFA3, element_of(0x4282, b"matroska")) + element_of(
        SEGMENT,
        element_of(INFO, _number(0x2AD7B1, 10**6))
        + element_of(TRACKS, element_of(ENTRY, track))
        + element_of(CLUSTER, _number(0xE7, 0)),
    )


def _number(element: int, number: int) -> bytes:
    return element_of(element, number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big"))
