"""The file that is written: opening, muxing, closing, and what can go wrong there."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import MUXERS, Container

if TYPE_CHECKING:
    from av.container.core import Chapter

#: What the containers that FFmpeg writes keep of a source's own tags.
_KEPT_TAGS = ("title", "artist", "comment", "date", "description", "copyright")

#: Units a second of an MP4's overall clock. The default of 1000 rounds edit lists to
#: milliseconds; this one divides by every usual frame rate.
MOVIE_TIMESCALE = 240_000

#: Seconds at which an MPEG-TS begins.
_TS_OFFSET = 1


@contextmanager
def writing() -> Iterator[None]:
    """Turn failures to write into `MediaError`: ``DISK_FULL`` or ``CONTAINER_REFUSED``."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MediaError(
                "DISK_FULL",
                "The server's working folder is full: the segment could not be written.",
            ) from error
        if error.errno == errno.EFBIG:
            most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
            raise MediaError(
                "OUTPUT_TOO_LARGE",
                f"The segment would be larger than the {most:,} bytes that this server takes for "
                "one file. Ask for shorter segments, or a lower bit rate.",
                metadata={"limit": str(most)},
            ) from error
        raise MediaError(
            "CONTAINER_REFUSED",
            "The segment could not be written: the encoder or the container refused it.",
            metadata={"detail": str(error.strerror or "unknown")},
        ) from error


class Output:
    """One output file. Streams are added first; the first packet writes the header."""

    def __init__(self, path: Path, container: Container) -> None:
        self.container = container
        self._path = path
        self._closers: list[Callable[[Path], None]] = []
        options: dict[str, str] = {}
        if self.is_iso:
            options = {"movflags": "+faststart", "movie_timescale": str(MOVIE_TIMESCALE)}
        elif container in (Container.MKV, Container.WEBM):
            # Half an audio packet may begin before the first frame; the video must not move.
            options = {"avoid_negative_ts": "disabled"}
        elif container is Container.TS:
            # Its clock has no numbers below zero, and decoding begins before showing does.
            options = {"output_ts_offset": str(_TS_OFFSET)}
        with writing():
            self.file: OutputContainer = av.open(
                str(path), "w", format=MUXERS[container], container_options=options
            )

    @property
    def stores_matrix(self) -> bool:
        """Whether a display matrix survives in this container."""
        return self.container is not Container.TS

    @property
    def is_iso(self) -> bool:
        """Whether this is a file of the MP4 family."""
        return self.container in (Container.MP4, Container.MOV)

    @property
    def hides_preroll(self) -> bool:
        """Whether what lies before time 0 is hidden by an edit list."""
        return self.is_iso

    @property
    def tick(self) -> Fraction:
        """Seconds by which the container may miss a time of sound."""
        if self.is_iso:
            return Fraction(0)
        return Fraction(1, 90_000 if self.container is Container.TS else 1000)

    def describe(self, source: InputContainer, start: Fraction, end: Fraction | None) -> None:
        """Carry over the source's tags, and its chapters that overlap `start` to `end`, which
        are seconds on the source's own clock."""
        for tag in _KEPT_TAGS:
            if value := source.metadata.get(tag):
                self.file.metadata[tag] = value
        if self.container is Container.TS:
            return
        chapters: list[Chapter] = []
        for chapter in source.chapters():
            base = Fraction(chapter["time_base"] or 1)
            first = max(chapter["start"] * base, start)
            last = chapter["end"] * base if end is None else min(chapter["end"] * base, end)
            if first >= last:
                continue
            chapters.append(
                {
                    **chapter,
                    "id": len(chapters) + 1,
                    "start": round((first - start) * 1000),
                    "end": round((last - start) * 1000),
                    "time_base": Fraction(1, 1000),
                }
            )
        if chapters:
            self.file.set_chapters(chapters)

    def begin(self) -> None:
        """Open the encoders and write the header."""
        with writing():
            self.file.start_encoding()

    def mux(self, packet: Packet[Stream]) -> None:
        with writing():
            self.file.mux_one(packet)

    def when_closed(self, closer: Callable[[Path], None]) -> None:
        """Let `closer` have the finished file, for what FFmpeg's muxer cannot write itself."""
        self._closers.append(closer)

    def abandon(self) -> None:
        """Let go of the file as it is; nothing happens where it was closed."""
        self._closers = []
        with suppress(MediaError), writing():
            self.file.close()

    def close(self) -> None:
        with writing():
            self.file.close()
        closers, self._closers = self._closers, []
        for closer in closers:
            closer(self._path)


def inherit(stream: Stream, source: Stream) -> None:
    """Carry over a stream's language, title and disposition."""
    for tag in ("language", "title"):
        if value := source.metadata.get(tag):
            stream.metadata[tag] = value
    stream.disposition = source.disposition
