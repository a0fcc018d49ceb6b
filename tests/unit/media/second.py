"""How a file plays in Debian's `ffmpeg`, from its beginning to its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.ffmpeg import decode, kinds

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
    options = _STRICT if strict else ()
    data, lines, failed = decode(path, "-f", "framecrc", options=options)
    return Played(
        frames=sum(line[:1] == b"0" for line in data.splitlines()),
        said=kinds(line for line in lines if not _OF_ITS_OUTPUT.search(line)),
        failed=failed,
    )


@cache
def play_once(path: Path, *, strict: bool = False) -> Played:
    """As `play`, for a source that many cuts are held against."""
    return play(path, strict=strict)
