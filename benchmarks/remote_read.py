"""Reads one large object from a real store: our reader beside boto3, in turns.

    python benchmarks/remote_read.py [--size MB] [--rounds N] [--block KiB]

A SeaweedFS server is started on loopback. Medians of all rounds; the CPU seconds are those of the
reading process, all its threads together.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "server")]

from reelsplit_server.storage.grants import ObjectGrant, Pin, Request, Wire  # noqa: E402
from reelsplit_server.storage.opening import expect_whole, open_source  # noqa: E402
from tests.services import seaweedfs  # noqa: E402

MB = 10**6
Read = Callable[[], int]


def ways(
    client: Any, bucket: str, key: str, size: int, block: int, folder: Path
) -> dict[str, Read]:
    """The ways to read all of an object, each answering how many bytes it saw."""
    place = {"Bucket": bucket, "Key": key}

    def ours(*, whole: bool) -> int:
        head = client.head_object(**place)
        url = client.generate_presigned_url("get_object", Params=place)
        grant = ObjectGrant(
            label="the object",
            request=Request(url=url),
            wire=Wire(),
            pin=Pin(size=size, tag=head["ETag"]),
            expected={"etag": head["ETag"]},
            folder=str(folder),
        )
        seen = 0
        file, _ = open_source(grant, lambda: grant)
        with file:
            if whole:
                expect_whole(file)
            while data := file.read(block):
                seen += len(data)
        return seen

    def stream() -> int:
        seen = 0
        body = client.get_object(**place)["Body"]
        while data := body.read(block):
            seen += len(data)
        return seen

    def to_memory() -> int:
        class Sink(io.RawIOBase):
            seen = 0

            def write(self, data: Any) -> int:
                self.seen += len(data)
                return len(data)

        sink = Sink()
        client.download_fileobj(bucket, key, sink)
        return sink.seen

    def to_file() -> int:
        path = folder / "download"
        client.download_file(bucket, key, str(path))
        seen = path.stat().st_size
        path.unlink()
        return seen

    return {
        "RangeReader, whole": lambda: ours(whole=True),
        "RangeReader": lambda: ours(whole=False),
        "boto3 get_object": stream,
        "boto3 download_fileobj": to_memory,
        "boto3 download_file": to_file,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=400, help="of the object, in MB")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block", type=int, default=32, help="of each read, in KiB")
    given = parser.parse_args()
    size = given.size * MB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with seaweedfs(folder / "store") as store:
            bucket = store.bucket("films")
            client = store.client()
            source = folder / "source"
            with source.open("wb") as file:
                block = os.urandom(MB)
                for number in range(given.size):
                    file.write(hashlib.sha256(str(number).encode()).digest() + block[32:])
            client.upload_file(str(source), bucket, "film")
            source.unlink()
            (folder / "job").mkdir()
            found = ways(client, bucket, "film", size, given.block * 1024, folder / "job")
            rates: dict[str, list[float]] = {way: [] for way in found}
            cpu: dict[str, list[float]] = {way: [] for way in found}
            for _ in range(given.rounds):
                for way, read in found.items():
                    before, busy = time.perf_counter(), time.process_time()
                    seen = read()
                    cpu[way].append(time.process_time() - busy)
                    rates[way].append(size / MB / (time.perf_counter() - before))
                    assert seen == size, (way, seen)
            client.close()
    best = max(statistics.median(rates[way]) for way in found if "boto3" in way)
    print(f"{given.size} MB, {given.rounds} rounds, reads of {given.block} KiB")
    print(f"{'':24}{'MB/s':>8}{'least':>8}{'most':>8}{'CPU s':>8}{'of best boto3':>16}")
    for way, each in rates.items():
        median = statistics.median(each)
        print(
            f"{way:24}{median:8.0f}{min(each):8.0f}{max(each):8.0f}"
            f"{statistics.median(cpu[way]):8.2f}{median / best:16.0%}"
        )


if __name__ == "__main__":
    main()
