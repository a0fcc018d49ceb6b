"""What an encoder says of itself in a stream's first packet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

#: Bytes of a packet in which the note is looked for: x264 writes one of 700, after the parameters.
_HEAD = 4096
_NOTE = re.compile(rb"x26[45] [^\0]{0,200}options:([^\0]{0,4000})")
_KEYINT, _SCENECUT = re.compile(rb" keyint=(\d{1,6})\b"), re.compile(rb" scenecut=(\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class EncoderNote:
    """How x264 or x265 placed key frames."""

    most: int
    """Frames from one to the next, at most."""
    watched: bool
    """Whether it looked for changes of shot."""

    @staticmethod
    def read(file: BinaryIO, place: int, size: int) -> EncoderNote | None:
        """From the packet of so many bytes that begins here; None where it says nothing. The
        file's position is not kept."""
        file.seek(place)
        found = _NOTE.search(file.read(min(size, _HEAD)))
        options = b"" if found is None else found[1]
        keyint, scenecut = _KEYINT.search(options), _SCENECUT.search(options)
        if keyint is None or scenecut is None:
            return None
        return EncoderNote(most=int(keyint[1]), watched=int(scenecut[1]) > 0)
