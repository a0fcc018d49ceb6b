"""What a worker logs."""

from __future__ import annotations

import json
import subprocess
import sys

_FAULT = """
from pathlib import Path
from reelsplit import Input, Output, Segment
from reelsplit_server import telemetry
from reelsplit_server.work import entry, logs
from reelsplit_server.work.units import Probe, Render

telemetry.configure("info", "json")
logs.unit(Render(
    job_id="0" * 32, source=Input(uri="/a.mp4"), pin=None, folder=Path("/f"),
    output=Output(uri_template="/o"),
    segment=Segment(index=7), frame_rate=None, threads=1, most_pixels=1, most_frames=1,
    scratch=Path("/f/s"), intent=None, trace="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
))

def fail():
    secret = "hunter2"
    raise ValueError("wrong")

try:
    fail()
except ValueError as error:
    entry._fault(error)
logs.unit(Probe(
    job_id="1" * 32, source=Input(uri="/a.mp4"), pin=None, folder=Path("/f"), most_pixels=1,
))
entry.log.warning("other")
"""


def test_a_fault_is_one_line_with_the_ids_of_what_was_worked_on() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _FAULT], capture_output=True, text=True, check=True, timeout=120
    )
    fault, other = (json.loads(line) for line in ended.stderr.splitlines())
    assert fault["event"] == "worker_fault"
    assert (fault["job_id"], fault["segment"], fault["unit"]) == ("0" * 32, 7, "render 7")
    assert (fault["trace_id"], fault["span_id"]) == ("a" * 32, "b" * 16)
    assert "ValueError: wrong" in fault["exception"]
    assert "hunter2" not in fault["exception"].replace('secret = "hunter2"', "")
    # Nothing is left of the unit before.
    assert other["job_id"] == "1" * 32
    assert {"segment", "trace_id"}.isdisjoint(other)
