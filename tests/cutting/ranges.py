"""Ranges to cut, in frames: on and off key frames, short and long, and to the end."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.cutting.film import Film
from tests.cutting.units import Kind

Range = tuple[int, int]
"""The first frame, and the one after the last."""


def ranges(film: Film, count: int = 20, seed: int = 0) -> list[Range]:
    """`count` different ranges of a film: those that are known to be hard first, each kind once,
    in an order that the seed shuffles; then any."""
    dice = random.Random(f"{seed} {film.path.name}")
    frames = len(film.frames)
    keys = sorted(
        rank
        for rank, packet in zip(film.order, film.packets, strict=True)
        if packet.kind is not Kind.OTHER
    )
    key = dice.choice(keys[1:] or keys)
    later = dice.choice([k for k in keys if k > key] or [frames])
    # Where key frames lie far apart, some way behind one and before the next.
    inside = [k + 2 for k, after in zip(keys, [*keys[1:], frames], strict=True) if after - k > 8]
    one = dice.choice(inside or [key])
    hard = [
        (0, frames),
        (key, later),
        (key + 1, later),
        (key - 1, later),
        (key, later - 1),
        (key, later + 1),
        (key - 1, later + 1),
        (key + 1, later - 1),
        (key - 3, key + 3),
        (key, key + 1),
        (key - 1, key),
        (key + 1, key + 2),
        (one, one + 3),
        (one, one + 6),
        (key + 2, frames),
        (key, frames),
        (frames - 1, frames),
        (0, key),
        (0, 1),
        (1, frames - 1),
    ]
    fitting = [(a, b) for a, b in hard if 0 <= a < b <= frames]
    dice.shuffle(fitting)
    chosen = list(dict.fromkeys(fitting))
    for _ in range(20 * count):
        if len(chosen) >= count:
            break
        first, last = sorted(dice.sample(range(frames + 1), 2))
        if (first, last) not in chosen:
            chosen.append((first, last))
    return chosen[:count]


def tiles(film: Film, count: int = 5, seed: int = 0) -> list[Range]:
    """Neighbouring ranges that cover a whole film."""
    dice = random.Random(f"tiles {seed} {film.path.name}")
    frames = len(film.frames)
    borders = sorted(dice.sample(range(1, frames), min(count, frames) - 1))
    return list(zip([0, *borders], [*borders, frames], strict=True))


def fewest(film: Film, first: int, last: int) -> int:
    """The fewest frames of a range that must be encoded: those before the first clean entry in
    it, and those behind the longest run of packets that leaves no hole and stays in the range."""
    head = _entry(film, first, last)
    if head is None:
        return last - first
    at, key = head
    return (key - first) + (last - key - _prefix(film.order[at:], key, last))


def _entry(film: Film, first: int, last: int) -> tuple[int, int] | None:
    """The place in decoding order and in presentation order of the first entry in the range."""
    for at, (rank, packet) in enumerate(zip(film.order, film.packets, strict=True)):
        if packet.kind is not Kind.OTHER and first <= rank < last:
            return at, rank
    return None


def _prefix(order: Sequence[int], key: int, last: int) -> int:
    """How many frames the longest prefix in decoding order gives, leading pictures left out."""
    best = count = 0
    highest = key
    for rank in order:
        if rank < key:
            continue
        if rank >= last:
            break
        count, highest = count + 1, max(highest, rank)
        if highest - key + 1 == count:
            best = count
    return best
