"""The unit that deletes what a job published."""

from __future__ import annotations

from reelsplit_server.storage.files import Files
from reelsplit_server.storage.location import parse
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.units import Remove, Removed


def run(unit: Remove, channel: Channel) -> None:
    """Delete each object; what is gone already does not count."""
    files = Files(unit.access.roots)
    channel.tell(Removed(count=sum(files.delete(parse(uri).path) for uri in unit.uris)))
