"""Finding shots with PySceneDetect's detectors: frames decoded in one thread, looked at in
another, shots told as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

from reelsplit_server.media.ahead import ahead
from reelsplit_server.media.bgr import Picture, PictureMaker
from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import (
    Damage,
    frame_rate,
    prepare,
    presented,
    time_base,
)
from reelsplit_server.media.detectors import CutFinder
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.metrics import Measured
from reelsplit_server.media.probe import codec_name, no_frame
from reelsplit_server.media.shot_settings import OwnSettings, ShotSettings
from reelsplit_server.media.tiling import Shot, Tiling, Transition

__all__ = ["Shot", "ShotScan", "Transition", "detect_shots"]

#: Pictures made ahead of the detector. They are small; more of them only evens out hiccups.
_AHEAD = 16

_REPORT_EVERY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotScan:
    """What was analysed."""

    frame_count: int
    """Frames looked at."""
    shot_count: int
    end: Fraction
    """Seconds from the source's first frame to the end of the last one looked at."""
    time_base: Fraction
    """Seconds in a tick."""
    first_pts: int
    """Ticks: the presentation time of the source's first presented frame, t = 0."""
    damaged: bool
    """Something could not be read or decoded; what could was analysed."""
    detail: str | None
    """What is damaged, in words."""
    places: Sequence[Fraction] = ()
    """Where it is damaged, as far as that is known: seconds from the source's first frame."""
    truncated: bool = False
    """The file ends before its own header says, and the analysed part reaches that end."""
    restarts: bool = False
    """The source's clock starts over in the middle, as in `Timeline`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One frame on its way to the detector; frames before the part have no picture."""

    pts: int
    duration: int
    picture: Picture | None


def detect_shots(
    file: BinaryIO,
    settings: ShotSettings,
    on_shot: Callable[[Shot], None],
    on_progress: Callable[[int, Fraction], None] | None = None,
    threads: int = 0,
    measured: Measured | None = None,
) -> ShotScan:
    """Cut the analysed part of a source into shots, each told as soon as its end is certain.

    Shots come in order and tile the part: each starts where the one before ended. `on_progress`
    gets the frames looked at and the position reached in seconds, every few frames. Both are
    called in the calling thread, and what they raise ends the analysis and comes through.
    `threads` are the decoder's (0: one a core). `measured` hears what the detector measures of
    each frame, numbered over all presented frames, with the source's own ticks.

    Raises `MediaError` with ``SOURCE_UNREADABLE``, ``SOURCE_FORMAT_REFUSED``,
    ``SOURCE_NO_VIDEO``, ``CROP_OUTSIDE_SOURCE``, ``DETECTOR_REFUSED``, or
    ``RANGE_OUTSIDE_SOURCE`` where no frame lies in the part.
    """
    damage = Damage()
    with open_source(file) as container:
        stream = video_stream(container)
        if codec_name(stream) is None:
            raise no_frame(stream, damage)
        prepare(container, stream, threads)
        base = time_base(stream)
        rate = Fraction(stream.guessed_rate) if stream.guessed_rate else frame_rate(stream)
        assert not isinstance(settings.detector, OwnSettings)
        tiling: Tiling | None = None
        first_pts: int | None = None
        skipped = count = 0

        def on_measured(
            first: int, ticks: Sequence[int], columns: Mapping[str, Sequence[float]]
        ) -> None:
            assert measured is not None
            assert first_pts is not None
            measured(skipped + first, [first_pts + tick for tick in ticks], columns)

        finder = CutFinder(
            settings.detector,
            min_shot=settings.min_shot,
            time_base=base,
            rate=rate,
            measured=None if measured is None else on_measured,
        )
        end_pts = 0
        with ahead(_looks(container, stream, settings, damage), _AHEAD) as looks:
            for look in looks:
                if first_pts is None:
                    first_pts = look.pts
                end_pts = look.pts + look.duration
                if look.picture is None:
                    skipped += 1
                    continue
                if tiling is None:
                    tiling = Tiling(base, first_pts, skipped, settings.max_shot, on_shot)
                tiling.add(look.pts)
                for cut in finder.look(look.pts - first_pts, look.picture):
                    tiling.cut(cut)
                count += 1
                if on_progress is not None and count % _REPORT_EVERY == 0:
                    on_progress(count, (look.pts - first_pts) * base)
        if first_pts is None:
            raise no_frame(stream, damage)
        end = (end_pts - first_pts) * base
        if tiling is None:
            raise outside(settings, end)
        for cut in finder.finish():
            tiling.cut(cut)
        tiling.finish(end_pts)
        if on_progress is not None:
            on_progress(count, end)
        return ShotScan(
            frame_count=count,
            shot_count=tiling.shot_count,
            end=end,
            time_base=base,
            first_pts=first_pts,
            damaged=bool(damage.count),
            detail=damage.detail,
            restarts=bool(damage.restarts),
        )


def _looks(
    container: InputContainer, stream: VideoStream, settings: ShotSettings, damage: Damage
) -> Iterator[_Look]:
    """Every frame up to the end of the analysed part, with the pictures of those in it."""
    base = time_base(stream)
    start, end = tick_at(settings.start, base), tick_at(settings.end, base)
    maker: PictureMaker | None = None
    first: int | None = None
    step = max(1, round(1 / frame_rate(stream) / base))
    held: _Look | None = None
    for frame in presented(container, stream, damage):
        assert frame.pts is not None
        first = frame.pts if first is None else first
        if held is not None:
            # A frame is shown until the next one, whatever duration it claims.
            yield _Look(pts=held.pts, duration=frame.pts - held.pts, picture=held.picture)
            held = None
        if end is not None and frame.pts - first >= end:
            return
        picture = None
        if start is None or frame.pts - first >= start:
            if maker is None:
                maker = PictureMaker(frame, crop=settings.crop, downscale=settings.downscale)
            picture = maker.make(frame)
        held = _Look(pts=frame.pts, duration=frame.duration or step, picture=picture)
    if held is not None:
        yield held


def tick_at(offset: Fraction | None, base: Fraction) -> int | None:
    """The first whole tick at `offset` seconds or later, forgiving half a tick."""
    return None if offset is None else ceil(offset / base - Fraction(1, 2))


def outside(settings: ShotSettings, end: Fraction) -> MediaError:
    """The error for an analysed part in which there is no frame of a source that ends there."""
    start = settings.start or Fraction(0)
    until = "the end" if settings.end is None else f"{float(settings.end):.3f} s"
    return MediaError(
        "RANGE_OUTSIDE_SOURCE",
        f"No frame of the source lies in the part to analyse, from {float(start):.3f} s to "
        f"{until}: the part is empty, or begins after the source's last frame.",
        metadata={"reached": f"{float(end):.6f}"},
    )
