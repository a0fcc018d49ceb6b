"""Makes labelled videos by joining and mixing real shots.

    python benchmarks/detection_splices.py OUTPUT SOURCES… [--seed N] [--timelines N]

SOURCES are folders of videos with labels beside them (`<video>.labels.json`); only what lies
between two boundaries is used. OUTPUT gets a few timelines of about 75 seconds, each in a few
codecs and GOP structures, with labels of the same form. The same seed makes the same timelines.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from detection_effects import CHANGES, MIXES, Pictures
from detection_scoring import Boundary, Labels, in_order, read_labels, write_labels

WIDTH, HEIGHT = 640, 360
RATES = (24, 25, 30)
SPREAD = 12.0
"""A picture whose values have a lower standard deviation is plain: what is faded out or an empty
title says little about a join."""
TRIES = 20
MARGIN = 3
"""Frames left out beside a boundary of a source: labels may be off by one."""

#: What each timeline is encoded with: arguments of ffmpeg, and the file's suffix.
ENCODINGS: dict[str, tuple[str, str]] = {
    "x264": ("-c:v libx264 -preset veryfast -crf 23", "mp4"),
    "x264_low": ("-c:v libx264 -preset veryfast -crf 33", "mp4"),
    "x264_g48": (
        "-c:v libx264 -preset veryfast -crf 26 -g 48 -keyint_min 48 -sc_threshold 0",
        "mp4",
    ),
    "x264_nocut": ("-c:v libx264 -preset veryfast -crf 26 -g 250 -sc_threshold 0", "mkv"),
    "x265": ("-c:v libx265 -preset veryfast -crf 28 -x265-params log-level=error", "mkv"),
    "vp9": (
        "-c:v libvpx-vp9 -crf 36 -b:v 0 -deadline realtime -cpu-used 7 -row-mt 1 -g 128",
        "webm",
    ),
    "av1": ("-c:v libsvtav1 -preset 11 -crf 42 -g 160", "mkv"),
    "mpeg4": ("-c:v mpeg4 -q:v 6 -g 60", "avi"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Frames `first` to `last` of a video, all of one shot."""

    video: Path
    first: int
    last: int

    @property
    def frames(self) -> int:
        """May be below 1, where boundaries follow each other closely."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Timeline:
    """What has been made so far."""

    boundaries: list[Boundary] = field(default_factory=list)
    distractors: list[dict[str, object]] = field(default_factory=list)
    frames: int = 0

    @property
    def labels(self) -> Labels:
        return Labels(self.frames, in_order(self.boundaries))


def spans_of(folders: Sequence[Path]) -> list[Span]:
    """The shots of all labelled videos in `folders` that are long enough to be used."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*.labels.json")):
            video = path.with_name(path.name.removesuffix(".labels.json"))
            labels = read_labels(path)
            first = 0
            for boundary in labels.boundaries:
                found.append(Span(video, first, boundary.start - 1 - MARGIN))
                first = boundary.end + MARGIN
            found.append(Span(video, first, labels.frames - 1))
    return [span for span in found if span.frames >= 24]


def read_span(span: Span, count: int, random: np.random.Generator) -> Pictures:
    """`count` pictures of a span from a random place in it, or all where it is shorter; filled to
    the size of the splices, with what sticks out cut off."""
    count = min(count, span.frames)
    start = span.first + int(random.integers(span.frames - count + 1))
    pictures = []
    with av.open(str(span.video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number < start:
                continue
            if number >= start + count:
                break
            scale = max(WIDTH / frame.width, HEIGHT / frame.height)
            wide = max(WIDTH, round(frame.width * scale / 2) * 2)
            high = max(HEIGHT, round(frame.height * scale / 2) * 2)
            picture = frame.reformat(wide, high, "bgr24").to_ndarray()
            top, left = (high - HEIGHT) // 2, (wide - WIDTH) // 2
            pictures.append(picture[top : top + HEIGHT, left : left + WIDTH])
    return np.stack(pictures)


def deck(random: np.random.Generator) -> list[str]:
    """The joins of one timeline, shuffled."""
    joins = ["cut"] * 13 + ["burst"] * 2 + ["dissolve"] * 4 + ["fade_black"] * 2
    joins += ["fade_white", "wipe", "wipe", "clock", "iris", "push", "insert"]
    return [joins[int(index)] for index in random.permutation(len(joins))]


def _body(join: str, random: np.random.Generator) -> int:
    return int(random.integers(3, 13)) if join == "short" else int(random.integers(34, 84))


def expanded(joins: Sequence[str], random: np.random.Generator) -> list[tuple[str, int]]:
    """Each join with the number of pure frames of the shot after it."""
    found: list[tuple[str, int]] = []
    for join in joins:
        if join == "burst":
            shorts = int(random.integers(2, 5))
            found += [("cut", _body("short", random)) for _ in range(shorts)]
            found.append(("cut", _body("cut", random)))
        elif join == "insert":
            found += [("insert", 1), ("from_insert", _body("cut", random))]
        else:
            found.append((join, _body(join, random)))
    return found


def _choose(spans: Sequence[Span], last: Span | None, random: np.random.Generator) -> Span:
    """A shot other than the last; videos of many shots are drawn more often, but not as much more
    often as they have shots."""
    videos = sorted({span.video for span in spans})
    while True:
        inside = list(spans)
        if random.random() < 0.5:
            video = videos[int(random.integers(len(videos)))]
            inside = [span for span in spans if span.video == video]
        span = inside[int(random.integers(len(inside)))]
        if span != last or len(spans) == 1:
            return span


def _disturb(
    shot: Pictures, name: str, at: int, timeline: Timeline, random: np.random.Generator
) -> None:
    """Put something that is no boundary into the middle of a shot that begins at frame `at`."""
    change, least, most = CHANGES[name]
    count = min(int(random.integers(least, most + 1)), len(shot) - 20)
    if count < least:
        return
    first = int(random.integers(10, len(shot) - 10 - count + 1))
    shot[first : first + count] = change(shot[first : first + count].copy(), random)
    timeline.distractors.append(
        {"type": name, "start_frame": at + first, "end_frame": at + first + count}
    )
    if name == "freeze":
        # What moved goes on from elsewhere: some would call that a jump cut.
        stop = at + first + count
        timeline.boundaries.append(Boundary("cut_similar", stop, stop, optional=True))


def render(
    spans: Sequence[Span],
    joins: Sequence[str],
    timeline: Timeline,
    random: np.random.Generator,
    spread: float = SPREAD,
) -> Iterator[Pictures]:
    """The pictures of a timeline, some at a time; what they are is noted in `timeline`. Shots with
    pictures below `spread` are taken only where there is hardly anything else."""
    names = list(CHANGES)
    names = [names[int(index)] for index in random.permutation(len(names))]
    plan = [("", _body("", random)), *expanded(joins, random)]
    mixed = [
        int(random.integers(MIXES[join][2], MIXES[join][3] + 1)) if join in MIXES else 0
        for join, _ in plan
    ]
    last: Span | None = None
    tail: Pictures | None = None
    for index, (join, body) in enumerate(plan):
        after = mixed[index + 1] if index + 1 < len(plan) else 0
        fitting = [span for span in spans if span.frames >= mixed[index] + body + after]
        for _ in range(TRIES):
            span = _choose(fitting or spans, last, random)
            shot = read_span(span, mixed[index] + body + after, random)
            if min(float(picture[::8, ::8].std()) for picture in shot) >= spread:
                break
        last = span
        into = min(mixed[index], max(0, len(shot) - after - 1))
        if tail is not None and join in MIXES:
            mix, kind, *_ = MIXES[join]
            # A source may have been too short: then both sides lend fewer frames.
            count = min(len(tail), into)
            tail, into = tail[:count], count
            start = timeline.frames
            yield mix(tail, shot[:count], random)
            timeline.frames += count
            timeline.boundaries.append(Boundary(kind, start, timeline.frames, optional=False))
        elif index:
            kind = {"insert": "cut_to_insert", "from_insert": "cut_from_insert"}.get(join, "cut")
            at = timeline.frames
            timeline.boundaries.append(Boundary(kind, at, at, optional=join == "insert"))
        pure = shot[into : len(shot) - after if after else len(shot)].copy()
        if names and join in ("", "cut", "dissolve", "from_insert") and len(pure) >= 34:
            _disturb(pure, names.pop(), timeline.frames, timeline, random)
        yield pure
        timeline.frames += len(pure)
        tail = shot[len(shot) - after :] if after else None


def make(
    spans: Sequence[Span], name: str, encodings: Sequence[str], folder: Path, seed: int
) -> Timeline:
    """One timeline in several encodings, with labels, in `folder`."""
    random = np.random.default_rng(seed)
    timeline = Timeline()
    rate = RATES[int(random.integers(len(RATES)))]
    barred = random.random() < 0.34
    with tempfile.TemporaryDirectory() as place:
        master = Path(place) / "master.mkv"
        with av.open(str(master), "w") as container:
            options = {"crf": "4", "preset": "ultrafast"}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for pictures in render(spans, deck(random), timeline, random):
                for picture in pictures:
                    if barred:
                        picture[: HEIGHT // 8] = picture[-HEIGHT // 8 :] = 0
                    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        for encoding in encodings:
            arguments, suffix = ENCODINGS[encoding]
            video = folder / f"{name}_{encoding}.{suffix}"
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(master)]
            command += [*arguments.split(), "-an", str(video)]
            subprocess.run(command, check=True)
            facts = {"timeline": name, "encode": arguments, "distractors": timeline.distractors}
            write_labels(video, timeline.labels, rate, facts)
    return timeline


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the timelines that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timelines", type=int, default=4)
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    spans = spans_of(given.sources)
    if not spans:
        parser.error("no labelled shots in the sources")
    names = list(ENCODINGS)
    for index in range(given.timelines):
        chosen = [names[(given.seed + 2 * index + step) % len(names)] for step in range(2)]
        name = f"splice_{given.seed}_{index}"
        timeline = make(spans, name, chosen, given.output, given.seed * 1000 + index)
        print(f"{name}: {timeline.frames} frames, {len(timeline.boundaries)} boundaries, {chosen}")


if __name__ == "__main__":
    main()
