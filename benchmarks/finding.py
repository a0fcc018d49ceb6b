"""Our own detector on a local file without a server, in as many processes as wanted.

from benchmarks.finding import find
boundaries = find(Path("film.mp4"), ShotSettings(), processes=2)
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "server"), str(ROOT / "client")]

from reelsplit_server.media.detection.board import LeadBoard, Over, helping  # noqa: E402
from reelsplit_server.media.detection.boundary import Boundary  # noqa: E402
from reelsplit_server.media.detection.helper import Source, help_out  # noqa: E402
from reelsplit_server.media.detection.reel import View  # noqa: E402
from reelsplit_server.media.detection.search import search_shots  # noqa: E402
from reelsplit_server.media.detection.stretches import Stretch  # noqa: E402
from reelsplit_server.media.metrics import Measured  # noqa: E402
from reelsplit_server.media.probe import probe  # noqa: E402
from reelsplit_server.media.shot_settings import OwnSettings, ShotSettings  # noqa: E402


def find(
    path: Path,
    settings: ShotSettings | None = None,
    *,
    processes: int = 1,
    measured: Measured | None = None,
) -> list[Boundary]:
    """All boundaries of a file, in order, before borders are made of them. What is found does not
    depend on `processes`; a source without an index is decoded with as many threads instead.

    Raises `MediaError`.
    """
    settings = settings or ShotSettings()
    detector = settings.detector
    assert isinstance(detector, OwnSettings)
    found: list[Boundary] = []
    with tempfile.TemporaryDirectory(prefix="reelsplit-") as folder, path.open("rb") as file:
        share = Path(folder) / "share"
        with _helpers(processes - 1, share, path, detector) as begin:
            search_shots(
                file,
                probe(file),
                settings,
                lambda shot: None,
                on_boundary=found.append,
                measured=measured,
                threads=processes,
                share=partial(_share, share, begin) if processes > 1 else None,
            )
    return found


def _share(
    folder: Path, begin: list[multiprocessing.Process], view: View, stretches: Sequence[Stretch]
) -> LeadBoard | None:
    if len(stretches) < 2:
        return None
    board = LeadBoard(folder, view, stretches)
    for process in begin:
        process.start()
    return board


@contextmanager
def _helpers(
    count: int, folder: Path, path: Path, detector: OwnSettings
) -> Iterator[list[multiprocessing.Process]]:
    """Processes that help once they are started; all are gone at the end."""
    # The board's locks would be inherited by a fork.
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_help, args=(folder, path, detector), daemon=True)
        for _ in range(count)
    ]
    try:
        yield processes  # type: ignore[misc]
    finally:
        for process in processes:
            if process.pid is not None:
                process.join()


def _help(folder: Path, path: Path, detector: OwnSettings) -> None:
    def opened() -> BinaryIO:
        return path.open("rb")

    with suppress(Over), helping(folder) as board:
        while True:
            help_out(board, detector, Source(opened=opened), seconds=60, wait=1)
