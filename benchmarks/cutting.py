"""Cuts ranges of numbered clips and of a real film, with reelsplit and its peers, in turn.

    python benchmarks/cutting.py FILM [--rounds N] [--peers FOLDER] [--quick]

FILM (H.264, 24 frames a second) is repeated by stream copy to ten minutes. reelsplit runs as a
server that has already cut once; its time is from submit to the job's terminal event. With --peers
smartcut is installed from PyPI into an environment in FOLDER; without it, it is left out. CPU
seconds are those of the whole machine, which should do nothing else. The tables are Markdown.
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
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "server"), str(ROOT / "client")]

from cutting_film import Exactness, LongFilm, prepare  # noqa: E402
from cutting_tools import (  # noqa: E402
    Cutter,
    Run,
    ffmpeg,
    install_smartcut,
    measure,
    mkvmerge,
    ours,
    smartcut,
)

from reelsplit import Client, CutMode  # noqa: E402
from tests.cutting.checker import check  # noqa: E402
from tests.cutting.film import Film, read_film  # noqa: E402
from tests.cutting.matrix import span  # noqa: E402
from tests.cutting.ranges import Range, ranges  # noqa: E402
from tests.cutting.recipes import Recipe, covering  # noqa: E402
from tests.cutting.totals import Totals  # noqa: E402
from tests.server import ServerProcess  # noqa: E402

PRESET = "veryfast"

#: What AUTO itself encodes with, beside what it copies.
SEAM_PRESET = "superfast"


def _encoding(preset: str) -> tuple[str, ...]:
    return ("-c:v", "libx264", "-preset", preset, "-fps_mode", "passthrough", "-c:a", "copy")


def tools(client: Client, peers: Path | None) -> dict[str, Cutter]:
    """What is compared, by name."""
    found: dict[str, Cutter] = {
        "reelsplit AUTO": ours(client, CutMode.AUTO),
        "reelsplit EDIT_LIST": ours(client, CutMode.EDIT_LIST),
        "reelsplit KEYFRAME": ours(client, CutMode.KEYFRAME),
        f"reelsplit ENCODE, {PRESET}": ours(client, CutMode.ENCODE, PRESET),
        "ffmpeg -c copy": ffmpeg("-c", "copy"),
        f"ffmpeg, {PRESET}": ffmpeg(*_encoding(PRESET)),
        f"ffmpeg, {SEAM_PRESET}": ffmpeg(*_encoding(SEAM_PRESET)),
    }
    if shutil.which("mkvmerge"):
        found["mkvmerge --split"] = mkvmerge
    if peers is not None:
        found["smartcut"] = smartcut(install_smartcut(peers))
    return found


def time_film(film: LongFilm, found: dict[str, Cutter], folder: Path, given: Options) -> str:
    """The table of times on the real film."""
    spans = film.ranges(given.ranges, given.frames)
    seconds = [(film.times[first], film.times[last]) for first, last in spans]
    runs: dict[str, list[Run]] = {name: [] for name in found}
    for cutter in found.values():
        # Once unmeasured: files come from the disk's cache for all, and the server is warm.
        shutil.rmtree(folder / "warm", ignore_errors=True)
        measure(cutter, film.path, seconds[:1], folder / "warm")
    for number in range(given.rounds):
        for name, cutter in found.items():
            place = folder / f"round{number}" / name.replace(" ", "_")
            runs[name].append(measure(cutter, film.path, seconds, place))
    lines = [
        "| tool | wall s, median | least to most | CPU s | files | missing | doubled | extra |"
    ]
    lines[0] += " corrupt | frames encoded |"
    lines.append("|---" * 10 + "|")
    for name, each in runs.items():
        walls = [run.wall for run in each]
        last = each[-1]
        exact = Exactness()
        if last.joined or len(last.files) != len(spans):
            exact += film.judge(last.files[0], spans)
        else:
            for path, chosen in zip(last.files, spans, strict=True):
                exact += film.judge(path, [chosen])
        lines.append(
            f"| {name} | {statistics.median(walls):.2f} | {min(walls):.2f} to {max(walls):.2f} "
            f"| {statistics.median(run.cpu for run in each):.2f} | {len(last.files)} "
            f"| {exact.missing} | {exact.doubled} | {exact.extra} | {exact.corrupt} "
            f"| {exact.encoded} |"
        )
    return "\n".join(lines)


def clips(count: int) -> list[Recipe]:
    """The first of the matrix whose sound every tool here can put into an MP4."""
    fitting = [recipe for recipe in covering() if recipe.audio in ("aac", "ac3", "none")]
    return fitting[:count]


def judge_clips(found: dict[str, Cutter], folder: Path, given: Options) -> str:
    """The table of exactness on the clips of the matrix, each range cut on its own."""
    rows: dict[str, Totals] = {name: Totals() for name in found}
    failed = dict.fromkeys(found, 0)
    sync: dict[str, float] = dict.fromkeys(found, 0.0)
    for recipe in clips(given.clips):
        film = read_film(recipe.make(folder))
        for index, chosen in enumerate(ranges(film, given.cuts)):
            for name, cutter in found.items():
                if "KEYFRAME" in name:
                    continue
                place = folder / "cuts" / f"{recipe.name}-{index}-{name}".replace(" ", "_")
                path = _cut_one(cutter, film, chosen, place)
                if path is None:
                    failed[name] += 1
                    continue
                rate = Fraction(recipe.rate) if recipe.is_constant else None
                finding = check(
                    film, path, *chosen, rate=rate, second=True, hides="EDIT_LIST" in name
                )
                rows[name].add(finding)
                sync[name] = max(sync[name], finding.audio_sync)
                shutil.rmtree(place)
    lines = ["| tool | cuts | failed | frames | missing | doubled | extra | corrupt |"]
    lines[0] += " sound off by ms, at most | cuts with any fault |"
    lines.append("|---" * 10 + "|")
    for name, totals in rows.items():
        if not totals.cuts and not failed[name]:
            continue
        lines.append(
            f"| {name} | {totals.cuts + failed[name]} | {failed[name]} | {totals.frames} "
            f"| {totals.missing} | {totals.doubled} | {totals.extra} | {totals.corrupt} "
            f"| {sync[name] * 1000:.1f} | {totals.failed + failed[name]} |"
        )
    return "\n".join(lines)


def _cut_one(cutter: Cutter, film: Film, chosen: Range, folder: Path) -> Path | None:
    """The file of one range; None where the tool failed or wrote nothing."""
    start, end = span(film, *chosen)
    end = film.end - film.times[0] if end is None else end
    try:
        run = measure(cutter, film.path, [(start, end)], folder)
    except Exception as error:
        print(f"{folder.name}: {error}", file=sys.stderr)
        return None
    return run.files[0] if run.files and run.files[0].exists() else None


class Options(argparse.Namespace):
    """The command line."""

    film: Path
    rounds: int
    peers: Path | None
    quick: bool
    seconds: int = 600
    ranges: int = 10
    frames: int = 240
    clips: int = 12
    cuts: int = 6


def machine() -> str:
    """What this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    shown = [f"Python {platform.python_version()}", f"av {version('av')}"]
    for command in (["ffmpeg", "-version"], ["mkvmerge", "--version"]):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            shown.append(done.stdout.split("\n")[0].split(" Copyright")[0])
    return f"{cores}; {', '.join(shown)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("film", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="where smartcut is, or is to be installed")
    parser.add_argument("--quick", action="store_true", help="one minute, few ranges, one round")
    given = parser.parse_args(arguments, Options())
    if given.quick:
        given.rounds, given.seconds, given.ranges, given.frames = 1, 60, 3, 120
        given.clips, given.cuts = 3, 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ServerProcess(folder) as server, Client(server.address) as client:
            film = prepare(given.film.resolve(), server.root, given.seconds)
            found = tools(client, given.peers.resolve() if given.peers else None)
            print(machine())
            print(f"\n{given.ranges} ranges of {given.frames} frames, {given.rounds} rounds\n")
            print(time_film(film, found, server.root / "film", given), flush=True)
            shutil.rmtree(server.root / "film")
            (server.root / "clips").mkdir()
            print(f"\n{given.clips} clips of the matrix, {given.cuts} ranges each\n")
            print(judge_clips(found, server.root / "clips", given))


if __name__ == "__main__":
    main()
