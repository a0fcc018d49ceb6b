"""HEVC through libde265, a decoder that shares nothing with FFmpeg's, by way of GStreamer."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import av
import numpy as np

from tests.clips import read_number

_LAUNCH, _INSPECT = shutil.which("gst-launch-1.0"), shutil.which("gst-inspect-1.0")


@cache
def _has(element: str) -> bool:
    if _LAUNCH is None or _INSPECT is None:
        return False
    done = subprocess.run([_INSPECT, element], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


HAS_LIBDE265 = _has("libde265dec")


def numbers_by_libde265(path: Path, size: tuple[int, int]) -> list[int]:
    """The numbers of all frames of an MP4, MOV or Matroska file, 8 bit, of `size` (width, height).

    Raises `ValueError` where a frame shows none.
    """
    assert _LAUNCH is not None
    raw = path.with_suffix(".yuv")
    demuxer = "matroskademux" if path.suffix == ".mkv" else "qtdemux"
    line = f"filesrc location={path} ! {demuxer} ! h265parse ! libde265dec"
    line += f" ! video/x-raw,format=I420 ! filesink location={raw}"
    subprocess.run([_LAUNCH, "-q", *line.split()], capture_output=True, check=True, timeout=120)
    width, height = size
    planes = np.fromfile(raw, dtype=np.uint8)
    raw.unlink()
    pictures = planes.reshape(-1, height * 3 // 2, width)
    return [
        read_number(av.VideoFrame.from_ndarray(picture, format="yuv420p")) for picture in pictures
    ]
