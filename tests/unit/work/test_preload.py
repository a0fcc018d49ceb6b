"""What is loaded before workers are forked: each start of a server waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, sys
from reelsplit_server.work import preload
from reelsplit_server.media import pyscenedetect
told = {"loaded": sorted(sys.modules), "started": os.path.exists(sys.argv[1])}
import rich, scenedetect
told["same"] = scenedetect.AdaptiveDetector is pyscenedetect.AdaptiveDetector
print(json.dumps(told))
"""


def test_only_what_workers_need_is_loaded_and_nothing_is_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\necho > '{started}'\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(started)],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    told = json.loads(done.stdout)
    assert not told["started"]
    unwanted = {"rich", "scenedetect.output", "scenedetect.backends"}
    assert not unwanted & set(told["loaded"])
    assert "reelsplit_server.media.detectors" in told["loaded"]
    # Whoever loads the rest later finds it as it is.
    assert told["same"]
