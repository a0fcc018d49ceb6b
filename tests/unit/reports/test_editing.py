"""EDL and OTIO, read back by OpenTimelineIO."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import opentimelineio as otio
import pytest

from reelsplit.types.segment import TransitionType
from reelsplit_server.reports import edl
from reelsplit_server.reports import otio as timeline
from reelsplit_server.reports.findings import Findings
from tests.unit.reports.found import cut, findings, renamed, segment, text

NTSC = Fraction(1000, 1001)
RATES = [24 * NTSC, Fraction(25), 30 * NTSC, 60 * NTSC, Fraction(60)]


def read_edl(content: str, rate: Fraction) -> Any:
    return otio.adapters.read_from_string(content, "cmx_3600", rate=float(rate))


def ranges(track: Any) -> list[tuple[int, int]]:
    """The source ranges of the clips, in frames."""
    return [
        (
            round(clip.source_range.start_time.value),
            round(clip.source_range.end_time_exclusive().value),
        )
        for clip in track
        if isinstance(clip, otio.schema.Clip)
    ]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_an_edl_of_cuts_is_read_back(rate: Fraction) -> None:
    # Over a full minute, where numbers are dropped.
    borders = [0, 50, 1799, 1800, 1810, 3599, 3600, 3700, 20_000, 108_000]
    shots = [
        segment(n, (start, end), rate, cut(start))
        for n, (start, end) in enumerate(itertools.pairwise(borders))
    ]
    content = text(edl.write, findings(shots, rate=rate))
    assert ("FCM: DROP FRAME" in content) is (rate in (30 * NTSC, 60 * NTSC))
    (track,) = read_edl(content, rate).tracks
    assert ranges(track) == list(itertools.pairwise(borders))
    assert [clip.name for clip in track] == ["A film.mp4"] * len(shots)
    assert track[0].metadata["cmx_3600"]["reel"] == "AFILM"


def test_a_dissolve_is_an_event_that_begins_with_it() -> None:
    content = text(edl.write, findings())
    assert content == (
        "TITLE: A film.mp4\n"
        "FCM: NON-DROP FRAME\n"
        "\n"
        "001  AFILM    V     C        00:00:00:00 00:00:02:00 00:00:00:00 00:00:02:00\n"
        "* FROM CLIP NAME: A film.mp4\n"
        "002  AFILM    V     C        00:00:02:00 00:00:03:15 00:00:02:00 00:00:03:15\n"
        "* FROM CLIP NAME: A film.mp4\n"
        "003  AFILM    V     C        00:00:03:15 00:00:03:15 00:00:03:15 00:00:03:15\n"
        "003  AFILM    V     D    020 00:00:03:15 00:00:08:00 00:00:03:15 00:00:08:00\n"
        "* FROM CLIP NAME: A film.mp4\n"
        "* TO CLIP NAME: A film.mp4\n"
        "* TRANSITION DISSOLVE FRAMES 90-110 CONFIDENCE 0.94\n"
    )
    (track,) = read_edl(content, Fraction(25)).tracks
    (dissolve,) = [item for item in track if isinstance(item, otio.schema.Transition)]
    assert dissolve.transition_type == otio.schema.TransitionTypes.SMPTE_Dissolve
    assert dissolve.in_offset.value + dissolve.out_offset.value == 20
    assert ranges(track) == [(0, 50), (50, 90), (90, 200)]


@pytest.mark.parametrize(
    ("kind", "until"),
    [
        (TransitionType.FADE_BLACK, 110),
        (TransitionType.WIPE, 110),
        # These do not fit between the shots around them.
        (TransitionType.DISSOLVE, 300),
        (TransitionType.DISSOLVE, 90),
    ],
)
def test_what_is_no_dissolve_is_a_cut_with_a_comment(kind: TransitionType, until: int) -> None:
    shots = [segment(0, (0, 100)), segment(1, (100, 200), transition=cut(90, kind, until))]
    content = text(edl.write, findings(shots))
    assert f"* TRANSITION {kind.name} FRAMES 90-{until} CONFIDENCE 0.94\n" in content
    (track,) = read_edl(content, Fraction(25)).tracks
    assert ranges(track) == [(0, 100), (100, 200)]


def test_frames_of_a_dissolve_that_belong_to_no_segment_are_a_gap() -> None:
    shots = [
        segment(0, (0, 90)),
        segment(1, (110, 200), transition=cut(90, TransitionType.DISSOLVE, 110)),
    ]
    (track,) = read_edl(text(edl.write, findings(shots)), Fraction(25)).tracks
    assert ranges(track) == [(0, 90), (110, 200)]
    assert [type(item).__name__ for item in track] == ["Clip", "Gap", "Clip"]
    again = read_otio(findings(shots)).tracks[0]
    assert ranges(again) == [(0, 90), (110, 200)]
    assert again.range_of_child(again[2]).start_time.value == 110


def read_otio(found: Findings) -> Any:
    return otio.adapters.read_from_string(text(timeline.write, found), "otio_json")


def test_the_callers_choice_is_recorded_piece_after_piece() -> None:
    import dataclasses

    shots = [segment(0, (100, 150)), segment(1, (0, 50)), segment(2, (25, 75))]
    found = dataclasses.replace(findings(shots), is_edit=True)
    content = text(edl.write, found)
    assert "00:00:04:00 00:00:06:00 00:00:00:00 00:00:02:00" in content
    (track,) = read_edl(content, Fraction(25)).tracks
    assert ranges(track) == [(100, 150), (0, 50), (25, 75)]
    (again,) = read_otio(found).tracks
    assert ranges(again) == [(100, 150), (0, 50), (25, 75)]
    assert again.duration().value == 150


def test_more_events_than_three_digits_count() -> None:
    shots = [segment(n, (3 * n, 3 * n + 3), transition=cut(3 * n)) for n in range(1200)]
    (track,) = read_edl(text(edl.write, findings(shots)), Fraction(25)).tracks
    assert len(track) == 1200


def test_what_has_no_timecode_is_left_out_and_said() -> None:
    day = 86_400 * 25
    shots = [segment(0, (0, 50)), segment(1, (50, 5 * day)), segment(2, (5 * day, 5 * day + 9))]
    content = text(edl.write, findings(shots))
    assert content.endswith("* LEFT OUT: 2 WITHOUT A TIMECODE OR SHORTER THAN A FRAME\n")
    (track,) = read_edl(content, Fraction(25)).tracks
    assert ranges(track) == [(0, 50)]


@pytest.mark.parametrize(
    ("name", "reel"),
    [
        ("a\u2028001  X V C 00\u202egnp.mp4", "A001XVC0"),
        ("映画.mp4", "AX"),
        ("-.mp4", "AX"),
        ("x" * 300 + ".mp4", "XXXXXXXX"),
    ],
)
def test_names_make_no_lines_of_their_own(name: str, reel: str) -> None:
    content = text(edl.write, renamed(findings(), name))
    assert [line.split(maxsplit=2)[:2] for line in content.splitlines() if line[:3].isdigit()] == [
        ["001", reel],
        ["002", reel],
        ["003", reel],
        ["003", reel],
    ]
    assert len(read_edl(content, Fraction(25)).tracks[0]) == 4


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_timeline_is_read_back(rate: Fraction) -> None:
    read = read_otio(findings(rate=rate))
    (track,) = read.tracks
    assert ranges(track) == [(0, 50), (50, 100), (100, 200)]
    clip = track[2]
    assert clip.media_reference.target_url == "file:///films/A%20film.mp4"
    assert round(clip.media_reference.available_range.duration.value) == 200
    assert clip.source_range.start_time.rate == float(rate)
    assert dict(clip.metadata["reelsplit"]) == {
        "index": 2,
        "start_frame": 100,
        "end_frame": 200,
        "transition": "dissolve",
        "transition_start_frame": 90,
        "transition_end_frame": 110,
        "confidence": 0.9375,
    }
    (marker,) = clip.markers
    assert marker.name == "dissolve"
    assert (marker.marked_range.start_time.value, marker.marked_range.duration.value) == (90, 20)
    assert not track[0].markers
    assert not track[1].markers
    assert read.global_start_time.value == 0
