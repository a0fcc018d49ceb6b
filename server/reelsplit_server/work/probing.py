"""The unit that opens a media asset and tells what it is."""

from __future__ import annotations

from reelsplit_server.media.container import most_pixels
from reelsplit_server.media.probe import probe
from reelsplit_server.storage.grants import SourceGrant
from reelsplit_server.storage.opening import keeping
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.sources import describe, opened
from reelsplit_server.work.units import PlanDone, Probe


def run(unit: Probe, grant: SourceGrant, channel: Channel) -> None:
    """Read the header and the first frame, as every job does first."""
    most_pixels.set(unit.most_pixels)
    with opened(grant, channel) as (file, pin):
        with keeping(file):
            facts = probe(file)
        source = describe(facts, pin)
    channel.tell(PlanDone(source=source))
