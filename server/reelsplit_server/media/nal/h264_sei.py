"""H.264 supplemental enhancement information: recovery points, found and taken out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax
from reelsplit_server.media.nal.units import escaped, unescaped

RECOVERY_POINT = 6
#: Repeats how a picture's references were marked, with its number.
MARKING_REPETITION = 7
_STOP = b"\x80"


def messages(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each message of a unit of type 6, as far as they are whole."""
    raw = unescaped(unit).rstrip(b"\x00")
    at, size = 1, len(raw)
    while at < size and raw[at:] != _STOP:
        numbers = []
        for _ in range(2):
            number = 0
            while at < size and raw[at] == 0xFF:
                number += 255
                at += 1
            if at >= size:
                return
            numbers.append(number + raw[at])
            at += 1
        kind, length = numbers
        if at + length > size:
            return
        yield kind, raw[at : at + length]
        at += length


def recovers(unit: bytes) -> bool:
    """Whether it says that pictures are right from this one on, with no frame in between."""
    for kind, payload in messages(unit):
        if kind == RECOVERY_POINT:
            try:
                return BitReader(payload[:16]).ue() == 0
            except BrokenSyntax:
                return False
    return False


def without(unit: bytes, kinds: Collection[int]) -> bytes | None:
    """The unit without messages of these kinds; itself if it has none, None if nothing is left."""
    found = list(messages(unit))
    if not any(kind in kinds for kind, _ in found):
        return unit
    raw = bytearray(unit[:1])
    for kind, payload in found:
        if kind not in kinds:
            for number in (kind, len(payload)):
                raw += b"\xff" * (number // 255) + bytes((number % 255,))
            raw += payload
    return escaped(bytes(raw) + _STOP) if len(raw) > 1 else None
