"""A real film as a source whose frames can be told apart, and cuts of it held against it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.cutting.units import Slices, slices_of, split_units

_THUMB = (64, 36)
_SAME = 0.5
"""Mean error in 8-bit steps within which two frames look the same: a still scene's do."""
_OTHER = 6.0
"""A frame that is further from every frame of the source than this is corrupt."""
_AROUND = 200
"""Frames before and behind a range among which a file's frames are looked for."""


@dataclass(slots=True)
class Exactness:
    """What is wrong with the frames of some files, and how many are not the source's bytes."""

    missing: int = 0
    doubled: int = 0
    extra: int = 0
    corrupt: int = 0
    encoded: int = 0

    def __iadd__(self, other: Exactness) -> Exactness:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


@dataclass(frozen=True, slots=True)
class LongFilm:
    """A film repeated by stream copy, and what its frames look like."""

    path: Path
    times: list[Fraction]
    """Seconds from the first frame, in order."""
    keys: list[int]
    """The places of the key frames in that order."""
    thumbs: NDArray[np.uint8]
    """Of one repetition: frame n looks like ``thumbs[n % len(thumbs)]``."""
    payloads: frozenset[bytes]

    def ranges(self, count: int, frames: int) -> list[tuple[int, int]]:
        """Ranges spread over the film, each beginning 24 frames behind a key frame."""
        last = len(self.times) - frames - 25
        steps = [last * (2 * index + 1) // (2 * count) for index in range(count)]
        starts = [max(key for key in self.keys if key <= step) + 24 for step in steps]
        return [(start, start + frames) for start in starts]

    def judge(self, path: Path, spans: list[tuple[int, int]]) -> Exactness:
        """Hold a file that should present these ranges, one after the other, against the film."""
        near = [
            frame
            for first, last in spans
            for frame in range(max(0, first - _AROUND), min(len(self.times), last + _AROUND))
        ]
        places = np.unique(np.array(near))
        looks = self.thumbs[places % len(self.thumbs)].astype(np.int16)
        wanted = [frame for first, last in spans for frame in range(first, last)]
        found = Exactness(encoded=self._encoded(path))
        seen: list[int] = []
        following = wanted[0]
        for thumb in _thumbs(path):
            errors = np.abs(looks - thumb.astype(np.int16)).mean(axis=(1, 2))
            best = float(errors.min())
            if best > _OTHER:
                found.corrupt += 1
                continue
            # Where many frames look the same, the one that is due is meant.
            at = int(np.searchsorted(places, following))
            due = at < len(places) and places[at] == following and errors[at] <= best + _SAME
            place = following if due else int(places[int(errors.argmin())])
            seen.append(place)
            following = self._after(place, spans)
        found.missing = len(set(wanted) - set(seen))
        found.extra = len(set(seen) - set(wanted))
        found.doubled = len(seen) - len(set(seen))
        return found

    def _after(self, place: int, spans: list[tuple[int, int]]) -> int:
        """The frame that is due after another: at a range's end the next range's first."""
        for index, (_, last) in enumerate(spans[:-1]):
            if place == last - 1:
                return spans[index + 1][0]
        return place + 1

    def _encoded(self, path: Path) -> int:
        return sum(_payload(slices) not in self.payloads for slices in _slices(path))


def prepare(source: Path, folder: Path, seconds: int) -> LongFilm:
    """Repeat a film by stream copy to this length, and look at all its frames once."""
    path = folder / "film.mp4"
    names = folder / "names"
    names.write_text(f"file '{source}'\n" * 100)
    command = ["ffmpeg", "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", str(names)]
    command += ["-t", str(seconds), "-c", "copy", "-movflags", "+faststart", str(path)]
    subprocess.run(command, check=True)
    stamps: list[tuple[Fraction, bool]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base or 0)
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard and packet.pts is not None:
                stamps.append((packet.pts * base, packet.is_keyframe))
    stamps.sort()
    zero = stamps[0][0]
    limit = min(len(stamps), 10**9)
    return LongFilm(
        path=path,
        times=[time - zero for time, _ in stamps],
        keys=[at for at, (_, is_key) in enumerate(stamps) if is_key],
        thumbs=np.stack([thumb for _, thumb in zip(range(limit), _thumbs(source), strict=False)]),
        payloads=frozenset(_payload(slices) for slices in _slices(source)),
    )


def _thumbs(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Each presented frame, gray, 64 by 36."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        width, height = _THUMB
        for frame in container.decode(stream):
            yield frame.reformat(width, height, "gray", interpolation="AREA").to_ndarray()


def _slices(path: Path) -> Iterator[Slices]:
    """The slices of each packet; the film is H.264."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        record = bytes(stream.codec_context.extradata or b"")
        length = (record[4] & 3) + 1 if record[:1] == b"\x01" else 0
        for packet in container.demux(stream):
            if packet.size:
                yield slices_of("h264", split_units(bytes(packet), length))


def _payload(slices: Slices) -> bytes:
    """The end of a picture's last slice, which no edit of a header reaches."""
    return slices[-1][-200:][24:] if slices else b""
