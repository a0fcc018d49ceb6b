"""JSON and CSV of what was found."""

from __future__ import annotations

import csv
import io
import json
import math
from fractions import Fraction

import pytest

from reelsplit.types.segment import Segment, SegmentBounds, TransitionType
from reelsplit_server.reports import scores_csv, shots_csv, shots_json
from reelsplit_server.reports.findings import Scores
from tests.unit.reports.found import cut, findings, renamed, segment, text


def rows(content: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content, newline="")))


def test_json_is_read_back() -> None:
    read = json.loads(text(shots_json.write, findings()))
    assert read["source"] == {
        "uri": "/films/A film.mp4",
        "duration": "8s",
        "frameCount": 200,
        "width": 640,
        "height": 360,
        "frameRate": "25/1",
        "timeBase": "1/90000",
    }
    assert read["shots"][1:] == [
        {
            "index": 1,
            "startFrame": 50,
            "endFrame": 100,
            "startOffset": "2s",
            "endOffset": "4s",
            "startPts": 181_000,
            "endPts": 361_000,
            "transition": "cut",
            "transitionStartFrame": 50,
            "transitionEndFrame": 50,
            "confidence": 0.9375,
        },
        {
            "index": 2,
            "startFrame": 100,
            "endFrame": 200,
            "startOffset": "4s",
            "endOffset": "8s",
            "startPts": 361_000,
            "endPts": 721_000,
            "transition": "dissolve",
            "transitionStartFrame": 90,
            "transitionEndFrame": 110,
            "confidence": 0.9375,
        },
    ]


def test_csv_is_read_back() -> None:
    first, _, last = rows(text(shots_csv.write, findings()))
    assert (first["transition"], first["confidence"]) == ("start", "")
    assert last == {
        "shot": "2",
        "start_frame": "100",
        "end_frame": "200",
        "frames": "100",
        "start_seconds": "4.000000",
        "end_seconds": "8.000000",
        "duration_seconds": "4.000000",
        "start": "00:00:04.000",
        "end": "00:00:08.000",
        "transition": "dissolve",
        "transition_start_frame": "90",
        "transition_end_frame": "110",
        "confidence": "0.938",
    }


def test_times_tell_every_frame_apart() -> None:
    rate = Fraction(60_000, 1001)
    found = findings([segment(n, (n, n + 1), rate) for n in range(100)], rate=rate)
    starts = [float(row["start_seconds"]) for row in rows(text(shots_csv.write, found))]
    assert [round(start * rate) for start in starts] == list(range(100))


def test_frames_that_were_not_counted_are_left_empty() -> None:
    bounds = SegmentBounds(start_offset=1, end_offset=2, time_base=Fraction(1, 1000))
    found = findings([Segment(index=0, bounds=bounds)])
    (row,) = rows(text(shots_csv.write, found))
    assert (row["start_frame"], row["frames"], row["transition"]) == ("", "", "")
    assert row["duration_seconds"] == "1.000000"
    (shot,) = json.loads(text(shots_json.write, found))["shots"]
    assert (shot["startFrame"], shot["startPts"], shot["transition"]) == (None, None, None)


@pytest.mark.parametrize("sign", "=+-@\t")
def test_no_cell_is_a_formula(sign: str) -> None:
    scores = Scores()
    scores.add(0, [1000], {f"{sign}cmd|'/C calc'!A0": [1.0]})
    found = renamed(findings(scores=scores), f"{sign}cmd|'/C calc'!A0.mp4")
    for write in (shots_csv.write, scores_csv.write):
        for row in csv.reader(io.StringIO(text(write, found), newline="")):
            assert not [cell for cell in row if cell[:1] in tuple("=+-@\t\r")], row


def test_scores_are_read_back() -> None:
    scores = Scores()
    scores.add(0, [1000, 4600], {"score": [0.0, 0.25], "ratio": [math.nan, 2.0]})
    # What lies between was not looked at.
    scores.add(50, [181_000], {"score": [1.5], "ratio": [math.nan]})
    assert rows(text(scores_csv.write, findings(scores=scores))) == [
        {"frame": "0", "seconds": "0.000000", "score": "0", "ratio": ""},
        {"frame": "1", "seconds": "0.040000", "score": "0.25", "ratio": "2"},
        {"frame": "50", "seconds": "2.000000", "score": "1.5", "ratio": ""},
    ]


def test_scores_that_do_not_fit_are_refused() -> None:
    scores = Scores()
    scores.add(5, [1, 2], {"score": [0, 0]})
    with pytest.raises(ValueError, match="in order"):
        scores.add(6, [3], {"score": [0]})
    with pytest.raises(ValueError, match="same columns"):
        scores.add(7, [3], {"other": [0]})
    with pytest.raises(ValueError, match="not as many"):
        scores.add(7, [3], {"score": [0, 1]})


def test_every_kind_has_its_name() -> None:
    kinds = [kind for kind in TransitionType if kind is not TransitionType.UNSPECIFIED]
    shots = [segment(n, (n, n + 1), transition=cut(n, kind)) for n, kind in enumerate(kinds)]
    names = [row["transition"] for row in rows(text(shots_csv.write, findings(shots)))]
    assert names == ["start", "cut", "dissolve", "fade_black", "fade_white", "wipe", "split"]
