"""HDR10 metadata of a frame, in the words of the encoders that can write it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

#: AVMasteringDisplayMetadata: ten rationals (red, green, blue and white x, y; lowest and highest
#: luminance in candela per square metre), then two flags.
_MASTERING = struct.Struct("<20i2i")
_LIGHT = struct.Struct("<2I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdr:
    primaries: tuple[tuple[Fraction, Fraction], ...] | None
    """Chromaticities of red, green, blue and white."""
    luminance: tuple[Fraction, Fraction] | None
    """Lowest and highest, in candela per square metre."""
    light: tuple[int, int] | None
    """Brightest pixel and brightest frame average, in candela per square metre."""

    def integers(self) -> str | None:
        """The mastering display as x264 and x265 write it: in 0.00002 and 0.0001 units."""
        if self.primaries is None or self.luminance is None:
            return None
        red, green, blue, white = (
            f"({round(x * 50_000)},{round(y * 50_000)})" for x, y in self.primaries
        )
        low, high = (round(value * 10_000) for value in self.luminance)
        return f"G{green}B{blue}R{red}WP{white}L({high},{low})"

    def decimals(self) -> str | None:
        """The mastering display as SVT-AV1 writes it: plain decimals."""
        if self.primaries is None or self.luminance is None:
            return None
        red, green, blue, white = (f"({float(x):.5f},{float(y):.5f})" for x, y in self.primaries)
        low, high = self.luminance
        return f"G{green}B{blue}R{red}WP{white}L({float(high):.4f},{float(low):.4f})"


def hdr_of(frame: VideoFrame) -> Hdr | None:
    """What the frame's side data say, or None where it has none."""
    mastering = side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    light = side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    if mastering is None and light is None:
        return None
    primaries = luminance = None
    if mastering is not None:
        values = _MASTERING.unpack(mastering[: _MASTERING.size])
        pairs = [Fraction(values[i], values[i + 1] or 1) for i in range(0, 20, 2)]
        if values[20]:
            primaries = tuple((pairs[i], pairs[i + 1]) for i in range(0, 8, 2))
        if values[21]:
            luminance = (pairs[8], pairs[9])
    levels = None
    if light is not None:
        brightest, average = _LIGHT.unpack(light[: _LIGHT.size])
        levels = (brightest, average)
    return Hdr(primaries=primaries, luminance=luminance, light=levels)


def side_data(frame: VideoFrame, kind: Type) -> bytes | None:
    """The frame's side data of one kind, as FFmpeg lays them out in memory."""
    # PyAV's type hints know of one kind only.
    sides = cast(Mapping[Type, SideData], frame.side_data)
    data = sides.get(kind)
    return None if data is None else bytes(data)
