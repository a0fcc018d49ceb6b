"""Writing one segment of a source into a file, and checking it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.copying import copy
from reelsplit_server.media.encoding import Piece, encode, encode_all
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.made import Made
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.plan import (
    Action,
    AudioMode,
    AudioSettings,
    CutMode,
    RenderPlan,
    RenderResult,
    StreamKind,
    StreamOutcome,
    VideoSettings,
)
from reelsplit_server.media.probe import first_frame
from reelsplit_server.media.stages import stage
from reelsplit_server.media.verify import Expected, VerificationFailed, Verified, verify

__all__ = [
    "Action",
    "AudioMode",
    "AudioSettings",
    "CutMode",
    "Piece",
    "RenderPlan",
    "RenderResult",
    "StreamKind",
    "StreamOutcome",
    "VideoSettings",
    "render",
    "render_all",
]


def render(
    file: BinaryIO,
    plan: RenderPlan,
    path: str | Path,
    on_progress: Callable[[int], None] = lambda frames_done: None,
) -> RenderResult:
    """Write the plan's stretch of `file` to `path`, and check what was written; `on_progress`
    hears of every frame done, and begins again where frames are encoded after all.

    Raises `MediaError`: ``RANGE_OUTSIDE_SOURCE`` where no frame lies in the range,
    ``SOURCE_DAMAGED`` where none of it can be decoded, ``COPY_IMPOSSIBLE``, ``ENCODER_REFUSED``,
    ``CONTAINER_REFUSED``, ``DISK_FULL``, ``VERIFICATION_FAILED``, and what `open_source` raises.
    What was written of a failed segment is left for the caller to remove.
    """
    if plan.start < 0 or (plan.end is not None and plan.end <= plan.start):
        raise ValueError(f"not a range: {plan.start} to {plan.end}")
    origin = _first(file) if plan.origin is None else plan.origin
    path = Path(path)
    reason: str | None = None
    if plan.mode is not CutMode.ENCODE:
        try:
            with stage("copy"):
                copied = copy(file, plan, origin, path, on_progress)
            return _checked(plan, path, copied)
        except CannotJoin as obstacle:
            if plan.mode is not CutMode.AUTO:
                raise MediaError(
                    "COPY_IMPOSSIBLE",
                    f"The range cannot be copied: {obstacle}. Ask for the mode AUTO, which "
                    "encodes what cannot be copied.",
                ) from obstacle
            reason = f"the whole segment was encoded, as {obstacle}"
        except VerificationFailed as failure:
            if plan.mode is CutMode.KEYFRAME:
                raise
            reason = (
                f"the whole segment was encoded, as the copy failed its check: {failure.message}"
            )
        except MediaError as refusal:
            if plan.mode is not CutMode.AUTO or refusal.reason != "CONTAINER_REFUSED":
                raise
            reason = "the whole segment was encoded, as the container refused what was copied"
    with stage("encode"):
        made = encode(file, plan, origin, path, on_progress)
    if reason is not None:
        both = reason if made.reason is None else f"{reason}; {made.reason}"
        made = dataclasses.replace(made, reason=both)
    return _checked(plan, path, made)


def render_all(file: BinaryIO, pieces: Sequence[Piece]) -> Iterator[RenderResult]:
    """As `render` does with the mode ENCODE for each of several pieces, which stand in order of
    their starts and of their ends, but no frame is decoded twice. Each is answered when it is
    written and checked.

    Ends early where the source is damaged: the rest is better rendered piece by piece.
    """
    first = pieces[0].plan.origin
    origin = _first(file) if first is None else first
    # The pieces behind may not all come.
    encoding = encode_all(file, pieces, origin)
    for piece in pieces:
        with stage("encode"):
            made = next(encoding, None)
        if made is None:
            return
        yield _checked(piece.plan, piece.path, made)


def _first(file: BinaryIO) -> int:
    """Ticks: when the source's first frame is shown."""
    with open_source(file) as container:
        return first_frame(container, video_stream(container)).pts or 0


@stage("verify")
def _checked(plan: RenderPlan, path: Path, made: Made) -> RenderResult:
    """Raises `VerificationFailed`."""
    count, span = len(made.placed), made.span
    counted = plan.frame_count
    is_exact = made.mode is not CutMode.KEYFRAME and plan.video.frame_rate is None
    if is_exact and counted is not None and count != counted and not made.damaged:
        raise VerificationFailed(
            "VERIFICATION_FAILED",
            f"The segment has {count} frames where the source has {counted}.",
            metadata={"check": "frame_count"},
        )
    found: Verified = verify(
        path,
        Expected(
            container=plan.container,
            times=made.placed,
            time_base=made.time_base,
            end=made.duration,
            frame_rate=made.constant_rate,
            encoded_head=made.encoded_head,
            encoded_tail=made.encoded_tail,
            hides=made.hides,
            audio=made.audio,
        ),
        threads=plan.threads,
    )
    encoded = made.encoded_head + made.encoded_tail
    return RenderResult(
        frame_count=count,
        early_frames=made.early_frames,
        start=span.offset(made.start_pts),
        end=span.offset(made.end_pts),
        start_pts=made.start_pts,
        end_pts=made.end_pts,
        time_base=span.time_base,
        duration=made.duration,
        copied_frames=count - encoded,
        encoded_frames=encoded,
        damaged=made.damaged,
        broken=made.broken,
        reason=made.reason,
        streams=tuple(made.streams),
        mode=made.mode,
        decoded_frames=found.decoded_frames,
        audio_offset=found.audio_offset,
    )
