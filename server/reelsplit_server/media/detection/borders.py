"""Borders between shots out of boundaries: where they lie, and which of two that are too close
stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reelsplit_server.media.detection.boundary import Boundary
from reelsplit_server.media.shot_settings import BorderPolicy


@dataclass(frozen=True, slots=True)
class Border:
    """The end of one shot and the beginning of the next."""

    out: int
    """The frame after the last one of the shot before."""
    into: int
    """The first frame of the next shot."""
    boundary: Boundary


class Borders:
    """Takes boundaries in order, and gives the borders that stay, as soon as that is certain.

    Of two borders with less than the shortest shot between them the more confident stays, of two
    alike the earlier. The beginning and the end of the analysed part stay in any case.
    """

    def __init__(
        self,
        policy: BorderPolicy,
        shortest: int,
        first_frame: int,
        time_of: Callable[[int], int],
    ) -> None:
        """`shortest` is in ticks, 0 for none. `first_frame` is where the analysed part begins;
        `time_of` answers when a frame before `known` is shown, in ticks."""
        self._policy, self._shortest, self._time_of = policy, shortest, time_of
        self._begin: int = first_frame
        """The first frame of the shot that the next border ends."""
        self._held: Border | None = None
        self._beaten: list[Border] = []
        """Those that gave way to the one held; it may turn out to be too close to the end."""

    def push(self, boundaries: list[Boundary], certain: int) -> Iterator[Border]:
        """Take the next boundaries. No further one begins before the frame `certain`, and the
        times of all frames before that, and of those boundaries, are known."""
        for boundary in boundaries:
            border = self._border(boundary)
            if not self._shortest:
                yield border
                continue
            held = self._held
            if held is None:
                if self._fits(self._begin, border.out):
                    self._held = border
            elif self._fits(held.into, border.out):
                yield self._release(held)
                self._held = border
            elif boundary.confidence > held.boundary.confidence:
                self._beaten.append(held)
                self._held = border
        held = self._held
        # The next frame that a border may end a shot with is not known to be later than this.
        if held is not None and self._lasts(held.into, certain - 1):
            yield self._release(held)
            self._held = None

    def finish(self, end: int) -> Iterator[Border]:
        """The border that only the end makes certain; `end` is its time in ticks."""
        if self._held is None:
            return
        for border in (self._held, *reversed(self._beaten)):
            if end - self._time_of(border.into) >= self._shortest:
                yield self._release(border)
                return

    def _release(self, border: Border) -> Border:
        self._begin, self._beaten = border.into, []
        return border

    def _fits(self, begin: int, end: int) -> bool:
        """Whether a shot of the frames [begin, end) is long enough, or there is none."""
        return end <= begin or self._lasts(begin, end)

    def _lasts(self, begin: int, end: int) -> bool:
        return end > begin and self._time_of(end) - self._time_of(begin) >= self._shortest

    def _border(self, boundary: Boundary) -> Border:
        start, end = boundary.start, boundary.end
        match self._policy:
            case BorderPolicy.START:
                return Border(start, start, boundary)
            case BorderPolicy.END:
                return Border(end, end, boundary)
            case BorderPolicy.DROP:
                return Border(start, end, boundary)
            case BorderPolicy.MIDDLE:
                return Border(boundary.middle, boundary.middle, boundary)
