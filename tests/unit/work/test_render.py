"""What the unit that makes a segment tells of it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from reelsplit.types.segment import Segment
from reelsplit_server.media.plan import CutMode, RenderResult
from reelsplit_server.work.render import _describe

RESULT = RenderResult(
    frame_count=24,
    start=Fraction(0),
    end=Fraction(1),
    start_pts=0,
    end_pts=24,
    time_base=Fraction(1, 24),
    duration=Fraction(1),
    copied_frames=0,
    encoded_frames=24,
    damaged=0,
    reason=None,
    streams=(),
    mode=CutMode.AUTO,
    decoded_frames=24,
    audio_offset=None,
)


@pytest.mark.parametrize(
    ("damaged", "broken", "words"),
    [
        (1, (Fraction(5, 2), Fraction(5, 2)), ": 1, at 2.500 s."),
        (3, (Fraction(5, 2), Fraction(13, 4)), ": 3, from 2.500 s to 3.250 s."),
        (2, None, ": 2."),
    ],
)
def test_damage_is_told_with_its_place(
    damaged: int, broken: tuple[Fraction, Fraction] | None, words: str
) -> None:
    result = dataclasses.replace(RESULT, damaged=damaged, broken=broken)
    (notice,) = _describe(Segment(index=0), result).notices
    assert notice.code == "SOURCE_DAMAGED"
    assert words in notice.message


def test_nothing_is_told_of_a_sound_source() -> None:
    assert not _describe(Segment(index=0), RESULT).notices
