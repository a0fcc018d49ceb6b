"""Measures how right the time is that a running job says is left, as a Markdown table.

    python benchmarks/time_left.py [--seconds N] [--only WORD]

A real server runs each job, and each progress event is compared with when the job really ended.
Looked at are the last four fifths of a job's time. Half a second is forgiven at the very end,
where a fraction of next to nothing says nothing. The peer is the plainest guess that there is:
the time so far, by the percent so far.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "client"), str(ROOT / "server")]

from reelsplit import (  # noqa: E402
    Client,
    Effort,
    Input,
    JobProgress,
    JobSpec,
    Output,
    ReelsplitDetector,
    VideoCodec,
    VideoEncoding,
    every,
    ranges,
    shots,
)
from tests.clips import make_clip  # noqa: E402
from tests.server import served  # noqa: E402

_RATE, _SIZE, _SHOT = 24, (960, 540), 120
_FORGIVEN = 0.5
"""Seconds."""
_BEGIN = 0.2
"""The part of a job's time that is not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What was told at a time: the seconds since the begin, those that were said to be left."""

    at: float
    left: float | None
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of one job."""

    seconds: float
    ticks: int
    told: int
    within: float
    worst: float
    plain: float


def cases(length: int) -> Iterator[tuple[str, JobSpec]]:
    """The jobs; all but the last are steady encodes."""
    encoding = VideoEncoding(codec=VideoCodec.H264, preset="medium")
    source = Input(uri="film.mp4")

    def spec(
        name: str, mode: object, video: VideoEncoding | None = encoding
    ) -> tuple[str, JobSpec]:
        output = Output(uri_template=f"{name.replace(' ', '-')}/{{index}}.mp4", video=video)
        return name, JobSpec(input=source, mode=mode, output=output)  # type: ignore[arg-type]

    detector = ReelsplitDetector(effort=Effort.EXACT)
    yield spec("one segment", ranges((0, length)))
    yield spec("two segments", ranges((0, length / 2), (length / 2, length)))
    yield spec("three unequal segments", ranges((0, length / 2), (0, length / 4), (0, length / 8)))
    yield spec("twelve segments", every(length / 12))
    yield spec("shots, found and encoded", shots(detector))
    yield spec("shots, found and copied", shots(detector), None)


def run(client: Client, spec: JobSpec) -> tuple[list[Tick], float]:
    """Do a job; answers what was told of it, and how long it took, in seconds."""
    handle = client.submit_spec(spec)
    begun: float | None = None
    ticks: list[Tick] = []
    for event in handle.watch(progress_interval=0.25):
        now = time.monotonic()
        begun = now if begun is None else begun
        if isinstance(event.event, JobProgress):
            told = event.event
            left = None if told.time_left is None else float(told.time_left)
            ticks.append(Tick(at=now - begun, left=left, percent=told.percent))
    assert begun is not None
    return ticks, time.monotonic() - begun


def judge(ticks: list[Tick], seconds: float) -> Found:
    """How right it was. The worst is a fraction of the time that was really left."""
    counted = [tick for tick in ticks if seconds * _BEGIN <= tick.at < seconds]
    told = [(tick, tick.left) for tick in counted if tick.left is not None]
    wrong = [_wrong(left, seconds - tick.at) for tick, left in told]
    plain = [
        _wrong(tick.at * (100 / tick.percent - 1), seconds - tick.at)
        for tick in counted
        if tick.percent
    ]
    return Found(
        seconds=seconds,
        ticks=len(counted),
        told=len(told),
        within=sum(error <= 0.25 for error in wrong) / max(1, len(counted)),
        worst=max(wrong, default=float("inf")),
        plain=sum(error <= 0.25 for error in plain) / max(1, len(plain)),
    )


def _wrong(told: float, real: float) -> float:
    return max(0.0, abs(told - real) - _FORGIVEN) / max(real, 1e-9)


def _film(path: Path, seconds: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*_SIZE[::-1], 3), np.uint8)
    # Blocks, which move the same way in each second: as much work for an encoder all along.
    ground = np.kron(noise[::12, ::12], np.ones((12, 12, 1), np.uint8))[: _SIZE[1], : _SIZE[0]]

    def picture(index: int) -> np.ndarray:
        shown = np.roll(ground, 3 * (index % _RATE), axis=1)
        return 255 - shown if index // _SHOT % 2 else shown

    make_clip(
        path,
        frames=seconds * _RATE,
        rate=_RATE,
        size=_SIZE,
        gop=48,
        options={"preset": "ultrafast"},
        picture=picture,
    )


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="the length of the film")
    parser.add_argument("--only", default="", help="only cases with this in their name")
    parser.add_argument("--ticks", action="store_true", help="print every tick as well")
    arguments = parser.parse_args()
    print("| job | took | ticks | told | right within 25 % | worst | by percent alone |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        _film(server.root / "film.mp4", arguments.seconds)
        with Client(server.address) as client:
            for name, spec in cases(arguments.seconds):
                if arguments.only not in name:
                    continue
                assert spec.output is not None
                placed = JobSpec(
                    input=Input(uri=f"{server.root}/film.mp4"),
                    mode=spec.mode,
                    output=Output(
                        uri_template=f"{server.root}/{spec.output.uri_template}",
                        video=spec.output.video,
                    ),
                )
                ticks, seconds = run(client, placed)
                found = judge(ticks, seconds)
                print(
                    f"| {name} | {found.seconds:.1f} s | {found.ticks} | {found.told} "
                    f"| {found.within:.0%} | {found.worst:.0%} | {found.plain:.0%} |",
                    flush=True,
                )
                if arguments.ticks:
                    for tick in ticks:
                        left = "-" if tick.left is None else f"{tick.left:.1f}"
                        print(
                            f"  {tick.at:6.1f} {tick.percent:5.1f} {left} {seconds - tick.at:.1f}"
                        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
