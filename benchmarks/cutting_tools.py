"""The tools that are compared: each cuts ranges of a video into files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from reelsplit import Client, CutMode, Output, VideoCodec, VideoEncoding, ranges

Span = tuple[Fraction, Fraction]
Cutter = Callable[[Path, Sequence[Span], Path], list[Path]]
"""Takes a video, ranges in seconds from its first frame, and an empty folder; gives the files."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one tool."""

    wall: float
    """Seconds; so is `cpu`, of the whole machine."""
    cpu: float
    files: list[Path]
    joined: bool
    """Whether one file holds all ranges, one after the other."""


def ours(client: Client, mode: CutMode, preset: str | None = None) -> Cutter:
    """One job on a running server, from submit to its terminal event."""

    def cut(video: Path, spans: Sequence[Span], folder: Path) -> list[Path]:
        encoding = VideoEncoding(codec=VideoCodec.H264, preset=preset) if preset else None
        output = Output(uri_template=f"{folder}/{{index:03d}}.mp4", cut_mode=mode, video=encoding)
        client.submit(str(video), ranges(*spans), output).result(timeout=600)
        return sorted(folder.glob("*.mp4"))

    return cut


def smartcut(command: Path) -> Cutter:
    """One call; it can only write all ranges into one file."""

    def cut(video: Path, spans: Sequence[Span], folder: Path) -> list[Path]:
        keep = ",".join(_seconds(time) for span in spans for time in span)
        _run([str(command), str(video), str(folder / "all.mp4"), "--keep", keep])
        return [folder / "all.mp4"]

    return cut


def ffmpeg(*encoding: str) -> Cutter:
    """One call a range, one after the other."""

    def cut(video: Path, spans: Sequence[Span], folder: Path) -> list[Path]:
        files = []
        for index, (start, end) in enumerate(spans):
            files.append(folder / f"{index:03d}.mp4")
            command = ["ffmpeg", "-v", "error", "-nostdin", "-ss", _seconds(start)]
            command += ["-i", str(video), "-t", _seconds(end - start), *encoding, str(files[-1])]
            _run(command)
        return files

    return cut


def mkvmerge(video: Path, spans: Sequence[Span], folder: Path) -> list[Path]:
    """One call for all ranges, which must be in order and apart."""
    parts = ",".join(f"{_clock(start)}-{_clock(end)}" for start, end in spans)
    _run(["mkvmerge", "-q", "-o", str(folder / "out.mkv"), "--split", f"parts:{parts}", str(video)])
    return sorted(folder.glob("*.mkv"))


def install_smartcut(folder: Path) -> Path:
    """smartcut from PyPI, in an environment of its own in `folder`; answers its command."""
    command = folder / "bin" / "smartcut"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "smartcut"], check=True)
    return command


def measure(cutter: Cutter, video: Path, spans: Sequence[Span], folder: Path) -> Run:
    """Run one tool once, in an empty folder."""
    folder.mkdir(parents=True)
    before, started = busy(), time.perf_counter()
    files = cutter(video, spans, folder)
    wall = time.perf_counter() - started
    return Run(wall, busy() - before, files, len(files) == 1 < len(spans))


def busy() -> float:
    """CPU seconds that the machine has worked: a server's workers are nobody's children."""
    with Path("/proc/stat").open() as file:
        user, nice, system = (int(field) for field in file.readline().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # mkvmerge ends with 1 where it merely warns.
    if done.returncode > (command[0] == "mkvmerge"):
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")


def _seconds(time: Fraction) -> str:
    return f"{float(time):.6f}"


def _clock(time: Fraction) -> str:
    minutes, seconds = divmod(float(time), 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{seconds:09.6f}"
