"""Made timelines: their labels agree with their frames."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from detection_effects import MIXES, Pictures
from detection_scoring import Boundary, read_labels, write_labels
from detection_splices import Span, Timeline, render, spans_of

LEVELS = (40, 110, 180, 235)
"""Each source shows one grey only, with a little grain."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Span]:
    """Four shots of one grey each, in one labelled video."""
    folder = tmp_path_factory.mktemp("sources")
    video = folder / "greys.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for level in LEVELS:
            picture = np.full((36, 64, 3), level, np.uint8)
            for _ in range(130):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    cuts = [
        {"type": "cut", "start_frame": 130 * index, "end_frame": 130 * index}
        for index in range(1, len(LEVELS))
    ]
    Path(f"{video}.labels.json").write_text(
        json.dumps({"n_frames": 130 * len(LEVELS), "boundaries": cuts})
    )
    return spans_of([folder])


def test_shots_of_a_source_leave_its_boundaries_out(sources: list[Span]) -> None:
    assert [(span.first, span.last) for span in sources] == [
        (0, 126),
        (133, 256),
        (263, 386),
        (393, 519),
    ]


def _made(sources: list[Span], joins: list[str], seed: int) -> tuple[Pictures, Timeline]:
    timeline = Timeline()
    parts = list(render(sources, joins, timeline, np.random.default_rng(seed), spread=0))
    return np.concatenate([part[:, ::12, ::12] for part in parts]), timeline


def _joins(timeline: Timeline) -> list[Boundary]:
    """The boundaries but for the jump after a freeze, which is inside a shot."""
    return [each for each in timeline.boundaries if each.kind != "cut_similar"]


def _greys(pictures: Pictures) -> list[float]:
    """The sources' levels as they come back from the codec; none of a mixed picture."""
    return [float(picture.mean()) if picture.std() < 2 else -1 for picture in pictures]


def _is_pure(grey: float) -> bool:
    return any(abs(grey - level) < 6 for level in LEVELS)


@pytest.mark.parametrize("join", ["cut", "burst", "insert", *MIXES])
def test_labels_agree_with_the_frames(sources: list[Span], join: str) -> None:
    pictures, timeline = _made(sources, [join], seed=5)
    greys = _greys(pictures)
    assert timeline.frames == len(pictures)
    assert timeline.boundaries
    for boundary in _joins(timeline):
        assert _is_pure(greys[boundary.start - 1])
        assert _is_pure(greys[boundary.end])
        assert abs(greys[boundary.start - 1] - greys[boundary.end]) > 20
        if boundary.start < boundary.end:
            kind = MIXES[join][1]
            assert boundary.kind == kind
            assert not np.array_equal(pictures[boundary.start], pictures[boundary.start - 1])
            assert not np.array_equal(pictures[boundary.end - 1], pictures[boundary.end])


def test_an_insert_is_one_frame_and_may_be_taken_as_none(sources: list[Span]) -> None:
    _, timeline = _made(sources, ["insert"], seed=3)
    into, out = _joins(timeline)
    assert (into.kind, into.optional) == ("cut_to_insert", True)
    assert (out.kind, out.optional) == ("cut_from_insert", False)
    assert out.start == into.start + 1


def test_what_disturbs_a_shot_lies_inside_it(sources: list[Span]) -> None:
    joins = ["cut", "dissolve"] * 3
    _, timeline = _made(sources, joins, seed=8)
    assert len(timeline.distractors) >= 3
    for each in timeline.distractors:
        first, stop = int(str(each["start_frame"])), int(str(each["end_frame"]))
        assert first < stop
        for boundary in _joins(timeline):
            assert stop <= boundary.start - 10 or first >= boundary.end + 10


def test_a_seed_makes_the_same_again(sources: list[Span]) -> None:
    joins = ["wipe", "burst"]
    first, one = _made(sources, joins, seed=4)
    second, two = _made(sources, joins, seed=4)
    assert np.array_equal(first, second)
    assert one == two


def test_labels_can_be_read_back(sources: list[Span], tmp_path: Path) -> None:
    _, timeline = _made(sources, ["cut", "push"], seed=2)
    write_labels(tmp_path / "made.mp4", timeline.labels, 25, {"timeline": "made"})
    assert read_labels(tmp_path / "made.mp4.labels.json") == timeline.labels
