"""Looking at a group of pictures that is in doubt, at no more frames than it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.distances import distance
from reelsplit_server.media.detection.fast_decoding import Enough, Glance
from reelsplit_server.media.detection.fast_groups import Group
from reelsplit_server.media.detection.frames import Frames, flat
from reelsplit_server.media.detection.strip import Strip
from reelsplit_server.media.detection.thumbs import StripBuilder, Thumb

#: With more anchors than this share of the frames, it is as cheap to look at all of them.
_MOST_ANCHORS = 0.6
#: Frames looked at that are further apart than this, and so many times further than their
#: neighbours are, have those between them looked at.
_STEP, _STEP_RATIO = 0.3, 1.8
#: The same where the encoder would have put a picture of its own at a cut.
_STEP_WATCHED = 0.8
#: Beside a step to the very next frame, this share of it is enough.
_BESIDE = 0.25
#: Neighbours on each side that a step is compared with.
_AROUND = 3


def look(
    glance: Glance,
    group: Group,
    following: Thumb | None,
    pause: Callable[[], None],
    *,
    watched: bool,
    eventful: bool,
    enough: Enough,
) -> Strip | None:
    """All frames of a group; those that were left out are mixtures of the ones around them.
    `following` is the next key frame, None where there is none. `watched`: the encoder looks for
    changes of shot; `eventful`: there is likely to be one, so that all frames would be wanted in
    the end. Where frames are `enough`, those after them are left. None where the group cannot be
    decoded by itself."""
    anchors = group.coded.packets[group.coded.anchors]
    if eventful or not glance.can_skip or len(anchors) > _MOST_ANCHORS * len(group.pts):
        found = glance.frames(group, None, pause, enough)
        return None if found is None else _filled(group, found, None, left=True)
    wanted = set(anchors[anchors >= group.pts[0]].tolist()) & set(group.pts.tolist())
    found = glance.frames(group, wanted, pause, enough) if wanted else None
    left = found is not None and max(found) < max(wanted)
    if left:
        following = None
    if found is not None:
        missing = _missing(group, found, following, _STEP_WATCHED if watched else _STEP)
        if missing:
            latest = max(missing)
            more = glance.frames(group, missing | {pts for pts in wanted if pts < latest}, pause)
            found = None if more is None else {**more, **found}
    if found is None:
        found = glance.frames(group, None, pause)
    return None if found is None else _filled(group, found, following, left=left)


def apart(one: Thumb, other: Thumb) -> float:
    """The distance of two frames."""
    return float(_steps((one, other))[0])


def _steps(thumbs: Sequence[Thumb]) -> NDArray[np.float32]:
    """The distance of each frame to the next: shape (frames - 1,)."""
    strip = StripBuilder()
    for number, thumb in enumerate(thumbs):
        strip.add(number, thumb)
    frames = Frames(0)
    frames.append(flat(strip.take()))
    after = np.arange(1, len(thumbs))
    return distance(frames, after - 1, after)


def _missing(
    group: Group, found: Mapping[int, Thumb], following: Thumb | None, least: float
) -> set[int]:
    """The ticks of frames that were left out and at which something may happen, as between some
    that are at least so far apart."""
    known = np.searchsorted(group.pts, sorted(found)).tolist()
    thumbs = [found[int(group.pts[number])] for number in known]
    if following is not None:
        known.append(len(group.pts))
        thumbs.append(following)
    steps, gaps = _steps(thumbs), np.diff(known)
    missing: set[int] = set()
    for place, (step, gap) in enumerate(zip(steps.tolist(), gaps.tolist(), strict=True)):
        near = slice(max(0, place - _AROUND), place + _AROUND + 1)
        around = np.delete(steps[near], min(place, _AROUND))
        usual = float(np.median(around)) if len(around) else 0.0
        alone = step > max(least, _STEP_RATIO * usual)
        # A step from frame to frame looks like a cut where the ones beside it are spread out.
        sudden = float((steps[near] * (gaps[near] == 1)).max(initial=0.0))
        if gap > 1 and (alone or (sudden > _STEP and step > _BESIDE * sudden)):
            missing.update(group.pts[known[place] + 1 : known[place + 1]].tolist())
    return missing


def _mixed(share: float, before: Thumb, after: Thumb) -> Thumb:
    """A frame between two others."""
    y, u, v = (
        np.rint((1 - share) * a + share * b.astype(np.float32)).astype(np.uint8)
        for a, b in zip(before, after, strict=True)
    )
    return y, u, v


def _filled(
    group: Group, found: Mapping[int, Thumb], following: Thumb | None, *, left: bool = False
) -> Strip:
    """All frames of the group in a row; without those behind the last that was found, where these
    were `left`."""
    strip = StripBuilder(group.first)
    times = group.pts.tolist()
    known = [number for number, pts in enumerate(times) if pts in found]
    before = found[times[known[0]]]
    place = 0
    for number, pts in enumerate(times):
        if pts in found:
            before = found[pts]
            place += known[place] == number
            strip.add(pts, before)
            if place == len(known) and left:
                break
            continue
        last = known[place - 1] if place else number - 1
        ahead = known[place] if place < len(known) else len(times)
        after = found[times[ahead]] if ahead < len(times) else following
        if after is None:
            after = before
        strip.add(pts, _mixed((number - last) / (ahead - last), before, after))
    return strip.take()
