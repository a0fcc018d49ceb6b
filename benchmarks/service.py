"""The service itself: jobs accepted, watchers, start with many jobs, overhead, memory.

    python benchmarks/service.py [--part submits|watchers|recovery|overhead|memory ...]

Each part is a command of its own (``service_<part>.py``) with options of its own, and measures its
peers in the same run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import service_memory
import service_overhead
import service_recovery
import service_submits
import service_watchers

PARTS = {
    "submits": service_submits,
    "watchers": service_watchers,
    "recovery": service_recovery,
    "overhead": service_overhead,
    "memory": service_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="by default all, in turn")
    for part in parser.parse_args().part or PARTS:
        print(f"## {part}\n", flush=True)
        PARTS[part].main([])
        print(flush=True)


if __name__ == "__main__":
    main()
