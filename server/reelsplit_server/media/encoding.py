"""Segments that are written by decoding and encoding every frame of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.frame import VideoFrame

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import time_base
from reelsplit_server.media.encoded import Encoded
from reelsplit_server.media.made import Made
from reelsplit_server.media.others import PREROLL, PREROLL_OF_CUES, early_packets
from reelsplit_server.media.plan import Action, RenderPlan, StreamKind
from reelsplit_server.media.reader import Reader
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import kept, plan_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A segment to write."""

    plan: RenderPlan
    path: Path
    on_progress: Callable[[int], None]
    """Gets the number of frames that are encoded."""


def encode(
    file: BinaryIO,
    plan: RenderPlan,
    origin: int,
    path: Path,
    on_progress: Callable[[int], None],
) -> Made:
    """Write the plan's range to `path`, every frame decoded and encoded.

    `origin` is the source's tick of t = 0.

    Raises `MediaError`: ``RANGE_OUTSIDE_SOURCE`` where no frame lies in the span,
    ``SOURCE_DAMAGED`` where none of it can be decoded, ``ENCODER_REFUSED``, and what `Output` and
    `Tracks` raise.
    """
    pieces = [Piece(plan=plan, path=path, on_progress=on_progress)]
    return next(encode_all(file, pieces, origin))


def encode_all(file: BinaryIO, pieces: Sequence[Piece], origin: int) -> Iterator[Made]:
    """Write several segments, and decode no frame twice that lies in more than one of them or
    leads to more than one. They must stand in order of their starts and of their ends, and are
    answered in that order, each as soon as it is written.

    Several end where the source turns out to be damaged: what the damage means for each of the
    rest shows when it is written alone. Raises what `encode` raises.
    """
    with ExitStack() as stack:
        # One file cannot be read at two places by turns: all of them are opened before one is
        # read on.
        others: list[InputContainer] = []
        for _ in pieces[1:]:
            others.append(open_source(file))
            stack.enter_context(others[-1])
        with open_source(file) as container:
            base = time_base(video_stream(container))
            spans = [
                Span.of(start=piece.plan.start, end=piece.plan.end, origin=origin, time_base=base)
                for piece in pieces
            ]
            outcomes = [plan_others(container, piece.plan) for piece in pieces]
            wanted = set[int]().union(*(kept(each) for each in outcomes))
            has_cues = "mov" not in container.format.name and any(
                outcome.kind is StreamKind.SUBTITLE and outcome.action is not Action.DROPPED
                for each in outcomes
                for outcome in each
            )
            before = None
            if spans[0].low > spans[0].origin:
                start = spans[0].low * base
                before = early_packets(file, container, wanted, start=start)
        whole = Span.of(
            start=pieces[0].plan.start, end=pieces[-1].plan.end, origin=origin, time_base=base
        )
        reader = Reader(
            file,
            whole,
            threads=pieces[0].plan.threads,
            preroll=PREROLL_OF_CUES if has_cues else PREROLL,
            wants=lambda stream: stream.index in wanted,
            early=before,
        )
        stack.callback(reader.close)
        segments = [
            Encoded(piece.plan, piece.path, piece.on_progress, span, planned, own)
            for piece, span, planned, own in zip(
                pieces, spans, outcomes, (None, *others), strict=True
            )
        ]
        for segment in segments:
            stack.callback(segment.abandon)
        yield from _written(reader, segments)


def _written(reader: Reader, segments: Sequence[Encoded]) -> Iterator[Made]:
    waiting = deque(segments)
    events = reader.events()
    while waiting and not (len(segments) > 1 and reader.damage.count):
        event = next(events, None)
        if event is None or (reader.video_done and not isinstance(event, VideoFrame)):
            for segment in waiting:
                segment.end(reader, reader.beyond)
        for segment in waiting:
            if isinstance(event, VideoFrame):
                segment.show(reader, event)
            elif event is not None:
                segment.take(reader, event)
        while waiting and (event is None or waiting[0].is_done(reader)):
            yield waiting.popleft().close(reader)
