"""The fast effort: key frames first, then only what is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np

from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.effort import Scanned, Seeker
from reelsplit_server.media.detection.fast_decoding import Glance
from reelsplit_server.media.detection.fast_doubt import Ends, Verdict, is_nearly_even, judge
from reelsplit_server.media.detection.fast_groups import Group, groups_of
from reelsplit_server.media.detection.fast_look import apart, look
from reelsplit_server.media.detection.fast_packets import Packets, holds_intra, read_packets
from reelsplit_server.media.detection.fast_seeker import FastSeeker, OnScores
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.scanning import scan_all
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.thumbs import StripBuilder, Thumb
from reelsplit_server.media.shot_settings import OwnSettings

#: The luma spread, and its share of the other one's, below which a key frame is nearly of one
#: colour.
_PLAIN, _PLAINER = 10.0, 0.3
#: Encoders that look for changes of shot put more than this share of their key frames there.
_WATCHED = 0.2
#: So many gaps between key frames as long as the longest are no chance: the encoder allows no more.
_LONGS = 4
#: With fewer frames in the longest group of a source, all of them are looked at.
_SHORTEST = 8
#: A sensitivity of 0 asks for distances so many times as large as one of 0.5 does.
_STRICTEST = 1.6


class Fast:
    """An `Effort` that believes an encoder which looks for changes of shot, as far as the sizes of
    its packets and the kinds of its pictures agree with it, and decodes the rest: in part where
    that is enough. What is decoded of a group of pictures, and what is believed of it, depends on
    that group, on its two key frames, and on figures of the whole index."""

    dense = False

    def __init__(self, settings: OwnSettings, rate: Fraction, on_scores: OnScores | None) -> None:
        """`rate` is the source's frames a second."""
        self._settings, self._rate, self._on_scores = settings, rate, on_scores
        self._strictness = _STRICTEST ** (1 - 2 * settings.sensitivity)

    def seeker(self) -> Seeker:
        """See `Effort.seeker`."""

        def new_finder(on_scores: OnScores) -> RuleFinder:
            return RuleFinder(
                rate=self._rate,
                sensitivity=self._settings.sensitivity,
                footage=self._settings.footage,
                on_scores=None if self._on_scores is None else on_scores,
            )

        return FastSeeker(new_finder, self._on_scores)

    def scan(self, reel: Reel, stretch: Stretch, pause: Callable[[], None]) -> Scanned:
        """See `Effort.scan`. What is neither decoded nor read is not known to be sound."""
        if stretch.cut or stretch.spacing.longest < _SHORTEST * reel.step:
            return scan_all(reel, stretch, pause)
        known = read_packets(reel, stretch, pause)
        groups = [] if known is None else list(groups_of(stretch, known.samples, known.pts))
        found = None if known is None else self._scanned(reel, stretch, groups, known, pause)
        return scan_all(reel, stretch, pause) if found is None else found

    def _scanned(
        self,
        reel: Reel,
        stretch: Stretch,
        groups: list[Group],
        known: Packets,
        pause: Callable[[], None],
    ) -> Scanned | None:
        """None where something is not as the packets say."""
        if not groups or groups[0].first or groups[-1].stop != len(known.pts):
            return None
        glance = Glance(reel)
        keys = [glance.key_frame(group.entry) if group.begun else None for group in groups]
        last = groups[-1]
        keys.append(glance.key_frame(last.high) if last.ended else None)
        strips: list[Strip] = []
        boundaries: list[Boundary] = []
        for group, (key, following) in zip(groups, pairwise(keys), strict=True):
            verdict = self._judge(reel, stretch, group, key, following)
            if verdict is Verdict.DOUBT or key is None:
                watched, sizes = _watched(stretch), group.measure()
                eventful = not watched and (sizes is None or not is_nearly_even(sizes))
                strip = look(glance, group, following, pause, watched=watched, eventful=eventful)
            else:
                strip = _single(group, key)
            if strip is None:
                return None
            strips.append(strip)
            if verdict is Verdict.CUT and key is not None and following is not None:
                boundaries.append(_cut(group.stop, apart(key, following)))
        return Scanned(
            pts=known.pts,
            strips=tuple(strips),
            boundaries=tuple(boundaries),
            end=stretch.high,
            last_duration=glance.duration,
        )

    def _judge(
        self,
        reel: Reel,
        stretch: Stretch,
        group: Group,
        key: Thumb | None,
        following: Thumb | None,
    ) -> Verdict:
        if key is None or following is None or group.high is None:
            return Verdict.DOUBT
        spacing, length = stretch.spacing, group.high - int(group.pts[0])
        spreads = sorted((float(key[0].std()), float(following[0].std())))
        ends = Ends(
            apart=apart(key, following),
            free=spacing.is_early(length),
            watched=_watched(stretch),
            due=spacing.is_long(length) and spacing.longs >= _LONGS,
            plain=spreads[0] < max(_PLAIN, _PLAINER * spreads[1]),
        )
        sizes = group.measure()
        verdict = judge(ends, sizes, strictness=self._strictness)
        if verdict is Verdict.UNSURE:
            intra = holds_intra(reel, group)
            verdict = judge(ends, sizes, strictness=self._strictness, asked=True, intra=intra)
        return verdict


def _watched(stretch: Stretch) -> bool:
    """Whether the encoder looked for changes of shot, as key frames that came early tell."""
    spacing = stretch.spacing
    return spacing.early > _WATCHED * spacing.count


def _single(group: Group, key: Thumb) -> Strip:
    strip = StripBuilder(group.first)
    strip.add(int(group.pts[0]), key)
    return strip.take()


def _cut(number: int, distance: float) -> Boundary:
    confidence = float(np.clip(distance / (distance + 0.4), 0, 1))
    return Boundary(kind=Kind.CUT, start=number, end=number, confidence=confidence)
