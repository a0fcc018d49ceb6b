"""How stretches are shared out among those who scan."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from reelsplit_server.media.detection import board as boards
from reelsplit_server.media.detection.board import Claim, HelperBoard, LeadBoard, Over, helping
from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.index import Samples
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.stretches import Stretch
from reelsplit_server.media.detection.strip import Strip

VIEW = View(width=160, height=96, rate=Fraction(24_000, 1001), crop=(1, 2, 30, 40), downscale=3)


def plan(count: int) -> list[Stretch]:
    return [
        Stretch(number=n, entry=n * 10 if n else None, low=n * 10 or None, high=n * 10 + 10)
        for n in range(count)
    ]


@pytest.fixture
def lead(tmp_path: Path) -> Iterator[LeadBoard]:
    board = LeadBoard(tmp_path / "share", VIEW, plan(40))
    yield board
    board.close()


@pytest.fixture
def helper(tmp_path: Path, lead: LeadBoard) -> Iterator[HelperBoard]:
    with helping(tmp_path / "share") as board:
        yield board


def strip(first: int, count: int) -> Strip:
    chance = np.random.default_rng(first)
    return Strip(
        first=first,
        pts=np.arange(first, first + count, dtype=np.int64),
        y=chance.integers(0, 256, (count, 36, 64), np.uint8),
        u=chance.integers(0, 256, (count, 18, 32), np.uint8),
        v=chance.integers(0, 256, (count, 18, 32), np.uint8),
    )


def scanned() -> Scanned:
    return Scanned(
        pts=np.arange(10, dtype=np.int64),
        strips=(strip(0, 3), strip(5, 2)),
        boundaries=(Boundary(kind=Kind.FADE_BLACK, start=3, end=5, confidence=0.25),),
        end=10,
        last_duration=1,
    )


def test_no_stretch_is_given_to_two(lead: LeadBoard, helper: HelperBoard) -> None:
    claims = [lead.claim(0, again=True), helper.next(0), lead.claim(0, again=True)]
    assert [claim.number for claim in claims if claim] == [0, 1, 2]


def test_many_at_once_share_all_of_them(tmp_path: Path, lead: LeadBoard) -> None:
    lead.move(20)
    taken: list[int] = []

    def take() -> None:
        with helping(tmp_path / "share") as board:
            while (claim := board.claim(20, again=False)) is not None:
                taken.append(claim.number)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(20, 20 + boards.AHEAD))


def test_what_was_seen_arrives_as_it_was(lead: LeadBoard, helper: HelperBoard) -> None:
    claim = helper.next(0)
    assert claim is not None
    assert lead.take(0) is None
    helper.put(claim, scanned())
    claim.release()
    found = lead.take(0)
    assert found is not None
    assert found.pts.tolist() == list(range(10))
    assert (found.end, found.last_duration, found.flaw) == (10, 1, None)
    assert found.boundaries == scanned().boundaries
    for ours, theirs in zip(found.strips, scanned().strips, strict=True):
        assert ours.first == theirs.first
        for name in ("pts", "y", "u", "v"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    assert lead.take(0) is None


def test_the_plan_arrives_as_it_was(tmp_path: Path) -> None:
    samples = Samples(
        pts=np.array([0, 20, 10], np.int64),
        sizes=np.array([5, 3, 2], np.int64),
        keys=np.array([True, False, False]),
        shown=np.array([True, True, False]),
    )
    made = [
        Stretch(
            number=n,
            entry=None,
            low=None,
            high=30,
            cut=bool(n),
            pts=np.array([0, 10, 20], np.int64)[n:],
            samples=samples,
            packets=(n, 3),
            place=(n, None),
        )
        for n in range(3)
    ]
    board = LeadBoard(tmp_path / "share", VIEW, made)
    with helping(tmp_path / "share") as found:
        assert found.view == VIEW
        for ours, theirs in zip(found.stretches, made, strict=True):
            for name in ("number", "entry", "low", "high", "cut", "place", "packets"):
                assert getattr(ours, name) == getattr(theirs, name)
            assert ours.pts is not None
            assert theirs.pts is not None
            assert ours.pts.tolist() == theirs.pts.tolist()
            assert ours.samples is not None
            for name in ("pts", "sizes", "keys", "shown"):
                assert np.array_equal(getattr(ours.samples, name), getattr(theirs.samples, name))
    board.close()


def test_nobody_runs_far_ahead_of_the_lead(lead: LeadBoard, helper: HelperBoard) -> None:
    claims: list[Claim] = []
    while (claim := helper.next(0)) is not None:
        claims.append(claim)
    assert [claim.number for claim in claims] == list(range(boards.AHEAD))
    lead.move(1)
    claim = helper.next(0)
    assert claim is not None
    assert claim.number == boards.AHEAD


def test_what_somebody_died_over_is_left_to_the_lead(lead: LeadBoard, helper: HelperBoard) -> None:
    claim = helper.next(0)
    assert claim is not None
    # A lock ends with whoever holds it.
    os.close(claim.file)
    following = helper.next(0)
    assert following is not None
    assert following.number == 1
    again = lead.claim(0, again=True)
    assert again is not None
    assert again.number == 0


def test_helpers_end_when_all_is_shared_out(lead: LeadBoard, helper: HelperBoard) -> None:
    lead.move(39)
    claim = helper.next(0)
    assert claim is not None
    with pytest.raises(Over):
        helper.next(0)


def test_helpers_end_with_the_lead(tmp_path: Path) -> None:
    lead = LeadBoard(tmp_path / "share", VIEW, plan(4))
    with helping(tmp_path / "share") as helper:
        helper.check()
        # As when the process dies: nothing is cleared up.
        os.close(lead._lock)
        with pytest.raises(Over):
            helper.check()
    with pytest.raises(Over):
        HelperBoard(tmp_path / "elsewhere")


def test_helpers_end_when_it_is_over(tmp_path: Path) -> None:
    lead = LeadBoard(tmp_path / "share", VIEW, plan(4))
    with helping(tmp_path / "share") as helper:
        claim = helper.next(0)
        assert claim is not None
        lead.close()
        for work in (helper.check, lambda: helper.put(claim, scanned())):
            with pytest.raises(Over):
                work()
    assert not (tmp_path / "share").exists()


def test_a_helper_waits_until_the_lead_has_come_along(lead: LeadBoard, helper: HelperBoard) -> None:
    while helper.next(0) is not None:
        pass
    mover = threading.Timer(0.1, lead.move, [5])
    mover.start()
    before = time.monotonic()
    claim = helper.next(20)
    mover.join()
    assert claim is not None
    assert claim.number == boards.AHEAD
    assert time.monotonic() - before < 20
