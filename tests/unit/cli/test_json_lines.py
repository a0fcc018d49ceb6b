from __future__ import annotations

import json

import pytest
from google.protobuf import json_format

from reelsplit.cli import json_lines
from reelsplit.cli.failures import ExitCode, Failure
from reelsplit.types.event import JobEvent, SegmentChanged
from reelsplit.types.job import Job, JobState
from reelsplit.types.segment import (
    Segment,
    SegmentBounds,
    SegmentState,
    Transition,
    TransitionType,
)
from reelsplit.v1 import job_service_pb2

BOUNDS = SegmentBounds(start_offset=0, end_offset=1.5, start_frame=0, end_frame=36)


def test_an_event_reads_back_as_a_watch_response() -> None:
    segment = Segment(job_id="j", index=0, state=SegmentState.PLANNED, bounds=BOUNDS)
    line = json_lines.event(JobEvent(job_id="j", sequence=3, event=SegmentChanged(segment=segment)))
    message = json_format.ParseDict(line, job_service_pb2.WatchJobResponse())
    assert message.event.sequence == 3
    assert line["event"]["segmentChanged"]["segment"]["index"] == 0
    assert line["event"]["segmentChanged"]["segment"]["state"] == "SEGMENT_STATE_PLANNED"


def test_the_last_line() -> None:
    line = json_lines.result(Job(job_id="j", state=JobState.SUCCEEDED), [Segment(index=1)])
    assert list(line) == ["job", "segments"]
    assert line["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert line["segments"][0]["index"] == 1


def test_the_last_line_without_a_job() -> None:
    failure = Failure(ExitCode.UNREACHABLE, "gone", reason="UNAVAILABLE")
    assert json_lines.result(None, (), failure) == {
        "job": None,
        "segments": [],
        "error": {"reason": "UNAVAILABLE", "message": "gone"},
    }


def test_shots() -> None:
    segments = [
        Segment(bounds=BOUNDS, transition=Transition(type=TransitionType.START)),
        Segment(
            bounds=BOUNDS,
            transition=Transition(type=TransitionType.FADE_BLACK, confidence=0.0),
        ),
        Segment(),
    ]
    first, second = json_lines.shots(segments)["shots"]
    assert first == {
        "startFrame": 0,
        "endFrame": 36,
        "startOffset": "0s",
        "endOffset": "1.500s",
        "transition": "start",
        "confidence": None,
    }
    assert (second["transition"], second["confidence"]) == ("fade_black", 0.0)


def test_lines_are_single_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    json_lines.emit({"name": "Füße\n"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"name": "Füße\n"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TransitionType.START, "start"),
        (TransitionType.CUT, "cut"),
        (TransitionType.DISSOLVE, "dissolve"),
        (TransitionType.FADE_BLACK, "fade_black"),
        (TransitionType.FADE_WHITE, "fade_white"),
        (TransitionType.WIPE, "wipe"),
        (TransitionType.SPLIT, "split"),
        (TransitionType.UNSPECIFIED, None),
    ],
)
def test_every_transition_has_its_name(kind: TransitionType, name: str | None) -> None:
    segment = Segment(
        index=1,
        bounds=SegmentBounds(start_offset=4, end_offset=8, start_frame=100, end_frame=200),
        transition=Transition(type=kind, start_frame=90, end_frame=110, confidence=0.75),
    )
    (shot,) = json_lines.shots([segment])["shots"]
    assert shot == {
        "startFrame": 100,
        "endFrame": 200,
        "startOffset": "4s",
        "endOffset": "8s",
        "transition": name,
        "confidence": 0.75,
    }
