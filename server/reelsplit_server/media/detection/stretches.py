"""The stretches of a source that are scanned one by one, each entered at a key frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.index import Samples, SourceIndex
from reelsplit_server.media.probe import VideoFacts

#: Pixels decoded in a stretch: about two seconds of one core's work.
_WORK = 800_000_000
#: Frames in a stretch: what is seen of them is held in memory and on disk.
_MOST_FRAMES = 1500
#: The first stretches, as parts of the others: the first boundaries are wanted soon.
_FIRST = (Fraction(1, 8),) * 8 + (Fraction(1, 4),) * 4 + (Fraction(1, 2),) * 2
#: Towards the end, a stretch is such a share of what is left, and not less than such a part of the
#: others: those who share the work are done at about the same time.
_LEFT, _LEAST = Fraction(1, 8), Fraction(1, 8)


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart the key frames of a whole source are."""

    longest: int
    """Ticks from one to the next, at most."""
    longs: int
    """How often it is that long."""
    early: int
    """How often it is clearly less."""
    count: int
    """How often one follows another."""
    watched: bool
    """Whether the encoder looked for changes of shot and put some of them there."""
    limited: bool
    """Whether it allowed no more than the longest, so that this one is no chance."""

    @staticmethod
    def of(index: SourceIndex) -> Spacing:
        """Of all key frames of a source."""
        gaps = np.diff(index.keys)
        longest = int(gaps.max(initial=0))
        longs = int((gaps > _LONG * longest).sum())
        early = int((gaps < _EARLY * longest).sum())
        watched, limited = early > _WATCHED * len(gaps), longs >= _LONGS
        note = index.note
        if note is not None and index.firsts is not None and index.samples is not None:
            firsts = np.append(index.firsts, len(index.samples.pts))
            # Where groups are longer than it says, the note is not of these packets.
            most = int(np.diff(firsts).max())
            if note.watched and most <= note.most:
                watched, limited = True, limited or most == note.most
        return Spacing(longest, longs, early, len(gaps), watched, limited)

    def is_early(self, gap: int) -> bool:
        """Whether a key frame came clearly sooner than the encoder had to put it."""
        return gap < _EARLY * self.longest

    def is_long(self, gap: int) -> bool:
        """Whether it came as late as any."""
        return gap > _LONG * self.longest


#: Shares of the longest gap; times between frames may vary.
_LONG, _EARLY = 0.99, 0.9
#: Encoders that look for changes of shot put more than this share of their key frames there.
_WATCHED = 0.2
#: So many gaps between key frames as long as the longest are no chance: the encoder allows no more.
_LONGS = 4
NO_SPACING = Spacing(0, 0, 0, 0, watched=False, limited=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Frames shown in [low, high), in ticks of the source's video."""

    number: int
    """Its place among the stretches, from 0."""
    entry: int | None
    """When the key frame is shown at which decoding begins, at or before `low`; None for the
    beginning of the file."""
    low: int | None
    """None for whatever comes out first."""
    high: int | None
    """None for the end of the source."""
    cut: bool = False
    """Whether `high` is the end of the analysed part, and no key frame."""
    pts: NDArray[np.int64] | None = None
    """Shape (frames,): when each of its frames is shown, where the index tells."""
    samples: Samples | None = None
    """The packets of all stretches, where the index tells of single ones."""
    packets: tuple[int, int] = (0, 0)
    """Which of them lie from the entry up to the next stretch's: the place of the first, and the
    one behind the last."""
    place: tuple[int, int | None] = (0, None)
    """The bytes of the file in which its packets lie: where they begin and where they stop, None
    for the end of the file. Some packets behind are read, too."""
    spacing: Spacing = NO_SPACING


def borders(keys: Sequence[int], pixels: int, rate: Fraction, base: Fraction) -> Iterator[int]:
    """Which of the key frames begin a stretch: indexes into `keys`, rising, the first is 0.

    `keys` are rising ticks of `base` seconds, `pixels` those of a picture, `rate` the frames a
    second. The answer depends on these alone, never on who works on the stretches.
    """
    frames = max(1, min(_MOST_FRAMES, _WORK // max(1, pixels)))
    count = last = 0
    wanted = Fraction(0)
    for place, key in enumerate(keys):
        if (key - keys[last]) * base * rate < wanted:
            continue
        yield place
        share = _FIRST[count] if count < len(_FIRST) else Fraction(1)
        left = (keys[-1] - key) * base * rate
        wanted = min(frames * share, max(_LEFT * left, frames * _LEAST))
        count, last = count + 1, place


def plan_stretches(
    index: SourceIndex, video: VideoFacts, low: int | None, high: int | None
) -> list[Stretch]:
    """The stretches of the part of a source that is shown in [low, high), in ticks; None is its
    beginning and its end. There is at least one."""
    stop = len(index.keys) if high is None else int(np.searchsorted(index.keys, high))
    first = 0
    if low is not None:
        first = max(0, int(np.searchsorted(index.keys[:stop], low, side="right")) - 1)
    rate = video.frame_rate or Fraction(25)
    pixels = video.width * video.height
    keys = index.keys[first:stop].tolist()
    begins = [first + place for place in borders(keys, pixels, rate, video.time_base)] or [0]
    spacing = Spacing.of(index)
    return [
        _stretch(index, number, begin, following, low if number == 0 else None, high, stop, spacing)
        for number, (begin, following) in enumerate(zip_longest(begins, begins[1:]))
    ]


def _stretch(
    index: SourceIndex,
    number: int,
    begin: int,
    following: int | None,
    low: int | None,
    high: int | None,
    stop: int,
    spacing: Spacing,
) -> Stretch:
    """The stretch from the key frame `begin` up to the one `following`, both places in the index;
    the first one may begin late, at `low`, and the last one end early, at `high`, before the key
    frame `stop`."""
    behind = stop if following is None else following
    # What comes before the first key frame of all belongs to it, if anything of that comes out.
    entry = int(index.keys[begin]) if begin else None
    bottom = entry if low is None else low
    top = high if following is None else int(index.keys[following])
    pts = index.pts
    if pts is not None:
        start = 0 if bottom is None else np.searchsorted(pts, bottom)
        pts = pts[start : len(pts) if top is None else np.searchsorted(pts, top)]
    packets = (0, 0)
    if index.samples is not None and index.firsts is not None:
        last = len(index.samples.pts) if behind == len(index.firsts) else int(index.firsts[behind])
        packets = (int(index.firsts[begin]) if begin else 0, last)
    return Stretch(
        number=number,
        entry=entry,
        low=bottom,
        high=top,
        cut=following is None and high is not None,
        pts=pts,
        samples=index.samples,
        packets=packets,
        place=(
            int(index.places[begin]) if begin else 0,
            int(index.places[behind]) if behind < len(index.places) else None,
        ),
        spacing=spacing,
    )
