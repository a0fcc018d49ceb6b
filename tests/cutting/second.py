"""The second decoder: the `ffmpeg` command, which shares no code with PyAV's on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FFMPEG = shutil.which("ffmpeg")

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
    def kinds(self) -> set[str]:
        """The lines without addresses and figures."""
        return {re.sub(r"\d+", "N", re.sub(r"0x[0-9a-f]+", "", line)) for line in self.lines}


def decode_by_ffmpeg(path: Path, size: int) -> Second:
    """Decode all video to frames of `size` bytes, and all audio to nowhere."""
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "warning", "-nostdin", "-threads", "1", "-i", str(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    command += ["-map", "0:a?", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    if done.returncode:
        lines.append(f"ffmpeg ended with {done.returncode}")
    data = done.stdout
    frames = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
    return Second(frames, [line for line in lines if not any(part in line for part in _NOISE)])
