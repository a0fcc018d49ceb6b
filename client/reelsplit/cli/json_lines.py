"""What `--json` prints: one object a line, in protobuf JSON where it is a message."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format

from reelsplit import wire
from reelsplit.cli.failures import ExitCode, Failure
from reelsplit.types.event import JobEvent
from reelsplit.types.job import Job
from reelsplit.types.record import Record
from reelsplit.types.segment import Segment, TransitionType


def as_json(record: Record) -> dict[str, Any]:
    """Protobuf JSON, with zeros and empty lists written out."""
    answer: dict[str, Any] = json_format.MessageToDict(
        wire.to_message(record), always_print_fields_with_no_presence=True
    )
    return answer


def event(item: JobEvent) -> dict[str, Any]:
    """A WatchJobResponse."""
    return {"event": as_json(item)}


def result(
    job: Job | None, segments: Iterable[Segment], failure: Failure | None = None
) -> dict[str, Any]:
    """The last line of a job. What failed outside of the job stands in `error`."""
    line: dict[str, Any] = {
        "job": as_json(job) if job is not None else None,
        "segments": [as_json(segment) for segment in segments],
    }
    return line if failure is None else {**line, "error": failure.as_json()}


def shots(segments: Iterable[Segment], failure: Failure | None = None) -> dict[str, Any]:
    """The last line of `shots`."""
    line: dict[str, Any] = {"shots": [shot(item) for item in segments if item.bounds is not None]}
    return line if failure is None else {**line, "error": failure.as_json()}


def shot(segment: Segment) -> dict[str, Any]:
    """One shot: frames count from 0, and the end is the first frame behind it."""
    assert segment.bounds is not None
    bounds = as_json(segment.bounds)
    found = segment.transition
    kind = found.type if found is not None else TransitionType.UNSPECIFIED
    return {
        "startFrame": bounds["startFrame"],
        "endFrame": bounds["endFrame"],
        "startOffset": bounds.get("startOffset", "0s"),
        "endOffset": bounds.get("endOffset", "0s"),
        "transition": kind.name.lower() if kind is not TransitionType.UNSPECIFIED else None,
        "confidence": found.confidence if found is not None else None,
    }


def emit(line: object) -> None:
    """Print one line at once. A reader who has gone interrupts the command."""
    text = json.dumps(line, separators=(",", ":"), ensure_ascii=True)
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What else is printed goes nowhere, the flush at the end of the process included.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failure(ExitCode.INTERRUPTED, "stdout was closed", reason="CANCELLED") from None
