"""EBML, the form in which Matroska and WebM files are written: elements, numbers and blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SIMPLE_BLOCK, GROUP = 0xA3, 0xA0
_BLOCK, _REFERENCE = 0xA1, 0xFB


class OddLayout(Exception):
    """The file has no cues, no sizes (a live recording), or is not what it claims to be."""


@dataclass(frozen=True, slots=True)
class Block:
    """One element of a cluster that holds a packet (or several, laced)."""

    track: int
    time: int
    """Ticks, those of the cluster included."""
    key: bool
    data: bytes
    """The whole element."""


def elements(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """The elements of which `data` consists from `at` on: id, start and end of the content."""
    while at < len(data):
        element, width = vint(data, at, keep=True)
        size, more = vint(data, at + width)
        start = at + width + more
        at = start + size
        if at > len(data):
            raise OddLayout
        yield element, start, at


def vint(data: bytes, at: int, *, keep: bool = False) -> tuple[int, int]:
    """A number of EBML and its width in bytes; with `keep` its marker bit is part of it."""
    if at >= len(data) or data[at] == 0:
        raise OddLayout
    width = 9 - data[at].bit_length()
    if at + width > len(data):
        raise OddLayout
    number = int.from_bytes(data[at : at + width], "big")
    if keep:
        return number, width
    mask = (1 << 7 * width) - 1
    if number & mask == mask:  # unknown: a live recording
        raise OddLayout
    return number & mask, width


def unsigned(data: bytes) -> int:
    """The number that is an element's content; none is taken that leaves no room for sums."""
    number = int.from_bytes(data[:9], "big")
    if len(data) > 8 or number >= 1 << 62:
        raise OddLayout
    return number


def element_of(element: int, content: bytes) -> bytes:
    """An element with this id; its size is 8 bytes wide."""
    size = (len(content) | 1 << 56).to_bytes(8, "big")
    return element.to_bytes((element.bit_length() + 7) // 8, "big") + size + content


def block_of(element: int, content: bytes, time: int, data: bytes) -> Block:
    """Read what the content of a block or group says; `data` is the whole element."""
    start, key = 0, True
    if element == GROUP:
        at = 0
        inside: int | None = None
        while at < len(content):
            part, width = vint(content, at, keep=True)
            size, more = vint(content, at + width)
            if part == _BLOCK:
                inside = at + width + more
            elif part == _REFERENCE:
                key = False
            at += width + more + size
        if inside is None:
            raise OddLayout
        start = inside
    track, width = vint(content, start)
    at = start + width
    if at + 3 > len(content):
        raise OddLayout
    shift = int.from_bytes(content[at : at + 2], "big", signed=True)
    if element == SIMPLE_BLOCK:
        key = bool(content[at + 2] & 0x80)
        if content[at + 2] & 0x70:  # reserved
            raise OddLayout
    return Block(track, time + shift, key, data)


def alone(block: Block) -> bytes:
    """The element of a block made by `element_of`, for a cluster that begins at its own time."""
    data = bytearray(block.data)
    element, at = vint(block.data, 0, keep=True)
    at += 8
    if element == GROUP:
        for part, start, _ in elements(block.data[at:]):
            if part == _BLOCK:
                at += start
                break
    _, width = vint(block.data, at)
    shift = min(0, block.time)
    data[at + width : at + width + 2] = shift.to_bytes(2, "big", signed=True)
    return bytes(data)
