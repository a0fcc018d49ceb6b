"""What is known of a stretch's packets before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.detection.fast_groups import Group
from reelsplit_server.media.detection.fast_slices import is_intra
from reelsplit_server.media.detection.index import Samples
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.packet_view import is_hidden, nal_width

#: Packets in a stretch: an index that promises more key frames than come must not fill the memory.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packets:
    """The packets of a stretch."""

    samples: Samples
    """In the order of decoding."""
    pts: NDArray[np.int64]
    """Shape (frames,): when its frames are shown, in ticks, strictly increasing."""


def read_packets(reel: Reel, stretch: Stretch, pause: Callable[[], None]) -> Packets | None:
    """The packets of a stretch: from the index, where that tells of single ones, else they are
    read, and not decoded. None where something is wrong with them."""
    pts = stretch.pts
    leading: list[int] = []
    if stretch.samples is None:
        samples = _read(reel, stretch, leading, pause)
    else:
        samples = stretch.samples[slice(*stretch.packets)]
    if samples is None or not len(samples.pts):
        return None
    if pts is None:
        low = int(samples.pts[0]) if stretch.low is None else stretch.low
        pts = np.sort(np.append(samples.pts[samples.shown], leading).astype(np.int64))
        stop = len(pts) if stretch.high is None else np.searchsorted(pts, stretch.high)
        pts = pts[np.searchsorted(pts, low) : stop]
    if not len(pts) or np.any(np.diff(pts) <= 0):
        return None
    return Packets(samples=samples, pts=pts)


def last_intra(reel: Reel, group: Group) -> int | None:
    """When the last picture of a group is shown that leans on no other, in ticks; the key frame is
    one. None where that is not told. The group's packets are read, not decoded."""
    damage = Damage()
    packets = reel.enter(group.entry, damage)
    if packets is None:
        return None
    codec, width = reel.stream.codec_context.codec.canonical_name, nal_width(reel.stream)
    last: int | None = None
    for packet in packets:
        if packet.pts is None:
            return None
        if group.high is not None and packet.pts >= group.high:
            break
        intra = is_intra(codec, bytes(packet), width)
        if intra is None:
            return None
        if intra:
            last = packet.pts
    return None if damage.count else last


def shown_for(reel: Reel, group: Group) -> int:
    """Ticks that the last frame of a group is shown for. Packets are read, not decoded."""
    for packet in reel.enter(group.entry, Damage()) or ():
        if packet.pts == group.pts[-1]:
            return packet.duration or reel.step
    return reel.step


def _read(
    reel: Reel, stretch: Stretch, leading: list[int], pause: Callable[[], None]
) -> Samples | None:
    """The packets before the next stretch's; `leading` gets when those are shown that are decoded
    after its key frame and shown before."""
    damage = Damage()
    packets = reel.enter(stretch.entry, damage)
    if packets is None:
        return None
    codec = reel.stream.codec_context.codec.canonical_name
    rows: list[tuple[int, int, bool, bool]] = []
    high, behind = stretch.high, False
    for packet in packets:
        pause()
        if packet.pts is None or packet.is_corrupt or len(rows) == _MOST:
            return None
        if high is not None and packet.pts >= high:
            if behind:
                break
            behind = packet.is_keyframe
        shown = not packet.is_discard and not is_hidden(codec, memoryview(packet))
        if behind:
            if high is not None and packet.pts < high and shown and len(leading) < _MOST:
                leading.append(packet.pts)
            continue
        rows.append((packet.pts, packet.size, packet.is_keyframe, shown))
    if damage.count or not rows:
        return None
    return Samples(
        pts=np.array([row[0] for row in rows], np.int64),
        sizes=np.array([row[1] for row in rows], np.int64),
        keys=np.array([row[2] for row in rows], np.bool_),
        shown=np.array([row[3] for row in rows], np.bool_),
    )
