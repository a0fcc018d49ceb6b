"""H.264 that does not tell how far its pictures are reordered, as some hardware writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reelsplit_server.media.nal.h264_sets import read_sps, write_sps

_HEAD = 6
"""Bytes of an `avcC` record before the length of its first parameter set."""


def leave_untold(path: Path) -> None:
    """Take what an MP4 file of H.264 tells besides decoding out of its parameter set. x264 always
    tells; the record keeps its length."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"avcC") + 4
    end = begin - 8 + int.from_bytes(data[begin - 8 : begin - 4], "big")
    sps = begin + _HEAD + 2
    rest = sps + int.from_bytes(data[sps - 2 : sps], "big")
    unit = read_sps(bytes(data[sps:rest]))
    assert unit.vui is not None
    assert unit.vui.restriction is not None
    short = write_sps(replace(unit, vui=None))
    record = len(short).to_bytes(2, "big") + short + data[rest:end]
    data[sps - 2 : end] = record.ljust(end - sps + 2, b"\0")
    path.write_bytes(data)
