"""Cutting by copying: whole, at key frames, or with the pictures at both ends encoded anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from av.video.stream import VideoStream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import time_base
from reelsplit_server.media.entrance import Entrance
from reelsplit_server.media.formats import VIDEO_IN, Container
from reelsplit_server.media.made import Made
from reelsplit_server.media.mp4_edit import hide_after
from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.units import BrokenUnits
from reelsplit_server.media.output import Output
from reelsplit_server.media.packet_view import trusted
from reelsplit_server.media.picture import display_matrix
from reelsplit_server.media.plan import (
    CutMode,
    RenderPlan,
)
from reelsplit_server.media.probe import first_frame
from reelsplit_server.media.span import Span
from reelsplit_server.media.splice import Splice
from reelsplit_server.media.tracks import kept, plan_others


def copy(
    file: BinaryIO,
    plan: RenderPlan,
    origin: int,
    path: Path,
    on_progress: Callable[[int], None],
) -> Made:
    """Write the plan's range to `path` in its mode: AUTO, KEYFRAME or EDIT_LIST.

    `origin` is the source's tick of t = 0. Raises `CannotJoin` where copying is impossible, at any
    time: what was written is worth nothing then. Raises `MediaError` as `Output` and `Tracks` do,
    and with ``RANGE_OUTSIDE_SOURCE`` where no frame lies in the range.
    """
    try:
        return _copy(file, plan, origin, path, on_progress)
    except (BrokenSyntax, BrokenUnits) as error:
        raise CannotJoin(f"the source's video is broken ({error})") from error


def _copy(
    file: BinaryIO,
    plan: RenderPlan,
    origin: int,
    path: Path,
    on_progress: Callable[[int], None],
) -> Made:
    with ExitStack() as stack:
        container = stack.enter_context(open_source(file))
        video = video_stream(container)
        codec = video.codec_context.codec.canonical_name
        if codec not in VIDEO_IN[plan.container]:
            raise CannotJoin(f"a .{plan.container.value} file cannot hold {codec} video as it is")
        if plan.mode is CutMode.EDIT_LIST and plan.container not in (Container.MP4, Container.MOV):
            raise CannotJoin(f"a .{plan.container.value} file has no edit list")
        # MPEG-4 is not trusted to have one picture in each packet, and looked at on the way.
        is_indexed = container.format.name.startswith(("mov,mp4", "matroska"))
        if not trusted(container, video) and not (codec == "mpeg4" and is_indexed):
            raise CannotJoin("the source's packets do not say reliably when they are shown")
        reason = None
        if plan.container is Container.TS and _is_turned(file, video):
            reason = "the container stores no rotation: the copied picture lies on its side"
            if plan.mode is CutMode.AUTO:
                raise CannotJoin("the container stores no rotation")
        span = Span.of(start=plan.start, end=plan.end, origin=origin, time_base=time_base(video))
        outcomes = plan_others(container, plan)
        entrance = Entrance(file, container, span, kept(outcomes))
        output = Output(path, plan.container)
        stack.callback(output.abandon)
        splice = Splice(file, entrance, plan, span, output, outcomes, on_progress)
        made = splice.run()
        output.close()
    if plan.mode is CutMode.EDIT_LIST or splice.overshoots:
        hide_after(path, made.duration)
    return dataclasses.replace(made, reason=reason)


def _is_turned(file: BinaryIO, video: VideoStream) -> bool:
    """Whether players turn the source's picture."""
    if not video.container.format.name.startswith(("mov,mp4", "matroska")):
        return False
    position = file.tell()
    with open_source(file) as container:
        turned = display_matrix(first_frame(container, video_stream(container))) is not None
    file.seek(position)
    return turned
