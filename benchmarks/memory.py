"""Measures how much memory and disk one segment takes, as a Markdown table.

    python benchmarks/memory.py [--seconds N ...] [--encoded-seconds N ...] [--only WORD]
                                [--sources FOLDER]

1080p sources of five minutes are made first (kept in FOLDER for another run). Each case renders
in a new process of its own; told is the most resident memory that process ever had (VmHWM), all
libraries counted, and the most disk it took beside the source, in sizes of the finished segment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "server")]

from reelsplit_server.media.formats import Container, VideoCodec  # noqa: E402
from reelsplit_server.media.plan import CutMode, RenderPlan, VideoSettings  # noqa: E402
from reelsplit_server.media.render import render  # noqa: E402

_SIZE, _RATE, _SECONDS, _START = (1920, 1080), 24, 300, 73
#: Seconds that are drawn and encoded; the rest repeats them.
_DRAWN = 12
_SOURCES = {
    "h264-gop48.mp4": ("libx264", 48, {"preset": "ultrafast", "b": "16M", "sc_threshold": "0"}),
    "h264-gop250.mp4": ("libx264", 250, {"preset": "ultrafast", "b": "16M", "sc_threshold": "0"}),
    "hevc-gop48.mp4": ("libx265", 48, {"preset": "ultrafast", "b": "12M"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One segment to render."""

    source: str
    mode: str
    seconds: int
    codec: str = ""
    threads: int = 1
    ending: str = "mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What it took."""

    memory: int
    """MB, at most at once."""
    disk: float
    """Sizes of the finished segment, at most at once."""
    frames: int
    encoded: int
    seconds: float


def cases(copied: list[int], encoded: list[int]) -> Iterator[Case]:
    """Everything that is measured."""
    for source in _SOURCES:
        for mode in (CutMode.AUTO, CutMode.EDIT_LIST, CutMode.KEYFRAME):
            for seconds in copied:
                yield Case(source=source, mode=mode.value, seconds=seconds)
    for ending in ("mkv", "ts"):
        for seconds in copied:
            yield Case(source="h264-gop48.mp4", mode="auto", seconds=seconds, ending=ending)
    for codec in (VideoCodec.H264, VideoCodec.HEVC, VideoCodec.AV1, VideoCodec.VP9):
        for threads in (1, 2):
            for seconds in encoded:
                yield Case(
                    source="h264-gop48.mp4",
                    mode="encode",
                    seconds=seconds,
                    codec=codec.value,
                    threads=threads,
                )


def make(path: Path, codec: str, gop: int, options: dict[str, str]) -> None:
    """A film of moving stripes under noise, which costs bits as film grain does."""
    wide, high = _SIZE
    count = _DRAWN * _RATE
    grain = np.random.default_rng(1).integers(-6, 7, (high + 64, wide + 64), dtype=np.int16)
    stripes = (np.arange(2 * wide)[None, :] // 6 % 200 + np.arange(high)[:, None] // 40).astype(
        np.int16
    )
    if codec == "libx265":
        parameters = f"keyint={gop}:min-keyint={gop}:scenecut=0:log-level=error"
        options = {**options, "x265-params": parameters}
    packets: list[tuple[bytes, int, int, bool]] = []
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=_RATE, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = wide, high, "yuv420p"
        context: VideoCodecContext = stream.codec_context
        context.gop_size, context.max_b_frames = gop, 3
        context.time_base = Fraction(1, _RATE)
        for index in range(count + 1):
            frame = None
            if index < count:
                right, down = index * 37 % 64, index * 23 % 64
                luma = stripes[:, index * 4 % wide :][:, :wide] + 30
                luma = np.clip(luma + grain[down : down + high, right : right + wide], 0, 255)
                planes = np.full((high * 3 // 2, wide), 128, dtype=np.uint8)
                planes[:high] = luma
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts = index
            packets += [
                (bytes(packet), packet.pts or 0, packet.dts or 0, packet.is_keyframe)
                for packet in stream.encode(frame)
            ]
        for lap in range(_SECONDS // _DRAWN):
            for data, pts, dts, is_key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts = pts + lap * count, dts + lap * count
                packet.duration, packet.time_base = 1, Fraction(1, _RATE)
                packet.is_keyframe, packet.stream = is_key, stream
                output.mux(packet)


def run(case: Case, folder: Path) -> None:
    """In a process of its own: render, and print what it took."""
    start = Fraction(_START) + Fraction(1, 2)
    plan = RenderPlan(
        start=start,
        end=start + case.seconds,
        container=Container(case.ending),
        mode=CutMode(case.mode),
        video=VideoSettings(codec=VideoCodec(case.codec) if case.codec else None),
        threads=case.threads,
    )
    with (folder / case.source).open("rb") as file:
        result = render(file, plan, folder / "out" / f"segment.{case.ending}")
    if result.mode.value != case.mode:
        raise SystemExit(f"{case}: {result.reason}")
    status = Path("/proc/self/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    print(json.dumps([memory // 1024, result.frame_count, result.encoded_frames]))


def measure(case: Case, folder: Path) -> Cost:
    """Run a case, and watch the disk meanwhile."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--sources", str(folder), "--case"]
    begun, most = time.perf_counter(), 0
    with subprocess.Popen(
        [*command, json.dumps(asdict(case))], stdout=subprocess.PIPE, text=True
    ) as child:
        while child.poll() is None:
            most = max(most, sum(path.stat().st_size for path in out.iterdir()))
            time.sleep(0.02)
        assert child.stdout is not None
        said = child.stdout.read()
    if child.returncode:
        raise SystemExit(f"{case} failed")
    memory, frames, encoded = json.loads(said)
    size = (out / f"segment.{case.ending}").stat().st_size
    for path in out.iterdir():
        path.unlink()
    return Cost(
        memory=memory,
        disk=max(most, size) / size,
        frames=frames,
        encoded=encoded,
        seconds=time.perf_counter() - begun,
    )


def compare(folder: Path, copied: list[int], encoded: list[int], only: str) -> None:
    """Measure all cases whose words hold `only`, and print the table."""
    for name, (codec, gop, options) in _SOURCES.items():
        if not (folder / name).exists():
            make(folder / name, codec, gop, dict(options))
    print("| source | mode | to | threads | seconds | frames | encoded | memory, MB | disk | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in cases(copied, encoded):
        if only not in f"{case.source} {case.mode} {case.codec} {case.ending}":
            continue
        cost = measure(case, folder)
        kind = f"{case.codec} {case.ending}".strip()
        print(
            f"| {case.source} | {case.mode} | {kind} | {case.threads} | {case.seconds} "
            f"| {cost.frames} | {cost.encoded} | {cost.memory} | {cost.disk:.2f} "
            f"| {cost.seconds:.1f} |",
            flush=True,
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 120], help="copied")
    parser.add_argument("--encoded-seconds", type=int, nargs="+", default=[10, 120])
    parser.add_argument("--only", default="", help="cases that hold this word")
    parser.add_argument("--sources", type=Path, help="folder to keep them in")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        run(Case(**json.loads(given.case)), given.sources)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = given.sources or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        compare(folder, given.seconds, given.encoded_seconds, given.only)


if __name__ == "__main__":
    main()
