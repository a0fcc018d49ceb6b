"""The unit that tests of the engine have it do."""

from __future__ import annotations

from pathlib import Path

from reelsplit import Input, Output, Segment, TimeRange
from reelsplit_server.engine.seam import Render
from tests.clips import make_clip


def render_of(folder: Path, template: str) -> Render:
    """One second of a clip that is made in `folder`."""
    clip = folder / "clip.mp4"
    make_clip(clip, frames=24)
    return Render(
        job_id="0" * 32,
        source=Input(uri=str(clip)),
        output=Output(uri_template=template),
        segment=Segment(index=0, requested=TimeRange(start_offset=0, end_offset=1)),
        frame_rate=None,
        pin=None,
        folder=folder / "job",
        threads=1,
        most_pixels=10**7,
        most_frames=10**6,
        scratch=folder / "job" / "scratch",
        intent=None,
    )
