"""Tiny clips made on the spot, whose every frame carries its number in the picture.

`make_clip` writes one, `read_number` reads the number back from a decoded frame, whatever was
done to it in between: another codec, size, depth, range, or a dimmer picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

BITS = 16

#: One look for each shot, RGB from the left edge to the right, used in turn: neighbours differ
#: in hue, brightness and structure, so every kind of detector sees a cut.
_LOOKS = (
    ((200, 40, 30), (90, 10, 10)),
    ((20, 60, 200), (120, 220, 255)),
    ((40, 160, 50), (5, 30, 10)),
    ((240, 230, 120), (200, 120, 40)),
    ((60, 10, 90), (220, 160, 240)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """One audio track: a sine of `frequency` Hz, as long as the video."""

    codec: str = "aac"
    language: str | None = None
    sample_rate: int = 48_000
    layout: str = "stereo"
    frequency: float = 440.0
    start: Fraction = Fraction(0)
    """Seconds that the track begins after the video's first frame."""
    wave: Callable[[int, int], NDArray[np.float32]] | None = None
    """Gives samples first to last (exclusive), -1 to 1, in place of the sine."""
    options: Mapping[str, str] | None = None
    """For the encoder."""


def make_clip(
    path: Path | str,
    *,
    codec: str = "libx264",
    frames: int = 48,
    rate: Fraction | int = 24,
    size: tuple[int, int] = (320, 180),
    gop: int = 12,
    bframes: int = 0,
    open_gop: bool = False,
    audio: Sequence[AudioTrack] = (),
    shots: Sequence[int] = (),
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    pixel_format: str | None = None,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    format: str | None = None,
    first_number: int = 0,
    prepare: Callable[[VideoStream], None] | None = None,
    picture: Callable[[int], NDArray[np.uint8]] | None = None,
) -> None:
    """Write a clip of `frames` frames to `path`; its ending (or `format`) chooses the container.

    `shots` are the frames at which the picture changes as a whole. `times` are presentation
    times in units of `time_base`, for a variable rate; without them the rate is constant.
    `first_number` is the number that frame 0 shows. Key frames come every `gop` frames and
    nowhere else. `prepare` may set what else it likes on the video stream before it opens.
    `picture` draws frames of its own, RGB, in place of the shots.
    """
    rate = Fraction(rate)
    base = time_base or 1 / rate
    stamps = list(times) if times is not None else [round(i / rate / base) for i in range(frames)]
    if len(stamps) != frames:
        raise ValueError(f"{frames} frames, but {len(stamps)} times")
    with av.open(
        str(path), "w", format=format, container_options=dict(container_options or {})
    ) as container:
        video = container.add_stream(
            codec,
            rate=rate,
            options=_video_options(
                codec, gop=gop, bframes=bframes, open_gop=open_gop, extra=options or {}
            ),
        )
        assert isinstance(video, VideoStream)
        video.width, video.height = size
        video.pix_fmt = pixel_format or _PIXEL_FORMATS.get(codec, "yuv420p")
        context = video.codec_context
        context.gop_size = gop
        context.max_b_frames = bframes
        context.time_base = base
        video.time_base = base
        if prepare is not None:
            prepare(video)
        tracks = [_Sine(container, track) for track in audio]
        drawn = pictures(frames, size, shots, first_number)
        if picture is not None:
            drawn = (picture(first_number + index) for index in range(frames))
        for index, (stamp, image) in enumerate(zip(stamps, drawn, strict=True)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = stamp, base
            container.mux(video.encode(frame))
            ahead = stamps[index + 1] if index + 1 < frames else stamp + round(1 / rate / base)
            for sine in tracks:
                sine.write_until((ahead - stamps[0]) * base)
        container.mux(video.encode(None))
        for sine in tracks:
            sine.finish()


def pictures(
    frames: int, size: tuple[int, int], shots: Sequence[int] = (), first_number: int = 0
) -> Iterator[NDArray[np.uint8]]:
    """The frames' pictures, RGB, each of shape (height, width, 3)."""
    width, height = size
    cuts = sorted(shots)
    across = np.linspace(0.0, 1.0, width)[None, :, None]
    backgrounds: dict[int, NDArray[np.uint8]] = {}
    for index in range(frames):
        shot = sum(cut <= index for cut in cuts)
        if shot not in backgrounds:
            left, right = (np.array(colour) for colour in _LOOKS[shot % len(_LOOKS)])
            row = left * (1 - across) + right * across
            backgrounds[shot] = np.broadcast_to(row, (height, width, 3)).astype(np.uint8)
        picture = backgrounds[shot].copy()
        write_number(picture, first_number + index)
        yield picture


def write_number(picture: NDArray[np.uint8], number: int) -> None:
    """Draw `number` in the top quarter: a row of 16 blocks, most significant bit first, white
    for one, and below it the same row inverted."""
    if not 0 <= number < 1 << BITS:
        raise ValueError(f"frame number {number} does not fit {BITS} bits")
    height, width = picture.shape[:2]
    rows = height // 8
    for bit in range(BITS):
        value = 255 if number >> (BITS - 1 - bit) & 1 else 0
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        picture[:rows, left:right] = value
        picture[rows : 2 * rows, left:right] = 255 - value


def read_number(frame: av.VideoFrame) -> int:
    """The number that a decoded frame carries. Raises `ValueError` where none can be read."""
    luma = frame.to_ndarray(format="gray").astype(np.float64)
    height, width = luma.shape
    rows = height // 8
    number = 0
    for bit in range(BITS):
        # Only the middle of a block: its edges are where a codec smears.
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        margin, rim = (right - left) // 4, rows // 4
        columns = slice(left + margin, right - margin)
        upper = float(luma[rim : rows - rim, columns].mean())
        lower = float(luma[rows + rim : 2 * rows - rim, columns].mean())
        if abs(upper - lower) < 24:
            raise ValueError(f"no number in the frame at {frame.pts}: bit {bit} is not clear")
        number = number << 1 | (upper > lower)
    return number


def read_numbers(path: Path | str) -> list[int]:
    """The numbers of all frames of a file, in the order in which they are presented."""
    with av.open(str(path)) as container:
        return [read_number(frame) for frame in container.decode(video=0)]


_PIXEL_FORMATS = {"prores_ks": "yuv422p10le"}


def _video_options(
    codec: str, *, gop: int, bframes: int, open_gop: bool, extra: Mapping[str, str]
) -> dict[str, str]:
    """Fast, good enough for the numbers to survive, and key frames only where asked for."""
    if codec == "libx264":
        chosen = {"preset": "veryfast", "crf": "20", "sc_threshold": "0"}
        chosen["x264-params"] = f"min-keyint={gop}:keyint={gop}:open-gop={int(open_gop)}"
    elif codec == "libx265":
        chosen = {"preset": "ultrafast", "crf": "20"}
        chosen["x265-params"] = (
            f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bframes}:b-adapt=0"
            f":open-gop={int(open_gop)}:log-level=error:pools=1:frame-threads=1"
        )
    elif codec in ("libvpx", "libvpx-vp9"):
        chosen = {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "1M"}
    elif codec == "libsvtav1":
        chosen = {"preset": "12", "crf": "30"}
    elif codec in ("mpeg4", "mpeg2video"):
        chosen = {"b": "2M", "sc_threshold": "1000000000"}
    else:
        chosen = {}
    return {**chosen, **extra}


class _Sine:
    """One audio track on its way into the file."""

    def __init__(self, container: OutputContainer, track: AudioTrack) -> None:
        self._container, self._track = container, track
        stream = container.add_stream(
            track.codec,
            rate=track.sample_rate,
            layout=track.layout,
            options=dict(track.options or {}),
        )
        assert isinstance(stream, AudioStream)
        if track.language:
            stream.metadata["language"] = track.language
        self._stream = stream
        self._written = 0

    def write_until(self, time: Fraction) -> None:
        """Write all samples before `time`, seconds from the video's first frame."""
        track = self._track
        count = round((time - track.start) * track.sample_rate) - self._written
        if count <= 0:
            return
        if track.wave is not None:
            wave = track.wave(self._written, self._written + count)
        else:
            when = (self._written + np.arange(count)) / track.sample_rate
            wave = (0.4 * np.sin(2 * np.pi * track.frequency * when)).astype(np.float32)
        channels = self._stream.layout.nb_channels
        frame = av.AudioFrame.from_ndarray(
            np.repeat(wave[None, :], channels, axis=0), format="fltp", layout=track.layout
        )
        frame.sample_rate = track.sample_rate
        frame.time_base = Fraction(1, track.sample_rate)
        frame.pts = round(track.start * track.sample_rate) + self._written
        self._written += count
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
