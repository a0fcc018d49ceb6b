"""What the service adds to a job of one small file: from the submit to the end of the watch,
against calling the same code in one process.

    python benchmarks/service_overhead.py [--rounds N]

The peer opens the file, probes it, reads its timeline, cuts one range (checked as the service
checks it), flushes and hashes what was written, and renames it. Both go in turns; all imports,
workers and connections are warm.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from service_tools import heading, percentile, print_table

from reelsplit import Client, CutMode, Output, ranges
from reelsplit_server.media import plan
from reelsplit_server.media.formats import Container
from reelsplit_server.media.probe import probe
from reelsplit_server.media.render import render
from reelsplit_server.media.timeline import read_timeline
from tests.clips import make_clip
from tests.server import ServerProcess

START, END = Fraction(1), Fraction(3)
MODES = (CutMode.KEYFRAME, CutMode.ENCODE)


def in_process(source: Path, made: Path, mode: CutMode) -> None:
    """What the workers of the service do, and nothing else."""
    with source.open("rb") as file:
        facts = probe(file)
    with source.open("rb") as file:
        read_timeline(file, lambda _: None, prefer_index=True, facts=facts)
    half = made.with_suffix(".half.mp4")
    with source.open("rb") as file:
        wanted = plan.RenderPlan(
            start=START, end=END, container=Container.MP4, mode=plan.CutMode(mode.value.lower())
        )
        render(file, wanted, half)
    with half.open("rb") as file:
        os.fsync(file.fileno())
        hashlib.file_digest(file, "sha256")
    half.rename(made)


def by_service(client: Client, source: Path, template: str, mode: CutMode) -> None:
    """The same as a job that is watched to its end."""
    output = Output(uri_template=template, cut_mode=mode)
    job = client.submit(str(source), ranges((START, END)), output)
    ended = job.wait()
    if ended.state.value != "SUCCEEDED":
        raise SystemExit(f"{ended.state}: {ended.error}")


def milliseconds(function: object, *arguments: object) -> float:
    """How long a call takes."""
    assert callable(function)
    begin = time.perf_counter()
    function(*arguments)
    return (time.perf_counter() - begin) * 1000


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder), "--log-level", "warning", "--workers", "2")
        source = server.root / "clip.mp4"
        make_clip(source, frames=120, gop=12)
        with server, Client(server.address) as client:
            for mode in MODES:
                alone, served = [], []
                for number in range(options.rounds + 3):
                    own = server.root / f"{mode.value}-own-{number}.mp4"
                    template = str(server.root / f"{mode.value}-{number}-{{index}}.mp4")
                    both = (
                        milliseconds(in_process, source, own, mode),
                        milliseconds(by_service, client, source, template, mode),
                    )
                    if number >= 3:
                        alone.append(both[0])
                        served.append(both[1])
                for name, times in (("in one process", alone), ("as a job", served)):
                    steps = [f"{percentile(times, share):.0f}" for share in (5, 50, 95)]
                    rows.append([f"{mode.value}, {name}", *steps])
                added = statistics.median(served) - statistics.median(alone)
                rows.append([f"{mode.value}, added by the medians", "", f"{added:.0f}", ""])
    print(heading())
    print_table(["one range of 2 s", "5th percentile, ms", "median", "95th"], rows)


if __name__ == "__main__":
    main()
