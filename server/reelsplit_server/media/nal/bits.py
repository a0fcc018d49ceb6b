"""Reading and writing syntax bit by bit, with Exp-Golomb codes."""

from __future__ import annotations

#: More leading zeros than any legal Exp-Golomb code has.
_MOST_ZEROS = 32


class BrokenSyntax(ValueError):
    """The bits end too early or mean nothing: the unit is corrupt."""


class BitReader:
    """Bits of some bytes, the first one the highest of its byte."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "big")
        self.size = len(data) * 8
        """Bits in all."""
        self.position = 0
        """Bits read so far."""

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits; `BrokenSyntax` at the end of the data."""
        left = self.size - self.position - count
        if left < 0:
            raise BrokenSyntax("the unit ends in the middle of its header")
        self.position += count
        return self._number >> left & (1 << count) - 1

    def flag(self) -> bool:
        """One bit."""
        return self.u(1) == 1

    def ue(self) -> int:
        """An unsigned Exp-Golomb code."""
        left = self.size - self.position
        rest = self._number & (1 << left) - 1
        zeros = left - rest.bit_length()
        if not rest or zeros > _MOST_ZEROS:
            raise BrokenSyntax("a code of the header is too long, or cut off")
        self.position += zeros
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        """A signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


class BitWriter:
    """Puts bits together."""

    def __init__(self) -> None:
        self._number = 0
        self.size = 0
        """Bits written so far."""

    def u(self, count: int, value: int) -> None:
        """Append `value` as `count` bits. Raises `ValueError` where it does not fit."""
        if not 0 <= value < 1 << count:
            raise ValueError(f"{value} does not fit into {count} bits")
        self._number = self._number << count | value
        self.size += count

    def flag(self, value: bool) -> None:
        """Append one bit."""
        self.u(1, int(value))

    def ue(self, value: int) -> None:
        """Append an unsigned Exp-Golomb code."""
        length = (value + 1).bit_length()
        self.u(2 * length - 1, value + 1)

    def se(self, value: int) -> None:
        """Append a signed Exp-Golomb code."""
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def bits(self, reader: BitReader, count: int) -> None:
        """Append the next `count` bits of `reader`."""
        self.u(count, reader.u(count))

    def append(self, other: BitWriter) -> None:
        """Append all bits of another writer."""
        self.u(other.size, other._number)

    def trailing(self) -> None:
        """Append the stop bit and zeros up to a whole byte."""
        self.u(1, 1)
        self.u(-self.size % 8, 0)

    def to_bytes(self) -> bytes:
        """All bits; there must be whole bytes of them."""
        if self.size % 8:
            raise ValueError(f"{self.size} bits are no whole bytes")
        return self._number.to_bytes(self.size // 8, "big")
