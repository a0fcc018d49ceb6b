"""What Debian's `ffmpeg`, a decoder that shares no code with PyAV's, says of a file."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FFMPEG = shutil.which("ffmpeg")

_STRICT = ("-xerror", "-err_detect", "explode+crccheck+bitstream+buffer")

_OF_ITS_OUTPUT = re.compile(
    r"\[(null|framecrc) @|^Last message repeated|^\s*Last message repeated"
    # PCM in Matroska names no layout, and mono is the only guess.
    r"|Guessed Channel Layout"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a file plays from its beginning to its end."""

    frames: int
    """Video frames that came out."""
    said: frozenset[str]
    """Warnings and errors, without addresses and figures, each once."""
    failed: bool
    """Whether the command gave up."""


def play(path: Path, *, strict: bool = False) -> Played:
    """Decode the first video and all audio; with `strict`, stop at whatever is not as it should
    be."""
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "warning", "-nostdin", "-threads", "1"]
    command += [*(_STRICT if strict else ()), "-i", str(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "pipe:1"]
    command += ["-map", "0:a?", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    return Played(
        frames=sum(line[:1] == b"0" for line in done.stdout.splitlines()),
        said=_kinds(done.stderr.decode(errors="replace").splitlines()),
        failed=done.returncode != 0,
    )


@cache
def play_once(path: Path, *, strict: bool = False) -> Played:
    """As `play`, for a source that many cuts are held against."""
    return play(path, strict=strict)


def _kinds(lines: Sequence[str]) -> frozenset[str]:
    said = (line for line in lines if line.strip() and not _OF_ITS_OUTPUT.search(line))
    return frozenset(re.sub(r"-?\d+", "N", re.sub(r"0x[0-9a-f]+", "", line)) for line in said)
