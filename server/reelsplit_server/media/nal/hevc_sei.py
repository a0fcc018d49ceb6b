"""HEVC SEI messages that pictures encoded anew must carry too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reelsplit_server.media.nal.bits import BitWriter
from reelsplit_server.media.nal.hevc_units import SEI
from reelsplit_server.media.nal.units import escaped, unescaped

_HEADER = SEI << 9 | 1
_PICTURE_TIMING, _REGISTERED = 1, 4
_MASTERING_DISPLAY, _CONTENT_LIGHT, _TRANSFER = 137, 144, 147
#: They hold for a whole coded video sequence, and it begins anew with the encoder's IDR.
LASTING = (_MASTERING_DISPLAY, _CONTENT_LIGHT, _TRANSFER)

#: pic_struct of whole frames; others to the one that says the same of a frame shown once.
_FRAME, _TOP_FIRST, _BOTTOM_FIRST = 0, 3, 4
_SHOWN_ONCE = {
    _FRAME: _FRAME,
    _TOP_FIRST: _TOP_FIRST,
    _BOTTOM_FIRST: _BOTTOM_FIRST,
    5: _TOP_FIRST,
    6: _BOTTOM_FIRST,
    7: _FRAME,
    8: _FRAME,
}


def messages(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Payload types and payloads of an SEI unit. Stops where it breaks off."""
    raw = unescaped(unit)
    at = 2
    while at + 1 < len(raw):
        numbers = []
        for _ in range(2):
            number = 0
            while at < len(raw) and raw[at] == 0xFF:
                number, at = number + 0xFF, at + 1
            if at == len(raw):
                return
            numbers.append(number + raw[at])
            at += 1
        kind, size = numbers
        if at + size > len(raw):
            return
        yield kind, raw[at : at + size]
        at += size


def is_registered(unit: bytes) -> bool:
    """Whether the unit has nothing but registered user data: closed captions."""
    kinds = {kind for kind, _ in messages(unit)}
    return kinds == {_REGISTERED}


def scan(kind: int, payload: bytes) -> tuple[int, int] | None:
    """pic_struct and source_scan_type of a picture timing message in a stream that has them,
    as they are for a frame shown once; None where it is none, or not of a frame."""
    if kind != _PICTURE_TIMING or not payload:
        return None
    structure = _SHOWN_ONCE.get(payload[0] >> 4)
    return None if structure is None else (structure, payload[0] >> 2 & 3)


def scan_message(found: tuple[int, int]) -> tuple[int, bytes]:
    """The picture timing message that says `found`, where there are no buffers' delays."""
    bits = BitWriter()
    bits.u(4, found[0])
    bits.u(2, found[1])
    bits.u(1, 0)
    bits.trailing()
    return _PICTURE_TIMING, bits.to_bytes()


def sei(found: Mapping[int, bytes]) -> bytes:
    """An SEI unit of these payloads by type, each below 255 bytes."""
    bits = BitWriter()
    bits.u(16, _HEADER)
    for kind, payload in found.items():
        bits.u(8, kind)
        bits.u(8, len(payload))
        bits.u(8 * len(payload), int.from_bytes(payload, "big"))
    bits.trailing()
    return escaped(bits.to_bytes())
