"""Fades through black, white or another plain colour, and whatever else stands between shots as
a plain picture."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.media.detection.boundary import Kind
from reelsplit_server.media.detection.distances import distance_of
from reelsplit_server.media.detection.frames import HALF, Bytes, Floats, Frames, Sums
from reelsplit_server.media.detection.matching import match_pictures
from reelsplit_server.media.detection.transitions import Change
from reelsplit_server.media.detection.tuning import Tuning

REACH = 40
"""Strides that a fade out or in may take."""

_PLAIN = 2.5
"""The luma spread below which a picture is plain whatever is around it."""
_NEARLY_PLAIN = 9.0
"""The spread below which it is where the shots on both sides show much more."""

_SHARE = 0.22
"""A plain picture has at most this share of the luma spread of the shots around it."""
_RISE = 1.01
"""By how much the spread grows from frame to frame while a fade goes on."""
_SUDDEN = 0.7
"""The share of a shot's spread that is not there at once in a fade."""
_PAUSE = 2
"""Frames that it may stand still in between."""
_SAME = 0.42
"""The distance below which the shots on both sides are one."""
_ALIKE, _UNLIKE = 0.75, 0.6
"""The match above which they are, brighter or darker, and the distance up to which they can be:
black bars match whatever they frame."""
_LONGEST_OPENING = 12
"""Strides of a plain picture at the beginning that are no shot."""
_STANDING = 25
"""Strides from which on a plain picture belongs to the shot before: the new one begins behind it,
in place of the middle."""
_DARK, _BRIGHT = 60.0, 170.0
"""Hardly anything fades to a plain picture between these: mostly what there was has gone from
before a wall or a sky."""


@dataclass(slots=True)
class _Run:
    """Plain frames in a row."""

    start: int
    fade_start: int
    """The first frame that is not purely the shot before."""
    before: tuple[Bytes, Bytes, Sums] | None
    """Planes, histogram and half-size luma of the last frame of the shot before; None where the
    video began plain."""
    spread: float
    """That frame's luma spread."""
    level: float
    least: float
    """The lowest spread so far, and the mean luma there."""


class FadeTracker:
    """Follows plain frames from the video's beginning to its end."""

    def __init__(self, tuning: Tuning) -> None:
        self._reach = REACH * tuning.stride
        self._longest_opening = _LONGEST_OPENING * tuning.stride
        self._standing = _STANDING * tuning.stride
        self._run: _Run | None = None
        self.opening_end: int | None = None
        """The first frame that shows something, where a few plain ones come before it at the
        very beginning: no shot begins there."""

    @property
    def open_since(self) -> int | None:
        """Where the fade that is going on began."""
        return self._run.fade_start if self._run is not None else None

    def look(self, frames: Frames, number: int) -> Change | None:
        """Look at the next frame, with `REACH` strides known before and behind it where there
        are as many. Answers the fade that ends with this frame's plain run."""
        spread = float(frames.spread[number - frames.first])
        run = self._run
        if spread < _PLAIN or spread < min(_NEARLY_PLAIN, _SHARE * self._shown(frames, number)):
            if run is None:
                self._run = self._begin(frames, number)
            elif spread < run.least:
                run.least, run.level = spread, float(frames.mean[number - frames.first])
            return None
        if run is None:
            return None
        self._run = None
        return self._end(frames, run, number)

    def _shown(self, frames: Frames, number: int) -> float:
        """The luma spread that both sides of a frame reach within a fade's length."""
        at = number - frames.first
        before = frames.spread[max(0, at - self._reach) : at]
        after = frames.spread[at + 1 : at + 1 + self._reach]
        return float(min(before.max(initial=0.0), after.max(initial=0.0)))

    def _begin(self, frames: Frames, number: int) -> _Run:
        spread = frames.spread
        at = number - frames.first
        before = at - 1 - _climb(spread[max(0, at - self._reach) : at][::-1])
        level, least = float(frames.mean[at]), float(spread[at])
        if before < 0:
            return _Run(number, number, None, 0.0, level, least)
        kept = (
            frames.planes[before].copy(),
            frames.histograms[before].copy(),
            frames.halves[before].copy(),
        )
        fade_start = frames.first + before + 1
        return _Run(number, fade_start, kept, float(spread[before]), level, least)

    def _end(self, frames: Frames, run: _Run, number: int) -> Change | None:
        if run.before is None:
            if number - run.start <= self._longest_opening:
                self.opening_end = number
            return None
        spread = frames.spread
        at = number - frames.first
        after = at + _climb(spread[at : at + self._reach])
        least = min(run.spread, float(spread[after]))
        if run.least > _SHARE * least:
            return None
        planes, histogram, half = run.before
        apart = distance_of((planes, histogram), (frames.planes[after], frames.histograms[after]))
        if number - run.start < 2 * self._reach:
            alike = match_pictures(half.reshape(HALF), frames.half(frames.first + after))
            if apart < _SAME or (apart < _UNLIKE and alike > _ALIKE):
                return None
        kind = Kind.FADE_WHITE if run.level > _BRIGHT else Kind.FADE_BLACK
        # The plainer and the more different both sides are, the surer.
        odds = 3.0 * (1.0 - run.least / (_SHARE * least)) + 3.0 * min(1.0, apart)
        # Between two cuts it is a pause: what counts is where the new shot begins.
        coloured = _DARK < run.level < _BRIGHT
        begun, ended = run.fade_start == run.start, after == at
        start, end = run.fade_start, frames.first + after
        standing = number - run.start >= self._standing
        sharp = start if begun else end if ended else number if standing else None
        pause = ended and (begun or coloured)
        return Change(kind, start, end, odds, sharp=sharp, told_as_cut=pause)


def _climb(spread: Floats) -> int:
    """Where the rise of the spread from the first value on ends; standing still for a moment
    does not end it. 0 where most of it is there at once, as after a cut."""
    best = 0
    for at in range(1, len(spread)):
        if spread[at] > spread[best] * _RISE:
            best = at
        elif at - best > _PAUSE:
            break
    return best if len(spread) and spread[0] < _SUDDEN * spread[best] else 0
