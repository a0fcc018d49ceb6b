"""One cut against its source: every frame, every time, every sample, and what the header says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import av
import numpy as np

from tests.cutting.boxes import edited_sound, sync_table
from tests.cutting.film import Film, Shape, luma, read_film
from tests.cutting.pattern import number_of
from tests.cutting.ranges import fewest
from tests.cutting.units import Kind, same_payload

_WORST_BLOCK = 40.0
"""Mean error in 8-bit steps, over a block of 16 by 16, that no encoder made here comes near; a
wrong reference moves the clouds and exceeds it."""
_PACKET = 1536
"""Samples of the longest audio packet that the matrix uses, AC-3's."""
_TICK = {"mkv": Fraction(1, 1000), "ts": Fraction(1, 90_000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the cutter says it did."""

    copied: int
    encoded: int
    reason: str | None = None
    encodes: bool = True
    """Whether it may encode; then as few frames as the bitstream allows are expected."""


@dataclass(slots=True, kw_only=True)
class Finding:
    """What is wrong with one cut; nothing where `problems` is empty."""

    expected: int
    missing: int = 0
    doubled: int = 0
    extra: int = 0
    corrupt: int = 0
    identical: int = 0
    """Frames whose pixels are the source's own."""
    carried: int = 0
    """Frames whose slice data are the source's own bytes."""
    copied: int = 0
    encoded: int = 0
    fewest: int = 0
    """How many had to be encoded."""
    whole: int = 0
    """1 where the whole segment was encoded though part of it could be copied."""
    audio_start: float | None = None
    """Samples that the sound begins too late (+) or too early (-)."""
    audio_end: float | None = None
    """Samples too many (+) or missing (-) at the end."""
    audio_sync: float = 0.0
    """Seconds by which the sound is off the picture, at most."""
    problems: list[str] = field(default_factory=list)

    @property
    def wrong_frames(self) -> int:
        return self.missing + self.doubled + self.extra + self.corrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How decoded frames compare with those that were wanted."""

    missing: int
    doubled: int
    extra: int
    corrupt: int
    identical: int
    in_order: bool

    @property
    def is_clean(self) -> bool:
        return self.in_order and not (self.missing or self.doubled or self.extra or self.corrupt)

    def __str__(self) -> str:
        order = "" if self.in_order else ", out of order"
        return (
            f"{self.missing} missing, {self.doubled} doubled, {self.extra} extra, "
            f"{self.corrupt} corrupt{order}"
        )


def compare(frames: Sequence[bytes], shape: Shape, source: Film, first: int, last: int) -> Counts:
    """Hold decoded pictures against frames `first` to `last` of the source's own decode."""
    numbers: list[int] = []
    corrupt = identical = 0
    same = shape == source.shape
    for planes in frames:
        number = number_of(luma(planes, shape))
        if number is None or number >= len(source.frames):
            corrupt += 1
            continue
        numbers.append(number)
        if same and planes == source.frames[number]:
            identical += 1
        elif worst_block(planes, shape, source.frames[number], source.shape) > _WORST_BLOCK:
            corrupt += 1
    seen = Counter(numbers)
    return Counts(
        missing=sum(number not in seen for number in range(first, last)),
        doubled=sum(count - 1 for count in seen.values()),
        extra=sum(not first <= number < last for number in seen),
        corrupt=corrupt,
        identical=identical,
        in_order=numbers == sorted(numbers),
    )


def worst_block(one: bytes, shape: Shape, other: bytes, other_shape: Shape) -> float:
    """The greatest mean error of a block of 16 by 16 pixels of luma, in 8-bit steps."""
    a, b = luma(one, shape), luma(other, other_shape)
    if a.shape != b.shape:
        return 255.0
    error = np.abs(a.astype(np.int16) - b.astype(np.int16))
    high, wide = error.shape[0] // 16, error.shape[1] // 16
    blocks = error[: high * 16, : wide * 16].reshape(high, 16, wide, 16)
    return float(blocks.mean(axis=(1, 3)).max())


def check(
    source: Film,
    path: Path,
    first: int,
    last: int,
    *,
    rate: Fraction | None = None,
    told: Told | None = None,
    second: bool = False,
    payloads: bool = True,
    hides: bool = False,
) -> Finding:
    """Check the cut at `path`, whose ending says its container, of frames `first` to `last`.

    `rate` is the source's where it is constant. `second` decodes with the `ffmpeg` command too.
    `payloads` is off where an edited header shifts the slice data by bits, as CAVLC may. `hides`
    allows for frames beside those that are presented, hidden by an edit list.
    """
    finding = Finding(expected=last - first, fewest=fewest(source, first, last))
    try:
        film = read_film(path)
    except ValueError as error:
        finding.missing = last - first
        finding.problems.append(str(error))
        return finding
    counts = compare(film.frames, film.shape, source, first, last)
    finding.missing, finding.doubled = counts.missing, counts.doubled
    finding.extra, finding.corrupt = counts.extra, counts.corrupt
    finding.identical = counts.identical
    found = finding.problems
    if not counts.is_clean:
        found.append(f"frames: {counts}")
    if film.errors and not source.errors:
        found.append(f"decoder: {film.errors[:3]}")
    if told is not None and (film.codec, film.shape) != (source.codec, source.shape):
        found.append(f"{film.codec} {film.shape}, not {source.codec} {source.shape}")
    finding.carried = _carried(source, film, first) if counts.is_clean else 0
    if told is not None:
        _check_told(finding, told, payloads)
    if counts.is_clean:
        container = path.suffix[1:]
        _check_times(found, source, film, first, last, container, rate)
        _check_packets(found, film, container)
        _check_header(found, source, film, first, last, container, rate, hides=hides)
        _check_sound(finding, source, film, first, last, container, is_constant=rate is not None)
    if second:
        _check_second(finding, source, film, first, last, counts)
    return finding


def _carried(source: Film, film: Film, first: int) -> int:
    """Frames whose slices are the source's, byte for byte behind their headers."""
    own = dict(zip(source.order, source.packets, strict=True))
    return sum(
        same_payload(own[first + rank].slices, packet.slices)
        for rank, packet in zip(film.order, film.packets, strict=True)
        if rank >= 0 and first + rank in own
    )


def _check_told(finding: Finding, told: Told, payloads: bool) -> None:
    found = finding.problems
    finding.copied, finding.encoded = told.copied, told.encoded
    if told.copied + told.encoded != finding.expected:
        found.append(f"told: {told.copied} copied and {told.encoded} encoded")
    if finding.identical < told.copied:
        found.append(f"{told.copied} copied, but only {finding.identical} look as in the source")
    if payloads and finding.carried < told.copied:
        found.append(f"{told.copied} copied, but {finding.carried} have the source's slice data")
    if not told.encodes and told.encoded:
        found.append(f"{told.encoded} encoded, though none may be: {told.reason}")
    elif told.encoded > finding.fewest:
        if not told.copied:
            finding.whole = 1
        found.append(f"{told.encoded} encoded, {finding.fewest} would do: {told.reason}")


def _check_times(
    found: list[str],
    source: Film,
    film: Film,
    first: int,
    last: int,
    container: str,
    rate: Fraction | None,
) -> None:
    """First at 0; each frame after it as in the source, exactly where the container can say so."""
    start = film.times[0]
    if container != "ts" and start:
        found.append(f"the first frame is at {start}")
    tick = _TICK.get(container, film.time_base if rate is None else Fraction(0))
    if rate is None:
        tick = max(tick, source.time_base)
    for rank, time in enumerate(film.times):
        own = source.times[first + rank] - source.times[first]
        wanted = own if rate is None else rank / rate
        if abs(time - start - wanted) > tick:
            found.append(f"frame {rank} is at {time - start}, not {wanted}")
            break


def _check_packets(found: list[str], film: Film, container: str) -> None:
    packets = film.packets
    # Matroska stores no decode times: those are FFmpeg's own guess.
    if container != "mkv" and any(a.dts >= b.dts for a, b in pairwise(packets)):
        found.append("decode times do not rise")
    if container != "mkv" and any(packet.dts > packet.pts for packet in packets):
        found.append("a frame is shown before it is decoded")
    if not packets[0].is_key or packets[0].kind is not Kind.IDR:
        found.append("the first packet is no key frame")
    if container in ("mp4", "mov"):
        true = {at for at, packet in enumerate(packets, 1) if packet.kind is Kind.IDR}
        table = sync_table(film.path)
        listed = set(range(1, len(packets) + 1)) if table is None else table
        if listed != true:
            found.append(
                f"sync table: {len(listed - true)} of {len(listed)} are no IDR pictures, "
                f"{len(true - listed)} IDR pictures are not in it"
            )
    if container != "ts":
        inside = sum(packet.has_sets for packet in packets)
        if inside or not film.has_record:
            found.append(f"parameter sets in {inside} packets; record: {film.has_record}")


def _check_header(
    found: list[str],
    source: Film,
    film: Film,
    first: int,
    last: int,
    container: str,
    rate: Fraction | None,
    *,
    hides: bool,
) -> None:
    count = last - first
    if container in ("mp4", "mov"):
        tag = {"h264": "avc1", "hevc": "hvc1"}.get(film.codec, film.tag)
        if film.tag != tag:
            found.append(f"codec tag {film.tag}")
        if film.header_frames != count and not hides:
            found.append(f"the header says {film.header_frames} frames of {count}")
        said = film.header_duration or Fraction(0)
        wanted = said
        if rate is not None:
            wanted = count / rate
        elif last < len(source.times):
            wanted = source.times[last] - source.times[first]
        if abs(said - wanted) > max(film.time_base, Fraction(0) if rate else source.time_base):
            found.append(f"the header says {said} s, not {wanted}")
    # A transport stream has no header, FFmpeg guesses from the first seconds; Matroska's is in
    # nanoseconds. An edit list may hide a picture without the one before it.
    if rate is not None and container != "ts" and not hides:
        said = film.header_rate or Fraction(0)
        if abs(said / rate - 1) > (Fraction(1, 10**6) if container == "mkv" else 0):
            found.append(f"the header says {said} frames a second, not {rate}")


def _check_sound(
    finding: Finding,
    source: Film,
    film: Film,
    first: int,
    last: int,
    container: str,
    *,
    is_constant: bool,
) -> None:
    """Where the sound begins and ends, that it runs on, and that it keeps step with the picture."""
    own = source.heard
    if own is None:
        return
    heard = film.heard
    end = source.end if last == len(source.times) else source.times[last]
    shift = float(np.median(own.offsets))
    rate = own.rate
    wanted_first = max(own.first, ceil((float(source.times[first]) - shift) * rate - 0.01))
    wanted_last = min(own.last, ceil((float(end) - shift) * rate - 0.01))
    found = finding.problems
    if heard is None:
        if wanted_last - wanted_first > 2 * _PACKET:
            found.append("no sound that is known")
        return
    if heard.rate != rate:
        found.append(f"sound: {heard.rate} samples a second, not {rate}")
        return
    finding.audio_start = heard.first - wanted_first
    finding.audio_end = heard.last - wanted_last
    spread = float(own.offsets.max() - own.offsets.min())
    late = heard.offsets - float(film.times[0]) - (shift - float(source.times[first]))
    finding.audio_sync = float(np.abs(late).max())
    tick = float(source.time_base if source.path.suffix == ".mkv" else 0)
    # A sample, and what the source's own clock and the output's leave open.
    sync = 1.5 / rate + spread + tick / 2 + float(_TICK.get(container, Fraction(0)))
    if finding.audio_sync > sync:
        found.append(f"sound: {finding.audio_sync * rate:.0f} samples off the picture")
    open_start = 1.5 + (spread + tick) * rate if container in ("mp4", "mov") else _PACKET
    if abs(finding.audio_start) > open_start:
        found.append(f"sound: begins {finding.audio_start:.0f} samples late")
    # Decoders give the last packet of an MP4 as a whole; only the header ends it on the sample.
    least = -open_start if container in ("mp4", "mov") else -_PACKET
    is_end_known = is_constant or last < len(source.times)
    if is_end_known and not least <= finding.audio_end <= _PACKET:
        found.append(f"sound: {finding.audio_end:.0f} samples too many at the end")
    if heard.jumps or heard.lost > own.lost:
        found.append(f"sound: jumps by {heard.jumps[:4]}, {heard.lost} windows unknown")


def _check_second(
    finding: Finding, source: Film, film: Film, first: int, last: int, counts: Counts
) -> None:
    second = film.second
    other = compare(second.frames, film.shape, source, first, last)
    if not other.is_clean:
        finding.problems.append(f"frames in ffmpeg: {other}")
        if counts.is_clean:
            finding.missing, finding.doubled = other.missing, other.doubled
            finding.extra, finding.corrupt = other.extra, other.corrupt
    if counts.is_clean and second.frames != film.frames:
        finding.problems.append("ffmpeg decodes other pixels than PyAV")
    new = second.kinds - source.second.kinds
    # A transport stream of one or two frames is too short for FFmpeg to find rate, duration or
    # even the format in it: that says nothing of the cut.
    if new and (film.path.suffix != ".ts" or len(film.frames) > 2):
        finding.problems.append(f"ffmpeg says: {sorted(new)[:3]}")


def check_tiles(source: Film, paths: Sequence[Path]) -> list[str]:
    """What is wrong with neighbouring cuts of a whole film, in order: every frame must come once,
    and every audio packet where the container cannot trim (MPEG-TS), every sample where it can."""
    films = [read_film(path) for path in paths]
    problems: list[str] = []
    numbers = [number for film in films for number in film.numbers]
    if numbers != list(range(len(source.frames))):
        problems.append(f"frames: {numbers}")
    if source.heard is None:
        return problems
    codec, packets = sound_packets(source.path)
    container = paths[0].suffix[1:]
    pieces = [sound_packets(path) for path in paths]
    if any(other != codec for other, _ in pieces):
        return problems
    heard = [film.heard for film in films]
    if container != "ts":
        # A sample, and what Matroska's clock of milliseconds leaves open in source and pieces.
        ticks = (source.path.suffix == ".mkv") + (container == "mkv")
        for path, one, other in zip(paths[:-1], heard[:-1], heard[1:], strict=True):
            if one is None or other is None:
                continue
            end = one.last
            if container in ("mp4", "mov"):
                end = one.first + round(edited_sound(path) * one.rate)
            if abs(other.first - end) > 1 + ticks * one.rate / 1000:
                problems.append(f"sound: {other.first - end} samples between {path.name} and next")
        return problems
    joined = [packet for _, piece in pieces for packet in piece]
    begins = [at for at in range(3) if packets[at : at + len(joined)] == joined]
    # What a source has of sound before its first frame and behind its last belongs to no range.
    if not begins or len(packets) - begins[0] - len(joined) > 3:
        problems.append(
            f"sound: {len(joined)} packets in pieces are not the source's {len(packets)}"
        )
    return problems


def sound_packets(path: Path) -> tuple[str, list[bytes]]:
    """The codec and the packets of the first audio track, those of AAC without ADTS headers."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        codec = stream.codec_context.codec.canonical_name
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    if codec == "aac":
        packets = [p[7:] if p[:1] == b"\xff" and p[1] & 0xF6 == 0xF0 else p for p in packets]
    return codec, packets
