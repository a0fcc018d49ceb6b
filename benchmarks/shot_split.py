"""Finds and cuts all shots of a video, with reelsplit and with PySceneDetect, in turn.

Both use the adaptive detector with a shortest shot of 0.6 s, x264 at preset veryfast and crf 22,
and AAC. Times are of the whole command, for reelsplit with its server's start and end. CPU seconds
are those of the whole machine, which should do nothing else. Frames are counted by decoding what
was written.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import av

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Run:
    """One run of one tool: seconds, CPU seconds, and the frames in the files that it wrote."""

    wall: float
    cpu: float
    files: int
    frames: int


def commands(video: Path, out: Path) -> dict[str, list[str]]:
    """The command of each tool."""
    reelsplit = [str(BIN / "reelsplit"), "split", str(video), str(out / "{index:03d}.mp4")]
    reelsplit += ["--shots", "--detector", "adaptive", "--min-shot", "0.6"]
    reelsplit += ["--codec", "h264", "--preset", "veryfast", "--crf", "22", "--gop", "250"]
    reelsplit += ["--audio", "aac"]
    scenedetect = [str(BIN / "scenedetect"), "--quiet", "-i", str(video), "detect-adaptive"]
    scenedetect += ["split-video", "--output", str(out), "--preset", "veryfast"]
    scenedetect += ["--rate-factor", "22"]
    return {"reelsplit": reelsplit, "scenedetect": scenedetect}


def count(folder: Path) -> tuple[int, int]:
    """The files in a folder, and the video frames that decode out of them."""
    frames = 0
    files = sorted(folder.glob("*.mp4"))
    for file in files:
        with av.open(str(file)) as container:
            container.streams.video[0].thread_type = "AUTO"
            frames += sum(1 for _ in container.decode(video=0))
    return len(files), frames


def busy() -> float:
    """CPU seconds that the machine has worked: a server's workers are nobody's children."""
    with Path("/proc/stat").open() as file:
        user, nice, system = (int(field) for field in file.readline().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def measure(tool: str, video: Path) -> Run:
    """Run one tool once."""
    folder = Path(tempfile.mkdtemp(prefix=f"{tool}-"))
    try:
        before = busy()
        started = time.perf_counter()
        subprocess.run(
            commands(video, folder)[tool],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        wall = time.perf_counter() - started
        cpu = busy() - before
        files, frames = count(folder)
        return Run(wall, cpu, files, frames)
    finally:
        shutil.rmtree(folder)


def machine() -> str:
    """What this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    tools = ", ".join(f"{name} {version(name)}" for name in ("av", "scenedetect-headless"))
    first = ffmpeg.stdout.split("\n")[0].split(" Copyright")[0]
    return f"{cores}; Python {platform.python_version()}, {tools}, {first}"


def table(runs: dict[str, Sequence[Run]]) -> str:
    """The result as Markdown."""
    lines = ["| tool | wall s, median | wall s, each run | CPU s | files | frames |"]
    lines.append("|---|---|---|---|---|---|")
    for tool, each in runs.items():
        walls = [run.wall for run in each]
        lines.append(
            f"| {tool} | {statistics.median(walls):.1f} "
            f"| {', '.join(f'{wall:.1f}' for wall in walls)} "
            f"| {statistics.median(run.cpu for run in each):.1f} "
            f"| {each[-1].files} | {each[-1].frames} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    video = given.video.resolve()
    runs: dict[str, list[Run]] = {tool: [] for tool in commands(video, Path())}
    for _ in range(given.runs):
        for tool, each in runs.items():
            each.append(measure(tool, video))
    print(machine())
    print(f"`python benchmarks/shot_split.py {video.name} --runs {given.runs}`\n")
    print(table(runs))


if __name__ == "__main__":
    main()
