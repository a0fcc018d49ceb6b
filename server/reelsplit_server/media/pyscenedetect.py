"""The parts of PySceneDetect that we use, loaded without the rest of it.

Its package itself, when it is imported, starts the ``ffmpeg`` that lies in ``PATH``, to see whether
there is one, and loads what reads and writes videos. Its detectors need none of that, and each
start of a server would wait for it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _bare_package(name: str) -> Iterator[None]:
    """Within the block the package is there, but was not run; behind it, it is as before."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    before = sys.modules.get(name)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


with _bare_package("scenedetect"):
    from scenedetect.common import FrameTimecode, Timecode
    from scenedetect.detector import FlashFilter, SceneDetector
    from scenedetect.detectors import (
        AdaptiveDetector,
        ContentDetector,
        HashDetector,
        HistogramDetector,
        ThresholdDetector,
    )

__all__ = [
    "AdaptiveDetector",
    "ContentDetector",
    "FlashFilter",
    "FrameTimecode",
    "HashDetector",
    "HistogramDetector",
    "SceneDetector",
    "ThresholdDetector",
    "Timecode",
]
