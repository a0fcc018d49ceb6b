"""Seeing all of a source in order, while as many as like help: what the lead does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from reelsplit_server.media.ahead import ahead
from reelsplit_server.media.detection.board import Claim, LeadBoard
from reelsplit_server.media.detection.effort import Effort, Scanned
from reelsplit_server.media.detection.passes import Pass
from reelsplit_server.media.detection.reel import Reel, View
from reelsplit_server.media.detection.stretches import Stretch

#: Stretches in a row that could not be trusted, after which the index is trusted no more.
_MOST_FLAWED = 3
#: Parts that are decoded ahead of who looks at them.
_PARTS_AHEAD = 2
#: Frames between two looks at what others have finished.
_PAUSE_EVERY = 16
#: Seconds between two looks where there is nothing to do.
_MOMENT = 0.01


@dataclass(slots=True, kw_only=True)
class Seen:
    """What there is to say of a source when all of it was seen."""

    first_frame: int = 0
    """The number of the first frame that was looked at."""
    frames: int = 0
    """How many were looked at, or would be by a larger effort."""
    end: int = 0
    """Ticks: when the last of them ends."""
    detail: str | None = None
    """What is damaged first, in words."""
    places: list[Fraction] = field(default_factory=list)
    """Where it is damaged: seconds on the source's own clock."""
    damaged: bool = False
    restarts: bool = False
    """The source's clock starts over in the middle."""


OnPart = Callable[[Scanned], None]


class Survey:
    """Tells what is seen of a source, part after part, without a gap and each frame once.

    What is told is the same however many help and however the work falls to them. A stretch
    that cannot be trusted is seen again by a decoder that comes from the stretch before, and
    only then told; after some of them in a row one decoder goes on to the end.
    """

    def __init__(
        self,
        file: BinaryIO,
        view: View,
        effort: Effort,
        on_part: OnPart,
        *,
        threads: int = 1,
        expect: Callable[[tuple[int, int | None]], None] = lambda place: None,
    ) -> None:
        """`on_part` gets each part, its frames numbered over the whole source. `threads` are the
        decoder's where one goes on alone (0: one a core). `expect` hears which bytes of the file
        are about to be read."""
        self._file, self._view, self._effort = file, view, effort
        self._on_part, self._threads, self._expect = on_part, threads, expect
        self.seen = Seen()
        self._stretches: Sequence[Stretch] = ()
        self._board: LeadBoard | None = None
        self._held: dict[int, Scanned] = {}
        """What was seen and cannot be told yet, by the number of the stretch."""
        self._next = self._sound = self._flawed = self._paused = 0
        """The next stretch to be told, the last one that could be trusted, how many could not be
        since then, and the frames that were scanned."""

    def serially(self, low: int | None, high: int | None) -> Seen:
        """See the frames in [low, high), ticks, with one decoder that comes from the beginning."""
        self._go_on(None, low, high, counts=True)
        return self.seen

    def by_stretches(
        self,
        stretches: Sequence[Stretch],
        first_frame: int,
        board: LeadBoard | None,
        *,
        threads: int = 1,
    ) -> Seen:
        """See these stretches, the first of which begins with this frame of the source; with
        those who help by the `board`. `threads` are the decoder's for a stretch."""
        self.seen.first_frame = first_frame
        self._stretches, self._board = stretches, board
        with Reel(self._file, self._view, threads=threads) as reel:
            while self._next < len(stretches) and not self.seen.restarts:
                if self._take():
                    continue
                if self._next not in self._held:
                    self._work(reel)
                elif self._flawed < _MOST_FLAWED:
                    self._mend(reel)
                else:
                    break
        if self._next < len(stretches):
            if board is not None:
                board.move(len(stretches))
            low = self.seen.end if self.seen.restarts else stretches[self._next].low
            self._go_on(stretches[self._sound].entry, low, stretches[-1].high)
        return self.seen

    def _take(self) -> bool:
        """Tell what is there and can be trusted, as far as it goes; whether there was any."""
        took = False
        while self._next < len(self._stretches):
            scanned = self._held.get(self._next)
            if scanned is None and self._board is not None:
                scanned = self._board.take(self._next)
                if scanned is not None:
                    scanned = self._held[self._next] = _checked(
                        scanned, self._stretches[self._next]
                    )
            if scanned is None or scanned.flaw is not None:
                break
            self._tell(scanned)
            self._sound, self._flawed, took = self._next, 0, True
            self._advance()
        return took

    def _advance(self) -> None:
        del self._held[self._next]
        self._next += 1
        if self._board is not None:
            self._board.move(self._next)

    def _work(self, reel: Reel) -> None:
        """Scan the next stretch that nobody has, or wait a moment where there is none."""
        claim: Claim | None = None
        number = self._next
        if self._board is not None:
            claim = self._board.claim(self._next, again=True)
            if claim is None:
                time.sleep(_MOMENT)
                return
            number = claim.number
        try:
            stretch = self._stretches[number]
            if self._effort.dense:
                self._expect(stretch.place)
            scanned = self._effort.scan(reel, stretch, self._pause)
            if number == self._next or claim is None or self._board is None:
                self._held[number] = scanned
            else:
                self._board.put(claim, scanned)
        finally:
            if claim is not None:
                claim.release()

    def _pause(self) -> None:
        self._paused += 1
        if self._paused % _PAUSE_EVERY == 0:
            self._take()

    def _mend(self, reel: Reel) -> None:
        """See the next stretch again, by a decoder that comes from before it."""
        stretch = self._stretches[self._next]
        self._flawed += 1
        came = Pass(reel, self._stretches[self._sound].entry, stretch.low)
        found = []
        for part in came.parts(stretch.high):
            self._tell(part)
            found.append(part.pts)
        if stretch.pts is not None:
            lost = np.setdiff1d(stretch.pts, np.concatenate(found))
            for pts in (*lost[:1], *lost[-1:]):
                came.damage.note("frames are missing", int(pts) * reel.base)
        self._keep(came)
        self._advance()

    def _go_on(
        self, entry: int | None, low: int | None, high: int | None, *, counts: bool = False
    ) -> None:
        """See everything in [low, high), ticks, by one decoder that comes from the key frame at
        `entry`; with `counts`, that is the beginning, and the frames before `low` are counted."""
        self._expect((0, None))
        with Reel(self._file, self._view, threads=self._threads) as reel:
            came = Pass(reel, entry, low)
            with ahead(came.parts(high), _PARTS_AHEAD) as parts:
                for part in parts:
                    if counts:
                        # All of them lie before the first part.
                        self.seen.first_frame = came.skipped
                    self._tell(part)
            self._keep(came)

    def _keep(self, came: Pass) -> None:
        damage, seen = came.damage, self.seen
        seen.damaged = seen.damaged or bool(damage.count)
        seen.detail = seen.detail or damage.detail
        seen.places += damage.found
        seen.restarts = seen.restarts or bool(damage.restarts)

    def _tell(self, part: Scanned) -> None:
        seen = self.seen
        part = part.at(seen.first_frame + seen.frames)
        if len(part.pts):
            seen.frames += len(part.pts)
            last = int(part.pts[-1])
            seen.end = last + part.last_duration if part.end is None else part.end
        self._on_part(part)


def _checked(scanned: Scanned, stretch: Stretch) -> Scanned:
    """What another worker saw, with a flaw where it cannot be of this stretch."""
    pts, low, high = scanned.pts, stretch.low, stretch.high
    fits = (
        not np.any(np.diff(pts) <= 0)
        and (not len(pts) or low is None or pts[0] >= low)
        and (not len(pts) or high is None or pts[-1] < high)
        and (stretch.pts is None or np.array_equal(pts, stretch.pts))
    )
    if fits or scanned.flaw is not None:
        return scanned
    return dataclasses.replace(scanned, flaw="another worker saw other frames")
