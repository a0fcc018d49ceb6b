"""Surveys of sources, alone and with helpers, whose every byte can be compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.board import LeadBoard, Over, helping
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.efforts import Exact
from reelsplit_server.media.detection.helper import Source, help_out
from reelsplit_server.media.detection.index import SourceIndex, read_index
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.stretches import Stretch, plan_stretches
from reelsplit_server.media.detection.survey import Seen, Survey
from reelsplit_server.media.probe import SourceFacts, probe
from reelsplit_server.media.shot_settings import OwnSettings

EXACT = Exact(OwnSettings(), Fraction(24), None)


@dataclass(slots=True)
class Looked:
    """All that a survey told."""

    parts: list[Scanned] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    @property
    def pts(self) -> list[int]:
        return [pts for part in self.parts for pts in part.pts.tolist()]

    @property
    def numbers(self) -> list[int]:
        """The numbers of all frames that are in strips."""
        return [
            number
            for part in self.parts
            for strip in part.strips
            for number in range(strip.first, strip.stop)
        ]

    @property
    def planes(self) -> NDArray[np.uint8]:
        """Shape (frames, 3456): all bytes of all small pictures."""
        strips = [strip for part in self.parts for strip in part.strips]
        return np.concatenate(
            [
                np.concatenate([each.reshape(len(strip), -1) for each in planes], axis=1)
                for strip in strips
                if len(strip)
                for planes in [(strip.y, strip.u, strip.v)]
            ]
        )

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Looked)
        return (
            self.pts == other.pts
            and self.numbers == other.numbers
            and np.array_equal(self.planes, other.planes)
            and self.seen.end == other.seen.end
            and self.seen.first_frame == other.seen.first_frame
        )


def view_of(facts: SourceFacts) -> View:
    video = facts.video
    return View(width=video.width, height=video.height, rate=video.frame_rate or Fraction(25))


def serially(path: Path, low: int | None = None, high: int | None = None) -> Looked:
    """What one decoder sees that comes from the beginning."""
    looked = Looked()
    with path.open("rb") as file:
        survey = Survey(file, view_of(probe(file)), EXACT, looked.parts.append)
        looked.seen = survey.serially(low, high)
    return looked


def planned(
    path: Path, low: int | None = None, high: int | None = None
) -> tuple[SourceFacts, SourceIndex, list[Stretch]]:
    with path.open("rb") as file:
        facts = probe(file)
        index = read_index(file, facts)
        assert index is not None, "no index"
        return facts, index, plan_stretches(index, facts.video, low, high)


def by_stretches(
    path: Path,
    folder: Path,
    helpers: int = 0,
    *,
    low: int | None = None,
    high: int | None = None,
    first_frame: int = 0,
    threads: int = 1,
) -> Looked:
    """What is seen by the stretches of the plan."""
    facts, _, stretches = planned(path, low, high)
    looked = Looked()
    board = LeadBoard(folder, view_of(facts), stretches) if helpers else None
    try:
        with path.open("rb") as file, helped(path, folder, helpers):
            survey = Survey(file, view_of(facts), EXACT, looked.parts.append)
            looked.seen = survey.by_stretches(stretches, first_frame, board, threads=threads)
    finally:
        if board is not None:
            board.close()
    return looked


@contextmanager
def helped(path: Path, folder: Path, count: int) -> Iterator[None]:
    """Threads that help as other workers would; all are gone at the end."""

    def work() -> None:
        with suppress(Over), helping(folder) as board:
            while True:
                help_out(
                    board,
                    OwnSettings(),
                    Source(opened=lambda: path.open("rb")),
                    seconds=9,
                    wait=0.1,
                )

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def borders_of(places: Callable[[int], Sequence[int]]) -> Callable[..., Iterator[int]]:
    """Stands in for `stretches.borders`: stretches begin at these of so many key frames."""

    def borders(keys: Sequence[int], *_: object) -> Iterator[int]:
        yield from places(len(keys))

    return borders
