"""Clips whose sound says where in it one is, and reading that back from a file.

The sound is noise that never repeats: any few thousand samples of it, compared with the whole,
tell their own position to the sample, whatever codec they went through.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

Samples = NDArray[np.float32]

FRAME_RATE = 25
#: Samples that are compared to find a position.
WINDOW = 4096


def noise(count: int, rate: int, seed: int = 1) -> Samples:
    """Noise between about 150 Hz and 5 kHz, which codecs keep; shape (count,)."""
    white = np.random.default_rng(seed).standard_normal(count)
    spectrum = np.fft.rfft(white)
    frequency = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(frequency < 150) | (frequency > 5000)] = 0
    shaped = np.fft.irfft(spectrum, count)
    return (shaped * (0.25 / np.abs(shaped).std())).clip(-1, 1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """One track to write."""

    codec: str = "aac"
    rate: int = 48_000
    layout: str = "mono"
    language: str | None = None
    start: Fraction = Fraction(0)
    """Seconds after the first picture, or before it where negative."""
    stop: Fraction | None = None
    """Seconds after the first picture at which it ends; None: with the video."""
    hole: tuple[Fraction, Fraction] | None = None
    """Seconds from and to which no packet is written."""
    seed: int = 1


def make_sounding(
    path: Path,
    *sounds: Sound,
    seconds: Fraction | int = 4,
    gop: int = 25,
    video_start: Fraction | int = 0,
    video_codec: str = "libx264",
    format: str | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """A small plain film of `seconds` with these tracks."""
    with av.open(str(path), "w", format=format, container_options=dict(options or {})) as container:
        settings = {"preset": "ultrafast"} if video_codec == "libx264" else {}
        video = container.add_stream(video_codec, rate=FRAME_RATE, options=settings)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.gop_size, video.codec_context.max_b_frames = gop, 0
        tracks: list[tuple[Sound, AudioStream, Samples]] = []
        for sound in sounds:
            stream = container.add_stream(sound.codec, rate=sound.rate, layout=sound.layout)
            assert isinstance(stream, AudioStream)
            if sound.language:
                stream.metadata["language"] = sound.language
            if sound.codec == "vorbis":
                stream.codec_context.options = {"strict": "experimental"}
            until = Fraction(seconds) if sound.stop is None else sound.stop
            wave = noise(round((until - sound.start) * sound.rate), sound.rate, sound.seed)
            tracks.append((sound, stream, wave))
        done = [0] * len(tracks)
        for index in range(round(Fraction(seconds) * FRAME_RATE)):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([(index * 7 + 40) % 200]) * plane.buffer_size)
            frame.pts = round(Fraction(video_start) * FRAME_RATE) + index
            frame.time_base = Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
            for number, (sound, stream, wave) in enumerate(tracks):
                now = Fraction(index + 1, FRAME_RATE) + 1
                while (
                    done[number] < len(wave)
                    and sound.start + Fraction(done[number], sound.rate) < now
                ):
                    done[number] += _write(container, sound, stream, wave, done[number])
        container.mux(video.encode(None))
        for sound, stream, _ in tracks:
            _mux(container, sound, stream.encode(None))


def _write(
    container: av.container.OutputContainer,
    sound: Sound,
    stream: AudioStream,
    wave: Samples,
    at: int,
) -> int:
    piece = wave[at : at + 1024]
    context = stream.codec_context
    name = context.format.name
    channels = context.layout.nb_channels
    if "flt" in name:
        data: NDArray[np.generic] = piece
    elif name.startswith("s16"):
        data = (piece * 32767).astype(np.int16)
    else:
        data = (piece * 2**31 * 0.99).astype(np.int32)
    planar = name.endswith("p")
    rows = np.repeat(data[None, :], channels, axis=0)
    if not planar:
        rows = rows.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(rows), format=name, layout=context.layout.name
    )
    frame.sample_rate = sound.rate
    frame.time_base = Fraction(1, sound.rate)
    frame.pts = round(sound.start * sound.rate) + at
    _mux(container, sound, stream.encode(frame))
    return len(piece)


def _mux(
    container: av.container.OutputContainer,
    sound: Sound,
    packets: list[av.Packet[av.stream.Stream]],
) -> None:
    for packet in packets:
        time = (packet.pts or 0) * packet.time_base
        if sound.hole is None or not sound.hole[0] <= time < sound.hole[1]:
            container.mux(packet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a decoder gives of one track."""

    rate: int
    first: Fraction
    """Seconds from the first picture of the file to the first sample."""
    samples: Samples
    """All of them joined, the first channel; holes are left out."""
    jumps: tuple[Fraction, ...]
    """Seconds by which each frame's time misses the end of the one before."""

    @property
    def last(self) -> Fraction:
        return self.first + Fraction(len(self.samples), self.rate)


def hear(path: Path, track: int = 0) -> Heard:
    """Decode a track with PyAV's FFmpeg."""
    with av.open(str(path)) as container:
        video = next(container.decode(video=0))
        zero = Fraction(video.pts or 0) * Fraction(video.time_base or 0)
    with av.open(str(path)) as container:
        pieces: list[Samples] = []
        jumps: list[Fraction] = []
        first: Fraction | None = None
        rate, count = 0, 0
        for frame in container.decode(audio=track):
            rate = frame.sample_rate
            time = Fraction(frame.pts or 0) * Fraction(frame.time_base or 0) - zero
            if first is None:
                first = time
            jumps.append(time - first - Fraction(count, rate))
            count += frame.samples
            pieces.append(_mono(frame))
    assert first is not None
    return Heard(rate=rate, first=first, samples=np.concatenate(pieces), jumps=tuple(jumps))


def hear_elsewhere(path: Path, track: int = 0) -> Samples:
    """Decode a track with the `ffmpeg` command: all samples, joined, mono."""
    done = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            path,
            "-map",
            f"0:a:{track}",
            *["-ac", "1"],
            *["-f", "f32le", "-"],
        ],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, dtype=np.float32)


def position(piece: Samples, whole: Samples) -> int:
    """The sample of `whole` at which `piece`, a part of it, begins, by the best correlation of
    all. Raises `ValueError` where it is no part of it."""
    size = 1 << (len(piece) + len(whole)).bit_length()
    product = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(piece, size)), size)
    power = np.concatenate(([0.0], np.cumsum(whole.astype(np.float64) ** 2)))
    there = power[len(piece) :] - power[: -len(piece)]
    here = float((piece.astype(np.float64) ** 2).sum())
    alike = product[: len(there)] / np.sqrt((there + 1e-9) * (here + 1e-9))
    best = int(alike.argmax())
    if alike[best] < 0.7:
        raise ValueError(f"not from there: {alike[best]:.2f}")
    return best


def _mono(frame: av.AudioFrame) -> Samples:
    array = frame.to_ndarray()
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    elif array.dtype.kind == "i":
        array = array.astype(np.float32) / float(np.iinfo(array.dtype).max)
    if frame.format.is_planar:
        return np.asarray(array[0], dtype=np.float32)
    return np.asarray(array.reshape(-1, frame.layout.nb_channels)[:, 0], dtype=np.float32)
