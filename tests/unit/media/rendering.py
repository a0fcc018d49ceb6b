"""Rendering in tests: one call, and what came of it, read back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import Damage, prepare, presented
from reelsplit_server.media.formats import Container
from reelsplit_server.media.render import (
    AudioSettings,
    CutMode,
    RenderPlan,
    RenderResult,
    VideoSettings,
    render,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    time: Fraction
    """Seconds from the first frame of its file."""
    gray: NDArray[np.float32]
    """As displayed, a tenth of the size each way; shape (height, width)."""


def cut(
    source: Path,
    path: Path,
    start: Fraction | int | str,
    end: Fraction | int | str | None,
    *,
    mode: CutMode = CutMode.ENCODE,
    video: VideoSettings | None = None,
    audio: AudioSettings | None = None,
    width: int | None = None,
    height: int | None = None,
) -> RenderResult:
    plan = RenderPlan(
        start=Fraction(start),
        end=None if end is None else Fraction(end),
        container=Container(path.suffix[1:]),
        mode=mode,
        width=width,
        height=height,
        video=video or VideoSettings(),
        audio=audio or AudioSettings(),
    )
    with source.open("rb") as file:
        return render(file, plan, path)


def times(path: Path) -> list[Fraction]:
    """Presentation times of all frames, in seconds, as the file has them."""
    with av.open(str(path)) as container:
        return [
            Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)
            for frame in container.decode(video=0)
        ]


def pictures(path: Path) -> list[Picture]:
    """All presented frames."""
    with path.open("rb") as file, open_source(file) as container:
        stream = video_stream(container)
        prepare(container, stream, 1)
        found: list[Picture] = []
        first: Fraction | None = None
        for frame in presented(container, stream, Damage()):
            time = Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)
            first = time if first is None else first
            gray = frame.reformat(format="gray", dst_color_range="JPEG").to_ndarray()
            # Not scaled by FFmpeg: that treats fields apart where a frame says it has some.
            high, wide = gray.shape[0] // 10, gray.shape[1] // 10
            gray = gray[: high * 10, : wide * 10].reshape(high, 10, wide, 10).mean(axis=(1, 3))
            turned = np.rot90(gray, frame.rotation // 90).astype(np.float32)
            found.append(Picture(time=time - first, gray=turned))
        return found


def psnr(one: Picture, other: Picture) -> float:
    error = float(((one.gray - other.gray) ** 2).mean())
    return 99.0 if error < 1e-6 else float(10 * np.log10(255**2 / error))
