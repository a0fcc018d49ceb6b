"""Sound that tells its place: one long noise, known sample by sample, and finding a piece in it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_LENGTH = 1 << 20
_WINDOW = 512
_LAGS = 8
_KNOWN = 0.5
"""A window whose correlation with the noise is less than this is none of it."""


@cache
def noise(rate: int) -> NDArray[np.float32]:
    """2**20 samples, -1 to 1, with nothing above 6 kHz, so that lossy codecs keep the wave."""
    spectrum = np.fft.rfft(np.random.default_rng(rate).standard_normal(_LENGTH))
    spectrum[np.fft.rfftfreq(_LENGTH, 1 / rate) > 6000] = 0
    wave = np.fft.irfft(spectrum, _LENGTH)
    return (np.clip(wave / wave.std(), -3, 3) * 0.15).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What an audio track plays, as a decoder gives it."""

    rate: int
    times: NDArray[np.float64]
    """Seconds on the file's own clock at which each window of 512 samples begins."""
    places: NDArray[np.int64]
    """The sample of the noise with which each of them begins; -1 where it is none of it."""
    first: int
    """The sample of the noise with which the track begins, and the one after its last: counted
    on from the nearest window that is known, so silence before the noise counts too."""
    last: int

    @property
    def jumps(self) -> list[int]:
        """Where the noise does not run on, by how many samples: more than 0 is a gap, less an
        overlap. A sample either way is the reading's own error."""
        known = np.flatnonzero(self.places >= 0)
        steps = np.diff(self.places[known]) - np.diff(known) * _WINDOW
        return [int(step) for step in steps if abs(step) > 1]

    @property
    def lost(self) -> int:
        """Windows amid known ones that are none of the noise."""
        known = np.flatnonzero(self.places >= 0)
        return int((self.places[known[0] : known[-1]] < 0).sum()) if len(known) else 0

    @property
    def offsets(self) -> NDArray[np.float64]:
        """For each known window, how many seconds later it plays than the noise has it."""
        known = self.places >= 0
        return self.times[known] - self.places[known] / self.rate


def listen(path: Path | str, track: int = 0, near: Fraction | float | None = None) -> Heard | None:
    """Decode an audio track and find each piece of it in the noise; `near` is where it may
    begin, in seconds. None where nothing of the noise is in it."""
    times: list[NDArray[np.float64]] = []
    pieces: list[NDArray[np.float32]] = []
    rate = 0
    with av.open(str(path)) as container:
        if track >= len(container.streams.audio):
            return None
        for frame in container.decode(audio=track):
            rate = frame.sample_rate
            samples = _mono(frame)
            pieces.append(samples)
            begins = float((frame.pts or 0) * Fraction(frame.time_base or 0))
            times.append(begins + np.arange(len(samples)) / rate)
    if not pieces:
        return None
    samples = np.concatenate(pieces)
    when = np.concatenate(times)
    places = _places(samples, noise(rate), None if near is None else round(near * rate))
    known = np.flatnonzero(places >= 0)
    if not len(known):
        return None
    return Heard(
        rate=rate,
        times=when[: len(places) * _WINDOW : _WINDOW],
        places=places,
        first=int(places[known[0]]) - int(known[0]) * _WINDOW,
        last=int(places[known[-1]]) + len(samples) - int(known[-1]) * _WINDOW,
    )


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """The first channel, -1 to 1."""
    data = frame.to_ndarray()
    channels = frame.layout.nb_channels
    one = data[0] if frame.format.is_planar else data.reshape(-1, channels)[:, 0]
    if one.dtype.kind == "f":
        return one.astype(np.float32)
    return one.astype(np.float32) / float(np.iinfo(one.dtype).max)


def _places(
    samples: NDArray[np.float32], known: NDArray[np.float32], near: int | None
) -> NDArray[np.int64]:
    """For each window, the sample of `known` with which it begins, or -1."""
    count = len(samples) // _WINDOW
    windows = samples[: count * _WINDOW].reshape(count, _WINDOW)
    places = np.full(count, -1, dtype=np.int64)
    at = 0
    offset: int | None = None
    while at < count:
        # As long as the noise runs on where it was found, one look at each window is enough.
        found = np.array([], dtype=np.int64)
        if offset is not None:
            found = _follow(windows[at:], known, at * _WINDOW + offset)
            bad = np.flatnonzero(found < 0)
            run = int(bad[0]) if len(bad) else len(found)
            places[at : at + run] = found[:run]
            at += run
            if at >= count:
                break
        place = _search(windows[at], known, None if near is None else near + at * _WINDOW)
        if place is None and offset is not None:
            # A window that holds a seam matches nowhere; what follows it may.
            at += 1
            if at < count:
                place = _search(windows[at], known, places[:at].max() + _WINDOW)
        if place is None:
            at += 1
            offset = None
            continue
        places[at] = place
        offset = place - at * _WINDOW
        at += 1
    return places


def _follow(
    windows: NDArray[np.float32], known: NDArray[np.float32], place: int
) -> NDArray[np.int64]:
    """The places of windows of which the first should begin at `place`, each within a few samples;
    -1 where it does not."""
    count = len(windows)
    size = count * _WINDOW
    padded = np.zeros(size + 2 * _LAGS, dtype=np.float32)
    low, high = max(0, place - _LAGS), min(len(known), place + size + _LAGS)
    if high > low:
        padded[low - place + _LAGS : high - place + _LAGS] = known[low:high]
    energy = np.sqrt((windows**2).sum(axis=1))
    scores = np.zeros((2 * _LAGS + 1, count))
    for lag in range(2 * _LAGS + 1):
        other = padded[lag : lag + size].reshape(count, _WINDOW)
        norm = energy * np.sqrt((other**2).sum(axis=1))
        scores[lag] = (windows * other).sum(axis=1) / np.maximum(norm, 1e-9)
    best = scores.argmax(axis=0)
    found = place + np.arange(count) * _WINDOW + best - _LAGS
    return np.where(scores.max(axis=0) >= _KNOWN, found, -1)


def _search(
    window: NDArray[np.float32], known: NDArray[np.float32], near: int | None
) -> int | None:
    """Where in `known` a window begins: first within a third of a second of `near`, then
    anywhere."""
    if float((window**2).sum()) < 1e-4:
        return None
    reaches = [] if near is None else [(max(0, near - 16384), min(len(known), near + 16384))]
    for low, high in (*reaches, (0, len(known))):
        if high - low < len(window):
            continue
        part = known[low:high]
        size = 1 << (len(part) + len(window) - 1).bit_length()
        spectrum = np.fft.rfft(part, size) * np.conj(np.fft.rfft(window, size))
        scores = np.fft.irfft(spectrum, size)[: len(part) - len(window) + 1]
        place = low + int(scores.argmax())
        match = known[place : place + len(window)]
        norm = np.sqrt(float((match**2).sum()) * float((window**2).sum()))
        if float((match * window).sum()) >= _KNOWN * norm > 0:
            return place
    return None
