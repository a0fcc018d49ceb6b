"""Takes the flags that the command passes, and serves `Scripted`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from tests.unit.cli import scripted


def main() -> None:
    """Serve until stdin ends or SIGTERM comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", choices=["127.0.0.1:0"], required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("--announce", type=Path, required=True)
    parser.add_argument("--exit-with-stdin", action="store_true", required=True)
    parser.add_argument("--grace", choices=["0"], required=True)
    parser.add_argument("--trust-callers", action="store_true", required=True)
    options = parser.parse_args()
    if os.environ.get("FAKE_FAILS"):
        record = {"level": "error", "event": "the port is taken"}
        print("starting", json.dumps(record), sep="\n", file=sys.stderr)
        sys.exit(1)
    (token,) = json.loads(os.environ["REELSPLIT_TOKENS"]).values()
    assert "REELSPLIT_TOKEN" not in os.environ
    assert token not in " ".join(sys.argv)
    service = scripted.Scripted(token)
    server, address = scripted.start(service)
    told = os.environ.get("FAKE_TELLS")
    if told:
        facts = {"pid": os.getpid(), "roots": options.root, "folder": str(options.data_dir.parent)}
        Path(told).write_text(json.dumps(facts))
    draft = options.announce.with_suffix(".draft")
    draft.write_text(address + "\n")
    draft.rename(options.announce)
    signal.signal(signal.SIGTERM, _ended)
    if os.environ.get("FAKE_DIES"):
        threading.Timer(1, os._exit, [1]).start()
    sys.stdin.buffer.read()
    server.stop(0)
    if told:
        Path(told + ".ended").write_text("stdin")
    os._exit(0)


def _ended(number: int, frame: FrameType | None) -> None:
    time.sleep(0.1)
    os._exit(0)


main()
