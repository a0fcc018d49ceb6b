"""Debian's `ffmpeg` command, a second decoder: another release of FFmpeg than PyAV's."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

FFMPEG = shutil.which("ffmpeg")


def decode(path: Path, *output: str, options: Sequence[str] = ()) -> tuple[bytes, list[str], bool]:
    """Decode the first video, which goes to standard output as `output` says, and all audio.

    Answers what came, the log from warnings up, and whether the command gave up. `options` stand
    before the input.
    """
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "warning", "-nostdin", "-threads", "1", *options, "-i", str(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", *output, "pipe:1"]
    command += ["-map", "0:a?", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return done.stdout, lines, done.returncode != 0


def kinds(lines: Iterable[str]) -> frozenset[str]:
    """Lines of a log without addresses and figures, each once."""
    return frozenset(re.sub(r"-?\d+", "N", re.sub(r"0x[0-9a-f]+", "", line)) for line in lines)
