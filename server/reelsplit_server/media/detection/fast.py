"""The fast effort: key frames first, then only what is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.effort import Scanned, Seeker
from reelsplit_server.media.detection.fast_decoding import Glance, never
from reelsplit_server.media.detection.fast_doubt import Ends, Verdict, is_nearly_even, judge
from reelsplit_server.media.detection.fast_groups import Group, groups_of
from reelsplit_server.media.detection.fast_look import apart, look
from reelsplit_server.media.detection.fast_packets import (
    Packets,
    last_intra,
    read_packets,
    shown_for,
)
from reelsplit_server.media.detection.fast_rest import SHORTEST, Rest, is_plain
from reelsplit_server.media.detection.fast_seeker import FastSeeker, OnScores
from reelsplit_server.media.detection.fast_surroundings import Surroundings
from reelsplit_server.media.detection.finder import RuleFinder
from reelsplit_server.media.detection.index import Samples
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.scanning import scan_all
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.thumbs import StripBuilder, Thumb
from reelsplit_server.media.shot_settings import OwnSettings

#: Where no key frame follows, packets must be so many times calmer.
_UNSEEN = 2.0
#: With fewer frames in the longest group of a source, all of them are looked at.
_SHORTEST = 8
#: With fewer groups in a source, its end is looked at: it is a large part of it.
_FEW = 10
#: A sensitivity of 0 asks for distances so many times as large as one of 0.5 does.
_STRICTEST = 1.6


class Fast:
    """An `Effort` that believes an encoder which looks for changes of shot, as far as the sizes of
    its packets and the kinds of its pictures agree with it, and decodes the rest: in part where
    that is enough. What is decoded of a group of pictures, and what is believed of it, depends on
    that group, on its two key frames, on the packets around, and on figures of the whole index."""

    dense = False

    def __init__(self, settings: OwnSettings, rate: Fraction, on_scores: OnScores | None) -> None:
        """`rate` is the source's frames a second."""
        self._settings, self._rate, self._on_scores = settings, rate, on_scores
        self._around: tuple[Samples, Surroundings] | None = None
        """Those of the latest source."""
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
        eventful = [self._is_eventful(stretch, group) for group in groups]
        found = None
        if known is not None and not all(eventful):
            found = self._scanned(reel, stretch, groups, eventful, known, pause)
        return scan_all(reel, stretch, pause) if found is None else found

    def _is_eventful(self, stretch: Stretch, group: Group) -> bool:
        """Whether so much happens in or around a group that all of it is looked at, whatever its
        key frames are."""
        if _is_uneven(stretch, group) and len(group.pts) < SHORTEST:
            return True
        if stretch.samples is None:
            return False
        if self._around is None or self._around[0] is not stretch.samples:
            self._around = stretch.samples, Surroundings(stretch.samples)
        key = int(group.coded.packets[0])
        return self._around[1].are_eventful(key, watched=stretch.spacing.watched)

    def _scanned(
        self,
        reel: Reel,
        stretch: Stretch,
        groups: list[Group],
        eventful: list[bool],
        known: Packets,
        pause: Callable[[], None],
    ) -> Scanned | None:
        """None where something is not as the packets say."""
        if not groups or groups[0].first or groups[-1].stop != len(known.pts):
            return None
        glance = Glance(reel)
        # Two key frames judge a group; where all of it is looked at, nothing judges it.
        asked = [not (one and other) for one, other in pairwise((eventful[0], *eventful))]
        keys = [
            glance.key_frame(group.entry) if group.begun and ask else None
            for group, ask in zip(groups, asked, strict=True)
        ]
        last = groups[-1]
        keys.append(glance.key_frame(last.high) if last.ended and not eventful[-1] else None)
        strips: list[Strip] = []
        boundaries: list[Boundary] = []
        for group, whole, (key, following) in zip(groups, eventful, pairwise(keys), strict=True):
            ends = None if whole else _ends(stretch, group, key, following)
            verdict, intra = self._judge(reel, group, ends)
            distance = 0.0 if ends is None else ends.apart
            if verdict is Verdict.DOUBT or key is None:
                rest = self._rest(reel, group, ends, following, intra)
                strip = look(
                    glance,
                    group,
                    following,
                    pause,
                    watched=stretch.spacing.watched,
                    eventful=whole or _is_uneven(stretch, group),
                    enough=never if rest is None else rest.enough,
                )
                if rest is not None:
                    verdict, distance = rest.verdict, rest.apart
            else:
                strip = _single(group, key)
            if strip is None:
                return None
            strips.append(strip)
            if verdict is Verdict.CUT:
                boundaries.append(_cut(group.stop, distance))
        unseen = not last.ended and strips[-1].stop < last.stop
        return Scanned(
            pts=known.pts,
            strips=tuple(strips),
            boundaries=tuple(boundaries),
            end=stretch.high,
            last_duration=shown_for(reel, last) if unseen else glance.duration,
        )

    def _judge(self, reel: Reel, group: Group, ends: Ends | None) -> tuple[Verdict, int | None]:
        """The verdict, and what `last_intra` told, if it was asked."""
        if ends is None:
            return Verdict.DOUBT, None
        sizes = group.coded.measure()
        if sizes is not None and not group.ended:
            sizes = replace(sizes, renewal=_UNSEEN * sizes.renewal)
        verdict, last = judge(ends, sizes, strictness=self._strictness), None
        if verdict is Verdict.UNSURE:
            last = last_intra(reel, group)
            intra = None if last is None else last > int(group.coded.packets[0])
            verdict = judge(ends, sizes, strictness=self._strictness, asked=True, intra=intra)
        return verdict, last

    def _rest(
        self,
        reel: Reel,
        group: Group,
        ends: Ends | None,
        following: Thumb | None,
        intra: int | None,
    ) -> Rest | None:
        """What tells when enough of a group was looked at; None where all of it is wanted."""
        if ends is None:
            return None
        rest = Rest(group, ends, following, strictness=self._strictness)
        if not rest.hopeful:
            return None
        rest.ask(last_intra(reel, group) if intra is None else intra)
        return rest


def _is_uneven(stretch: Stretch, group: Group) -> bool:
    """Whether the encoder looks for no changes, and the packets do not say that there is none:
    then all of a group is in doubt, if not left in the middle."""
    sizes = group.coded.measure()
    return not stretch.spacing.watched and (sizes is None or not is_nearly_even(sizes))


def _ends(
    stretch: Stretch, group: Group, key: Thumb | None, following: Thumb | None
) -> Ends | None:
    """None where one of the key frames cannot be had."""
    if key is None:
        return None
    if not group.ended:
        if stretch.spacing.count < _FEW:
            return None
        # What the end of the source hides is taken for the end of a shot that goes on.
        return Ends(
            apart=0.0,
            free=False,
            watched=stretch.spacing.watched,
            due=False,
            plain=is_plain(key, key),
        )
    if following is None or group.high is None:
        return None
    spacing, length = stretch.spacing, group.high - int(group.pts[0])
    due = spacing.is_long(length) and spacing.limited
    return Ends(
        apart=apart(key, following),
        # Where the encoder lets no group be longer, anything shorter was its own will.
        free=not due if spacing.limited else spacing.is_early(length),
        watched=stretch.spacing.watched,
        due=due,
        plain=is_plain(key, following),
    )


def _single(group: Group, key: Thumb) -> Strip:
    strip = StripBuilder(group.first)
    strip.add(int(group.pts[0]), key)
    return strip.take()


def _cut(number: int, distance: float) -> Boundary:
    confidence = float(np.clip(distance / (distance + 0.4), 0, 1))
    return Boundary(kind=Kind.CUT, start=number, end=number, confidence=confidence)
