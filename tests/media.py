"""Where the real test footage lies, for tests that can do without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MEDIA = Path(
    os.environ.get("REELSPLIT_MEDIA") or Path(__file__).resolve().parents[2] / "shared" / "media"
)

FOLDERS = ("traits", "real", "splices", "long")

_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".ts", ".mpg", ".avi", ".m4a"}


def real(name: str) -> Path:
    """The footage at `name` below `MEDIA` ("traits/bbb_vfr_pause.mkv"), or skip the test."""
    path = MEDIA / name
    if not path.is_file():
        pytest.skip(f"no {name} below {MEDIA}: set REELSPLIT_MEDIA to the folder of test footage")
    return path


def footage(*folders: str) -> list[str]:
    """Names, relative to `MEDIA`, of all media files that are present in these folders."""
    return sorted(
        f"{folder}/{path.name}"
        for folder in folders or FOLDERS
        for path in (MEDIA / folder).glob("*")
        if path.suffix in _SUFFIXES
    )
