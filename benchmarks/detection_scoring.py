"""How right a detector is: its boundaries against labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOLERANCE = 1
"""Frames that a prediction may lie before or after a boundary."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a label says, in frames counted from 0 in presentation order."""

    kind: str
    start: int
    """The first frame that is not purely the shot before."""
    end: int
    """The first frame that is purely the new shot; `start` for a cut."""
    optional: bool


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of one video."""

    frames: int
    boundaries: tuple[Boundary, ...]

    @property
    def timeline(self) -> tuple[int, tuple[Boundary, ...]]:
        """The same for videos that show the same: encodings of one cut."""
        return self.frames, self.boundaries


@dataclass(slots=True)
class Score:
    """Counts, over one video or over many."""

    hits: Counter[str] = field(default_factory=Counter)
    """By the label's kind; so are the misses. Optional boundaries are in neither."""
    misses: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    """Predictions at which nothing is, by the kind that was predicted."""
    right: Counter[str] = field(default_factory=Counter)
    """Predictions that hit, by the kind that was predicted."""

    def add(self, other: Score) -> None:
        self.hits += other.hits
        self.misses += other.misses
        self.false += other.false
        self.right += other.right

    @property
    def labelled(self) -> int:
        return self.hits.total() + self.misses.total()

    @property
    def recall(self) -> float:
        """1 where there is nothing to find; so is the precision where nothing was predicted."""
        return self.hits.total() / self.labelled if self.labelled else 1.0

    @property
    def precision(self) -> float:
        predicted = self.hits.total() + self.false.total()
        return self.hits.total() / predicted if predicted else 1.0

    @property
    def f1(self) -> float:
        wrong = self.misses.total() + self.false.total()
        both = 2 * self.hits.total()
        return both / (both + wrong) if both + wrong else 1.0

    def recall_of(self, kinds: Iterable[str]) -> float | None:
        """None where there are no such labels."""
        kinds = list(kinds)
        hits = sum(self.hits[kind] for kind in kinds)
        labelled = hits + sum(self.misses[kind] for kind in kinds)
        return hits / labelled if labelled else None

    def precision_of(self, kinds: Iterable[str]) -> float | None:
        """None where nothing of these kinds was predicted."""
        kinds = list(kinds)
        right = sum(self.right[kind] for kind in kinds)
        predicted = right + sum(self.false[kind] for kind in kinds)
        return right / predicted if predicted else None


def read_labels(path: Path) -> Labels:
    """Of a `<video>.labels.json`."""
    found = json.loads(path.read_text())
    boundaries = (
        Boundary(each["type"], each["start_frame"], each["end_frame"], each.get("optional", False))
        for each in found["boundaries"]
    )
    return Labels(found["n_frames"], in_order(boundaries))


def in_order(boundaries: Iterable[Boundary]) -> tuple[Boundary, ...]:
    """The same for the same boundaries."""
    return tuple(sorted(boundaries, key=lambda each: (each.start, each.end, each.kind)))


def write_labels(video: Path, labels: Labels, rate: int, facts: dict[str, Any]) -> None:
    """`<video>.labels.json` of a video with `rate` frames a second; `facts` go into it too."""
    boundaries = []
    for each in labels.boundaries:
        frame = (each.start + each.end) // 2
        boundaries.append(
            {
                "type": each.kind,
                "start_frame": each.start,
                "end_frame": each.end,
                "frame": frame,
                "time_s": round(frame / rate, 6),
                "start_s": round(each.start / rate, 6),
                "end_s": round(each.end / rate, 6),
                "optional": each.optional,
            }
        )
    told: dict[str, Any] = {"schema": "shot-labels/1", "video": video.name, "fps": f"{rate}/1"}
    told |= {"n_frames": labels.frames, "label_method": "generated-exact", **facts}
    Path(f"{video}.labels.json").write_text(
        json.dumps({**told, "boundaries": boundaries}, indent=1)
    )


def score(boundaries: Sequence[Boundary], predicted: Sequence[tuple[int, str]]) -> Score:
    """Match predictions, each the first frame of a new shot and its kind, with labels: the nearest
    first, one to one; a required boundary goes before an optional one at the same distance. Those
    that lie on an optional boundary count neither way."""
    pairs = []
    for index, (frame, _) in enumerate(predicted):
        for place, label in enumerate(boundaries):
            if label.start - TOLERANCE <= frame <= label.end + TOLERANCE:
                middle = (label.start + label.end) / 2
                pairs.append((abs(frame - middle), label.optional, index, place))
    found = Score()
    used: set[int] = set()
    met: set[int] = set()
    for _, _, index, place in sorted(pairs):
        if index in used or place in met:
            continue
        used.add(index)
        met.add(place)
        label = boundaries[place]
        if not label.optional:
            found.hits[label.kind] += 1
            found.right[predicted[index][1]] += 1
    on_optional = {index for _, optional, index, _ in pairs if optional}
    for index, (_, kind) in enumerate(predicted):
        if index not in used and index not in on_optional:
            found.false[kind] += 1
    for place, label in enumerate(boundaries):
        if place not in met and not label.optional:
            found.misses[label.kind] += 1
    return found


def average(scores: Sequence[Score]) -> tuple[float, float, float]:
    """F1, precision and recall, each the mean over what is given."""
    count = len(scores) or 1
    return (
        sum(each.f1 for each in scores) / count,
        sum(each.precision for each in scores) / count,
        sum(each.recall for each in scores) / count,
    )
