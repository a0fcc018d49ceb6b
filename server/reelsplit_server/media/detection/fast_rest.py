"""Whether the rest of a group of pictures needs no look, once its beginning was looked at."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from reelsplit_server.media.detection.fast_doubt import Ends, Verdict, judge
from reelsplit_server.media.detection.fast_groups import Group
from reelsplit_server.media.detection.fast_look import apart
from reelsplit_server.media.detection.thumbs import Thumb

#: The luma spread, and its share of the other one's, below which a frame is nearly of one colour.
_PLAIN, _PLAINER = 10.0, 0.3
#: Frames that are looked at behind the last one that is in doubt.
_BEHIND = 12
#: Fewer than these are looked at, too: the next key frame is judged beside the last one then. The
#: second number is for groups that begin with a picture of one colour.
_FEWEST, _FEWEST_BLANK = 32, 64
SHORTEST = _BEHIND + _FEWEST + 1
"""Frames of the shortest group that can be left in the middle."""

#: What has begun must be over: packets must be so many times calmer than those of a group that
#: nobody looks at.
_CALMER, _CALMER_BLANK = 2.0, 4.0
#: Frames some way apart that are less distant than this are of a shot that has come to rest.
_RESTING = 0.15


class Rest:
    """Judges what is left of a group, by the latest frame and the next key frame."""

    def __init__(
        self, group: Group, ends: Ends, following: Thumb | None, *, strictness: float
    ) -> None:
        """`ends` are those of the whole group; `following` is the next key frame, None where the
        source ends."""
        self._group, self._ends, self._following = group, ends, following
        self._strictness = strictness
        self._calmer = _CALMER_BLANK if ends.plain else _CALMER
        self._last = len(group.pts) - (_FEWEST_BLANK if ends.plain else _FEWEST)
        self._curves = group.coded.curves(blank=ends.plain)
        self._intra: int | None = None
        self.verdict = Verdict.DOUBT
        self.apart = ends.apart
        """How far the latest frame was from the next key frame."""
        self._first = self._beginning()
        self._seen: deque[tuple[int, Thumb]] = deque()
        """The latest frames, by their numbers."""

    @property
    def hopeful(self) -> bool:
        """Whether there is a rest that its packets say nothing against."""
        return self._first is not None

    def ask(self, intra: int | None) -> None:
        """`intra`: when the last picture is shown that leans on no other, None where that is not
        told."""
        self._intra = intra

    def enough(self, pts: int, thumb: Thumb) -> bool:
        """Whether nothing behind this frame needs a look; the verdict is there then."""
        number = int(np.searchsorted(self._group.pts, pts))
        if self._first is None or not self._first <= number <= self._last:
            return False
        if self._ends.plain and not self._rests(number, thumb):
            return False
        following = thumb if self._following is None else self._following
        self.apart = apart(thumb, following)
        ends = replace(self._ends, apart=self.apart, plain=is_plain(thumb, following))
        self.verdict = self._judged(ends, number - _BEHIND, asked=True)
        return self.verdict is not Verdict.DOUBT

    def _rests(self, number: int, thumb: Thumb) -> bool:
        """Whether what has come up out of one colour is there, and changes little."""
        while len(self._seen) > 1 and self._seen[1][0] <= number - _BEHIND:
            self._seen.popleft()
        self._seen.append((number, thumb))
        first, before = self._seen[0]
        return first <= number - _BEHIND and apart(before, thumb) < _RESTING

    def _beginning(self) -> int | None:
        """The number of the first frame with which there may be enough, as far as packets tell;
        None where there is none."""
        if self._following is not None and float(self._following[0].std()) < _PLAIN:
            return None
        like = replace(self._ends, apart=0.0, plain=False)
        for number in range(_BEHIND, self._last + 1):
            if self._judged(like, number - _BEHIND, asked=False) is not Verdict.DOUBT:
                return number
        return None

    def _judged(self, ends: Ends, number: int, *, asked: bool) -> Verdict:
        """What is to be said of the frames behind this one."""
        pts = int(self._group.pts[number])
        sizes = None if self._curves is None else self._curves.after(pts)
        if sizes is None:
            return Verdict.DOUBT
        return judge(
            ends,
            replace(sizes, renewal=sizes.renewal * self._calmer),
            strictness=self._strictness,
            asked=asked,
            intra=None if self._intra is None else self._intra > pts,
            rest=True,
        )


def is_plain(one: Thumb, other: Thumb) -> bool:
    """Whether one of the two is nearly of one colour."""
    least, most = sorted((float(one[0].std()), float(other[0].std())))
    return least < max(_PLAIN, _PLAINER * most)
