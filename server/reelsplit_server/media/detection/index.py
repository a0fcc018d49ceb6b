"""Where a source can be entered, as its own index says: key frames, and more if it tells more."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.declared import missing_bytes
from reelsplit_server.media.detection.encoder_note import EncoderNote
from reelsplit_server.media.ebml import OddLayout
from reelsplit_server.media.matroska import Matroska
from reelsplit_server.media.mp4_index import read_mp4_index
from reelsplit_server.media.packet_view import counts_packets, is_trusted_codec
from reelsplit_server.media.probe import SourceFacts

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Packets in decoding order, as an index tells of them. All arrays have shape (packets,)."""

    pts: NDArray[np.int64]
    """Ticks: when each is shown."""
    sizes: NDArray[np.int64]
    """Bytes."""
    keys: NDArray[np.bool_]
    """Whether the index calls it a key frame."""
    shown: NDArray[np.bool_]
    """False for what an edit list hides."""

    def __getitem__(self, part: slice) -> Samples:
        return Samples(
            pts=self.pts[part],
            sizes=self.sizes[part],
            keys=self.keys[part],
            shown=self.shown[part],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceIndex:
    """Key frames in the order in which they are shown. What it tells is a hint: whoever enters
    at one finds out whether it is true."""

    keys: Ints
    """Shape (keys,): ticks, strictly increasing."""
    places: Ints
    """Shape (keys,): bytes from the start of the file at which the packets begin that are read
    from each key frame on."""
    pts: Ints | None = None
    """Shape (frames,): ticks of all presented frames, where each packet is known to be one."""
    samples: Samples | None = None
    """All packets, where the index tells of single ones."""
    firsts: Ints | None = None
    """Shape (keys,): the place of each key frame among the samples."""
    note: EncoderNote | None = None
    """What the encoder says of itself, where the index tells where."""


def read_index(file: BinaryIO, facts: SourceFacts) -> SourceIndex | None:
    """What the index of an MP4, MOV, Matroska or WebM file tells; the file's position is not kept.

    None for other files, where there is no index that makes sense, and where packets may not be
    frames: then all that helps is to decode from the beginning.
    """
    if not is_trusted_codec(facts.video.codec) or missing_bytes(file):
        return None
    match facts.container:
        case "mp4" | "mov":
            found = _of_mp4(file, facts)
        case "matroska" | "webm":
            found = _of_matroska(file, facts)
        case _:
            return None
    return found if found is not None and len(found.keys) else None


def _of_mp4(file: BinaryIO, facts: SourceFacts) -> SourceIndex | None:
    video = facts.video
    index = read_mp4_index(file, video.track)
    if index is None or index.time_base != video.time_base:
        return None
    # Whatever is decoded before a key frame must be shown before it, too.
    latest = np.maximum.accumulate(index.pts)
    after_all = np.concatenate(([True], index.pts[1:] > latest[:-1]))
    firsts = np.flatnonzero(index.keys & index.shown & after_all & (index.pts >= video.start_pts))
    samples = Samples(pts=index.pts, sizes=index.sizes, keys=index.keys, shown=index.shown)
    # Packets lie in the order of decoding, or nearly so.
    from_here = np.minimum.accumulate(index.positions[::-1])[::-1]
    pts: Ints | None = None
    if counts_packets(video.codec):
        pts = np.sort(index.pts[index.shown])
        pts = pts[np.searchsorted(pts, video.start_pts) :]
        if not len(pts) or pts[0] != video.start_pts or np.any(np.diff(pts) <= 0):
            return None
    return SourceIndex(
        keys=index.pts[firsts],
        places=from_here[firsts],
        pts=pts,
        samples=samples,
        firsts=firsts,
        note=EncoderNote.read(file, int(index.positions[0]), int(index.sizes[0])),
    )


def _of_matroska(file: BinaryIO, facts: SourceFacts) -> SourceIndex | None:
    try:
        layout = Matroska.read(file)
    except OddLayout:
        return None
    if facts.video.stream >= len(layout.streams):
        return None
    track = layout.streams[facts.video.stream]
    cues = layout.cues.get(track, [])
    if not layout.plain[track] or facts.video.time_base != Fraction(layout.scale, 10**9):
        return None
    times: list[int] = []
    places: list[int] = []
    for cue in cues:
        if times and (cue.time <= times[-1] or cue.cluster < places[-1]):
            if cue.time == times[-1] and cue.cluster == places[-1]:
                continue
            # Files joined end to end: one time leads to two places.
            return None
        times.append(cue.time)
        places.append(cue.cluster)
    keys = np.array(times, np.int64)
    real = keys >= facts.video.start_pts
    return SourceIndex(keys=keys[real], places=np.array(places, np.int64)[real])
