"""What Debian's `ffmpeg` decodes of a cut, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.ffmpeg import decode, kinds

_NOISE = (
    # What ffmpeg's own muxers say of what is piped out of it.
    "Timestamps are unset",
    "Application provided invalid, non monotonically increasing dts",
    "Non-monotonous DTS",
    "Last message repeated",
    # PCM in Matroska has no layout; mono is the only guess.
    "Guessed Channel Layout",
)


@dataclass(frozen=True, slots=True)
class Second:
    """What the command gave: each frame's planes, and its log from warnings up."""

    frames: list[bytes]
    lines: list[str]

    @property
    def kinds(self) -> frozenset[str]:
        """The lines without addresses and figures."""
        return kinds(self.lines)


def decode_by_ffmpeg(path: Path, size: int) -> Second:
    """Decode all video to frames of `size` bytes, and all audio to nowhere."""
    data, lines, failed = decode(path, "-f", "rawvideo")
    if failed:
        lines.append("ffmpeg gave up")
    frames = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
    return Second(frames, [line for line in lines if not any(part in line for part in _NOISE)])
