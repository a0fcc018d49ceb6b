"""Checking a written segment before anyone may see it: is it what was meant to be written?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
from reelsplit_server.media.mp4_edit import lengths
from reelsplit_server.media.output import MOVIE_TIMESCALE
from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.trial import Trial, VerificationFailed, failed
from reelsplit_server.media.written import Written

__all__ = ["Expected", "VerificationFailed", "Verified", "verify"]

#: These keep times to the tick.
_EXACT = (Container.MP4, Container.MOV)
#: Seconds: of the clock in which an edit list says how long it is.
_MOVIE_TICK = Fraction(1, MOVIE_TIMESCALE)
#: Seconds by which a header may say more than the packets: encoders' delays are in it.
_SLACK = Fraction(1, 10)
#: The part of a rate by which the header may miss it: Matroska has whole nanoseconds a frame.
_RATE_ERROR = Fraction(1, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """What a segment's file has to show."""

    container: Container
    times: NDArray[np.int64]
    """When each frame is presented, in ticks of `time_base` after the first; strictly increasing,
    the first one 0. Shape (frames,)."""
    time_base: Fraction
    """Seconds in a tick of `times`."""
    end: Fraction
    """When the last frame ends, in seconds after the first begins."""
    frame_rate: Fraction | None
    """Frames a second where the rate is constant (the n-th frame, from 0, is then shown at n / rate
    to a tick of the container, and the header says so); None where it varies."""
    encoded_head: int = 0
    """How many frames at the beginning were encoded; all of them in a segment that was encoded as
    a whole (`encoded_tail` is then 0)."""
    encoded_tail: int = 0
    """How many frames at the end were encoded, by an encoder of their own, from a key frame on."""
    hides: bool = False
    """Whether more frames than `times` may lie in the file, hidden by an edit list."""
    rebuilt: bool = True
    """Whether sync samples and parameter sets follow our own rules in MP4, MOV and MKV: sets in
    the header only, and as key frames only IDR (in HEVC also BLA and CRA). False where packets
    were copied as they came."""
    audio: Sequence[AudioPlaced] = ()
    """The tracks that must be there, and where they sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found; all of it as expected."""

    frame_count: int
    """Frames presented."""
    decoded_frames: int
    """How many of them were decoded for this."""
    audio_offset: Fraction | None
    """Seconds by which the track that is furthest off sounds late (negative: early), at most its
    tolerance; None where there is no sound."""


def verify(path: Path, expected: Expected, *, threads: int = 1) -> Verified:
    """Open the file as a user would and hold it against `expected`; raises `VerificationFailed`.

    All packets are read once. Decoded are the encoded frames around each seam and some copied
    ones beside them; a few frames at the start where nothing was encoded; the start and the end
    of a segment that was encoded as a whole; the first packets of each audio track. `threads` is
    for the decoder.
    """
    try:
        # A transport stream's header says next to nothing.
        probes = expected.container is Container.TS
        with path.open("rb") as file, open_source(file, probes=probes) as container:
            verified = _verify(container, expected, threads)
            if expected.container in _EXACT:
                _check_lengths(*lengths(file), expected)
            return verified
    except VerificationFailed:
        raise
    except (MediaError, OSError) as error:
        raise failed("unreadable", "the file cannot be read back") from error


def _verify(container: InputContainer, expected: Expected, threads: int) -> Verified:
    video = video_stream(container)
    _check_parameters(video)
    frames, tail = len(expected.times), expected.encoded_tail
    if not 0 <= tail < frames or not 0 <= expected.encoded_head <= frames - tail:
        raise ValueError(f"{expected.encoded_head} and {tail} of {frames} frames encoded")
    trial = Trial(video, frames=frames, head=expected.encoded_head, tail=tail, threads=threads)
    written = Written(
        container,
        video,
        trial,
        kind=expected.container,
        rebuilt=expected.rebuilt,
        # An encoder may repeat its only ones (x265 does where there is HDR metadata).
        may_repeat_sets=not expected.rebuilt
        or expected.encoded_head == frames
        or expected.container is Container.TS,
        tail_after=_between(expected, frames - tail) if tail else None,
    )
    written.read()
    if video.codec_context.pix_fmt is None:
        raise failed("parameters", "its decoder does not know what the pictures are like")
    times = written.times
    if len(times) != frames:
        raise failed("frame_count", f"it shows {len(times)} frames instead of {frames}")
    if written.hidden_frames and not expected.hides:
        raise failed("frame_count", f"it hides {written.hidden_frames} frames more than it shows")
    base = Fraction(video.time_base or 1)
    zero = int(times[0]) if expected.container is Container.TS else 0
    if len(dts := written.decode_times) and np.any(np.diff(dts) <= 0):
        where = int(np.argmax(np.diff(dts) <= 0))
        raise failed("decode_times", f"packet {where + 1} is decoded before the one before it")
    _check_times(times - zero, base, expected)
    _check_header(container, video, written, expected)
    return Verified(
        frame_count=frames,
        decoded_frames=trial.decoded_frames,
        audio_offset=_audio_offset(container, written, expected, zero * base),
    )


def _between(expected: Expected, index: int) -> Fraction:
    """Seconds: half way between a frame and the one before it."""
    return int(expected.times[index - 1] + expected.times[index]) * expected.time_base / 2


def _check_parameters(video: VideoStream) -> None:
    # PyAV's stub forgets that there is none for a codec that FFmpeg cannot decode.
    context = cast("VideoCodecContext | None", video.codec_context)
    if context is None or not context.width or not context.height:
        raise failed("parameters", "its header does not say what the pictures are like")


def _check_times(times: NDArray[np.int64], base: Fraction, expected: Expected) -> None:
    """`times`: sorted, after time 0, in ticks of the file, each of `base` seconds."""
    # MP4 keeps times as they are, the others round each to their clock.
    most = 0 if expected.container in _EXACT else 1
    _compare(times, base, expected.times, expected.time_base, most, "times")
    if expected.frame_rate is not None:
        grid = np.arange(len(times), dtype=np.int64)
        _compare(times, base, grid, 1 / expected.frame_rate, 1, "frame_rate")


def _compare(
    times: NDArray[np.int64],
    base: Fraction,
    others: NDArray[np.int64],
    other_base: Fraction,
    most: int,
    check: str,
) -> None:
    """Raise `VerificationFailed` where two times differ by more than `most` ticks of `base`, or
    by a whole one where `most` is 0 (less is what a time between two ticks is rounded by)."""
    ratio = other_base / base
    reach = max(int(np.abs(times).max()), int(np.abs(others).max()) + 1, 1)
    if reach * max(ratio.numerator, ratio.denominator) >= 1 << 61:
        # Python's own numbers: slow, and never too small.
        times, others = times.astype(object), others.astype(object)
    error = np.abs(times * ratio.denominator - others * ratio.numerator)
    wrong = error >= ratio.denominator if most == 0 else error > most * ratio.denominator
    if np.any(wrong):
        index = int(np.argmax(wrong))
        raise failed(
            check,
            f"frame {index} is shown at {float(int(times[index]) * base):.6f} s instead of "
            f"{float(int(others[index]) * other_base):.6f} s",
        )


def _check_header(
    container: InputContainer, video: VideoStream, written: Written, expected: Expected
) -> None:
    """How long the header says that the file is, and how many frames a second it has."""
    if expected.container is Container.TS:
        # It has no header; what FFmpeg says of it are its own guesses.
        return
    tick = Fraction(video.time_base or 1)
    longest = max(expected.end, written.latest) + _SLACK
    if expected.container not in _EXACT:
        whole = Fraction(container.duration or 0, av.time_base)
        _check_length("header", whole, expected.end - tick, longest)
    elif expected.frame_rate is not None:
        # FFmpeg's own sum of decoding times; where the rate varies, it falls short of the end.
        off = 2 * tick if expected.hides else tick / 2
        length = (video.duration or 0) * tick
        _check_length("video track", length, expected.end - off, expected.end + off)
    if expected.frame_rate is not None and not expected.hides and _ends_on_time(expected, tick):
        rate = Fraction(video.average_rate or 0)
        if abs(rate - expected.frame_rate) > expected.frame_rate * _RATE_ERROR:
            raise failed(
                "frame_rate",
                f"its header says {float(rate):.5g} frames a second instead of "
                f"{float(expected.frame_rate):.5g}",
            )


def _ends_on_time(expected: Expected, tick: Fraction) -> bool:
    """Whether the last frame, too, is shown for one step: where the source pauses there, no
    average can come out right."""
    assert expected.frame_rate is not None
    return abs(expected.end - len(expected.times) / expected.frame_rate) <= tick


def _check_lengths(movie: Fraction, track: Fraction, expected: Expected) -> None:
    """What MP4 says of itself, to a tick of its movie's clock."""
    _check_length("video track", track, expected.end - _MOVIE_TICK, expected.end + _MOVIE_TICK)
    if movie < track:
        raise failed("duration", "its header says that it is shorter than its video track")


def _check_length(of: str, length: Fraction, least: Fraction, most: Fraction) -> None:
    if not least <= length <= most:
        raise failed(
            "duration",
            f"its {of} says that it lasts {float(length):.6f} s; "
            f"{float(least):.6f} to {float(most):.6f} s would be right",
        )


def _audio_offset(
    container: InputContainer, written: Written, expected: Expected, zero: Fraction
) -> Fraction | None:
    furthest: Fraction | None = None
    for placed in expected.audio:
        heard = written.heard.get(placed.index)
        if heard is None:
            if placed.empty:
                continue
            raise failed("audio", f"stream {placed.index} is missing, or no sound")
        base = Fraction(container.streams[placed.index].time_base or 0)
        # Begin and end are each rounded to the clock, and so is time 0.
        offset = heard.offset(
            placed, zero, slack=2 * base, trims=expected.container is not Container.TS
        )
        if offset is not None and (furthest is None or abs(offset) > abs(furthest)):
            furthest = offset
    return furthest
