"""Stretches and what was seen of them as bytes, for the workers that share a source.

What is read was written by another process that hostile media may have taken over: whatever does
not make sense is refused with a `ValueError`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.index import Samples
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.stretches import Spacing, Stretch
from reelsplit_server.media.detection.strip import CHROMA, LUMA, Strip

_MOST_HEAD = 1 << 24
_NONE = Samples(
    pts=np.empty(0, np.int64),
    sizes=np.empty(0, np.int64),
    keys=np.empty(0, np.bool_),
    shown=np.empty(0, np.bool_),
)


def pack_plan(file: BinaryIO, view: View, stretches: Sequence[Stretch]) -> None:
    """Write how a source is looked at, and its stretches."""
    head = {
        "view": [view.width, view.height, str(view.rate), view.crop, view.downscale],
        "stretches": [
            [
                *(each.entry, each.low, each.high, each.cut, each.place),
                list(astuple(each.spacing)),
                None if each.pts is None else len(each.pts),
                None if each.samples is None else each.packets,
            ]
            for each in stretches
        ],
    }
    _put_head(file, head)
    times = [each.pts for each in stretches if each.pts is not None]
    _put(file, np.concatenate(times) if times else np.empty(0, np.int64))
    samples = next((each.samples for each in stretches if each.samples is not None), _NONE)
    for part in (samples.pts, samples.sizes, samples.keys, samples.shown):
        _put(file, part)


def unpack_plan(file: BinaryIO) -> tuple[View, list[Stretch]]:
    """Read what `pack_plan` wrote. Raises `ValueError`."""
    try:
        head = _head(file)
        width, height, rate, crop, downscale = head["view"]
        view = View(
            width=width,
            height=height,
            rate=Fraction(rate),
            crop=None if crop is None else tuple(crop),
            downscale=downscale,
        )
        times = _array(file, np.int64)
        samples = Samples(
            pts=_array(file, np.int64),
            sizes=_array(file, np.int64),
            keys=_array(file, np.bool_),
            shown=_array(file, np.bool_),
        )
        stretches: list[Stretch] = []
        frame = 0
        for number, row in enumerate(head["stretches"]):
            entry, low, high, cut, place, spacing, frames, packets = row
            stretches.append(
                Stretch(
                    number=number,
                    entry=entry,
                    low=low,
                    high=high,
                    cut=cut,
                    place=(place[0], place[1]),
                    spacing=Spacing(*spacing),
                    pts=None if frames is None else times[frame : frame + frames],
                    samples=None if packets is None else samples,
                    packets=(0, 0) if packets is None else (packets[0], packets[1]),
                )
            )
            frame += frames or 0
    except (KeyError, TypeError, IndexError, EOFError) as error:
        raise ValueError("no plan") from error
    return view, stretches


def pack_scanned(file: BinaryIO, scanned: Scanned) -> None:
    """Write what was seen of a stretch."""
    strips = scanned.strips
    head = {
        "end": scanned.end,
        "last_duration": scanned.last_duration,
        "flaw": scanned.flaw,
        "strips": [[strip.first, len(strip)] for strip in strips],
        "boundaries": [
            [each.kind.value, each.start, each.end, each.confidence, each.sharp]
            for each in scanned.boundaries
        ],
    }
    _put_head(file, head)
    _put(file, scanned.pts)
    for strip in strips:
        for part in (strip.pts, strip.y, strip.u, strip.v):
            _put(file, part)


def unpack_scanned(file: BinaryIO) -> Scanned:
    """Read what `pack_scanned` wrote. Raises `ValueError`."""
    try:
        head = _head(file)
        pts = _array(file, np.int64)
        strips = []
        last = 0
        for first, count in head["strips"]:
            strip = Strip(
                first=first,
                pts=_array(file, np.int64, count),
                y=_array(file, np.uint8, count, *LUMA),
                u=_array(file, np.uint8, count, *CHROMA),
                v=_array(file, np.uint8, count, *CHROMA),
            )
            if not last <= first <= strip.stop <= len(pts):
                raise ValueError("strips in disorder")
            last = strip.stop
            strips.append(strip)
        boundaries = tuple(
            Boundary(kind=Kind(kind), start=start, end=end, confidence=confidence, sharp=sharp)
            for kind, start, end, confidence, sharp in head["boundaries"]
        )
        return Scanned(
            pts=pts,
            strips=tuple(strips),
            boundaries=boundaries,
            end=head["end"],
            last_duration=head["last_duration"],
            flaw=head["flaw"],
        )
    except (KeyError, TypeError, IndexError, EOFError) as error:
        raise ValueError("nothing that was seen") from error


def _put_head(file: BinaryIO, head: dict[str, Any]) -> None:
    data = json.dumps(head).encode()
    file.write(len(data).to_bytes(8, "big") + data)


def _head(file: BinaryIO) -> Any:
    size = int.from_bytes(file.read(8), "big")
    if size > _MOST_HEAD:
        raise ValueError("too long a head")
    return json.loads(file.read(size))


def _put(file: BinaryIO, array: NDArray[Any]) -> None:
    np.save(file, array, allow_pickle=False)


def _array(file: BinaryIO, kind: type[np.generic], *shape: int) -> NDArray[Any]:
    array: NDArray[Any] = np.load(file, allow_pickle=False)
    if array.dtype != kind or (array.shape != shape if shape else array.ndim != 1):
        raise ValueError("an array of another shape")
    return array
