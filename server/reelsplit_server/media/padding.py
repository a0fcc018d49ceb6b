"""Sound that Matroska and WebM do not let be heard: a track's "codec delay".

FFmpeg's muxer takes it from the stream that a track is copied from, and PyAV cannot set it there.
So a track is copied from the header of an empty file that says what is wanted. How long the delay
really is turns out with the first packet: until then a mark stands for it in the header.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.audio.stream import AudioStream

from reelsplit_server.media.adts import config_of
from reelsplit_server.media.ebml import OddLayout, element_of, elements, unsigned, vint
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
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
_MARK_NS = round(MARK * 10**9)
_EBML, _SEGMENT, _INFO = 0x1A45DFA3, 0x18538067, 0x1549A966
_TRACKS, _CLUSTER = 0x1654AE6B, 0x1F43B675
_ENTRY, _DELAY, _PRIVATE, _CRC = 0xAE, 0x56AA, 0x63A2, 0xBF
_OPUS_HEAD = b"OpusHead"
#: Elements looked at before the tracks, and bytes of the tracks, at most.
_MOST_ELEMENTS, _MOST_BYTES = 64, 1 << 24


class Padding:
    """A copied track's delay; what it is when the file is closed counts."""

    def __init__(self, rate: int) -> None:
        self.samples = 0
        """Of what the file holds, this is left out at the beginning; at most `MARK` seconds."""
        self._rate = rate

    @property
    def nanoseconds(self) -> int:
        return round(Fraction(self.samples * 10**9, self._rate))

    @property
    def opus_samples(self) -> int:
        """What Opus counts in, whatever the rate of the track."""
        return round(Fraction(self.samples * 48_000, self._rate))


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
        """Put the true delays in place of the marks, which stand in the order of the tracks."""
        with writing(), path.open("r+b") as file:
            try:
                start, content = _tracks(file)
                _replace(content, self._paddings)
            except OddLayout as error:
                raise MediaError(
                    "CONTAINER_REFUSED",
                    "The start of the sound could not be hidden: "
                    "the header of the written file is not as expected.",
                ) from error
            file.seek(start)
            file.write(content)


def _private(source: AudioStream) -> bytes | None:
    """What the decoder has to know beforehand; None where that is not known."""
    context = source.codec_context
    codec, extradata = context.codec.canonical_name, context.extradata or b""
    if codec == "aac" and not extradata:
        return config_of(source)
    if codec == "opus" and (not extradata.startswith(_OPUS_HEAD) or len(extradata) < 19):
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
        + _number(_DELAY, _MARK_NS)
        + (element_of(_PRIVATE, private) if private else b"")
        + sound
    )
    return element_of(_EBML, element_of(0x4282, b"matroska")) + element_of(
        _SEGMENT,
        element_of(_INFO, _number(0x2AD7B1, 10**6))
        + element_of(_TRACKS, element_of(_ENTRY, track))
        + element_of(_CLUSTER, _number(0xE7, 0)),
    )


def _number(element: int, number: int) -> bytes:
    return element_of(element, number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big"))


def _tracks(file: BinaryIO) -> tuple[int, bytearray]:
    """Position and content of the element that describes the tracks."""
    at = 0
    for _ in range(_MOST_ELEMENTS):
        file.seek(at)
        head = file.read(12)
        element, width = vint(head, 0, keep=True)
        size, more = vint(head, width)
        at += width + more
        if element == _TRACKS and size <= _MOST_BYTES:
            file.seek(at)
            return at, bytearray(file.read(size))
        if element != _SEGMENT:
            at += size
    raise OddLayout


def _replace(content: bytearray, paddings: list[Padding]) -> None:
    marked = list(_marked(bytes(content)))
    if len(marked) != len(paddings):
        raise OddLayout
    for (delay, skip), padding in zip(marked, paddings, strict=True):
        content[delay : delay + 4] = padding.nanoseconds.to_bytes(4, "big")
        if skip is not None:
            # Decoders of Opus refuse a file that says it in two ways.
            content[skip : skip + 2] = padding.opus_samples.to_bytes(2, "little")
    for element, start, end in elements(bytes(content)):
        if element == _CRC and end - start == 4:
            content[start:end] = zlib.crc32(content[end:]).to_bytes(4, "little")
        break


def _marked(content: bytes) -> Iterator[tuple[int, int | None]]:
    """For each marked track, where its delay stands and where Opus' own "pre-skip" does."""
    for entry, start, end in elements(content):
        if entry != _ENTRY:
            continue
        delay: int | None = None
        skip: int | None = None
        for element, low, high in elements(content[start:end]):
            value = content[start + low : start + high]
            if element == _DELAY and len(value) == 4 and unsigned(value) == _MARK_NS:
                delay = start + low
            elif element == _PRIVATE and value.startswith(_OPUS_HEAD) and len(value) >= 12:
                skip = start + low + 10
        if delay is not None:
            yield delay, skip
