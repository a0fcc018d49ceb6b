"""Groups of pictures are looked at no further than they are in doubt, and encoders are believed
that tell how they placed key frames."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit_server.media.detection.encoder_note import EncoderNote
from reelsplit_server.media.detection.fast_coding import Coded
from reelsplit_server.media.detection.fast_doubt import Ends, Verdict
from reelsplit_server.media.detection.fast_groups import Group
from reelsplit_server.media.detection.fast_rest import Rest
from reelsplit_server.media.detection.index import Samples, SourceIndex, read_index
from reelsplit_server.media.detection.stretches import Spacing
from reelsplit_server.media.detection.thumbs import Thumb
from reelsplit_server.media.probe import probe
from tests.clips import make_clip

LENGTH = 200
ENDS = Ends(apart=1.0, free=True, watched=True, due=False, plain=False)


def thumb(number: int, spread: float = 50) -> Thumb:
    blocks = np.random.default_rng(number).normal(120, spread, (4, 4))
    y = np.clip(np.kron(blocks, np.ones((9, 16))), 0, 255).astype(np.uint8)
    flat = np.full((18, 32), 128, np.uint8)
    return y, flat, flat


ONE, OTHER, BLACK = thumb(1), thumb(2), thumb(3, 0)


def group(*large: int) -> Group:
    """One of which every other frame is an anchor, and these packets are large."""
    sizes = np.full(LENGTH, 100, np.int64)
    sizes[0] = 1000
    sizes[list(large)] = 900
    sizes[-1] = 20
    pts = np.arange(LENGTH, dtype=np.int64)
    # 0, 2, 1, 4, 3, …
    packets = np.append(pts[:-1], pts[-1])
    packets[1:-1:2], packets[2:-1:2] = pts[2:-1:2], pts[1:-2:2]
    return Group(
        entry=None,
        high=LENGTH,
        first=0,
        pts=pts,
        begun=True,
        ended=True,
        coded=Coded(packets=packets, sizes=sizes[packets]),
    )


def test_anchors_crowd_where_one_shot_gives_way_to_another() -> None:
    """Every fourth frame is an anchor, but for twelve in a row that are, and are large."""
    calm = group()
    shown = np.arange(LENGTH)
    crowded = (shown >= 100) & (shown < 112)
    anchors = (shown % 4 == 0) | crowded
    # Each anchor is decoded before the frames that are shown before it.
    times = []
    for low, high in pairwise([*np.flatnonzero(anchors).tolist(), LENGTH]):
        times += [low] if low == 0 else []
        times += [high] * (high < LENGTH) + list(range(low + 1, high))
    packets = np.array(times, np.int64)
    sizes = np.where(crowded, 400, np.where(anchors, 200, 50))[packets]
    sizes[0] = 1000
    assert sorted(times) == shown.tolist()
    mixed = Coded(packets=packets, sizes=sizes).curves()
    even = calm.coded.curves()
    assert mixed is not None
    assert even is not None
    assert float(even.crowding.max()) == 0.0
    first, late = mixed.after(0), mixed.after(120)
    assert first is not None
    assert late is not None
    assert first.crowding > 0.5
    assert late.crowding == 0.0


def stop(rest: Rest, picture: Thumb = ONE) -> int | None:
    """After which frame there are enough."""
    return next((number for number in range(LENGTH) if rest.enough(number, picture)), None)


def test_a_calm_rest_is_left() -> None:
    rest = Rest(group(30, 31), ENDS, OTHER, strictness=1)
    assert rest.hopeful
    rest.ask(0)
    number = stop(rest)
    assert number is not None
    assert 31 + 8 < number < 60
    assert rest.verdict is Verdict.CUT
    assert rest.apart > 0.6


def test_what_goes_on_is_calm() -> None:
    rest = Rest(group(30, 31), ENDS, ONE, strictness=1)
    rest.ask(0)
    assert stop(rest) is not None
    assert rest.verdict is Verdict.CALM


@pytest.mark.parametrize(
    ("large", "following", "picture", "intra"),
    [
        pytest.param((170, 171), OTHER, ONE, 0, id="late"),
        pytest.param((30, 31), BLACK, ONE, 0, id="fades"),
        pytest.param((30, 31), OTHER, BLACK, 0, id="still black"),
        pytest.param((30, 31), OTHER, ONE, 190, id="intra"),
    ],
)
def test_all_is_looked_at(
    large: tuple[int, ...], following: Thumb, picture: Thumb, intra: int
) -> None:
    rest = Rest(group(*large), ENDS, following, strictness=1)
    rest.ask(intra)
    assert stop(rest, picture) is None


def test_what_comes_up_out_of_black_must_rest() -> None:
    ends = replace(ENDS, plain=True)
    rest = Rest(group(5), ends, OTHER, strictness=1)
    rest.ask(0)
    moving = (rest.enough(number, thumb(10 + number)) for number in range(LENGTH))
    assert not any(moving)
    rest = Rest(group(5), ends, OTHER, strictness=1)
    rest.ask(0)
    assert stop(rest) is not None


def index_of(keys: list[int], frames: int, note: EncoderNote | None) -> SourceIndex:
    pts: NDArray[np.int64] = np.arange(frames, dtype=np.int64)
    yes = np.ones(frames, np.bool_)
    firsts = np.array(keys, np.int64)
    samples = Samples(pts=pts, sizes=pts + 1, keys=np.isin(pts, firsts), shown=yes)
    return SourceIndex(
        keys=firsts, places=firsts, pts=pts, samples=samples, firsts=firsts, note=note
    )


def test_an_encoder_is_believed_that_fits_its_packets() -> None:
    note = EncoderNote(most=100, watched=True)
    assert not Spacing.of(index_of([0, 100, 200], 300, None)).watched
    told = Spacing.of(index_of([0, 100, 200], 300, note))
    assert told.watched
    assert told.limited
    assert told.is_long(100)
    short = Spacing.of(index_of([0, 40, 80], 120, note))
    assert short.watched
    assert not short.limited
    assert not Spacing.of(index_of([0, 100, 200], 320, note)).watched
    unwatched = EncoderNote(most=100, watched=False)
    assert not Spacing.of(index_of([0, 100, 200], 300, unwatched)).watched


@pytest.mark.parametrize(
    ("codec", "most", "watched"), [("libx264", 48, True), ("libx264", 25, False)]
)
def test_x264_tells_of_itself(tmp_path: Path, codec: str, most: int, watched: bool) -> None:
    path = tmp_path / "clip.mp4"
    cut = 40 if watched else 0
    options = {"x264-params": f"keyint={most}:scenecut={cut}"}
    make_clip(path, codec=codec, frames=10, size=(96, 64), options=options)
    with path.open("rb") as file:
        index = read_index(file, probe(file))
    assert index is not None
    assert index.note == EncoderNote(most=most, watched=watched)


def test_other_packets_tell_nothing() -> None:
    for data in (b"", b"x264 - core 164 options: keyint=250", bytes(9000), b"x264 - options:"):
        assert EncoderNote.read(io.BytesIO(data), 0, len(data)) is None
    data = b"x264 - core 164 - options: a=1 keyint=infinite scenecut=40"
    assert EncoderNote.read(io.BytesIO(data), 0, len(data)) is None
