"""The unit that deletes what a job published."""

from __future__ import annotations

from reelsplit_server.storage.files import Files
from reelsplit_server.storage.location import parse
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.checksums import checksum_at
from reelsplit_server.work.units import Remove, Removed


def run(unit: Remove, channel: Channel) -> None:
    """Delete each object that is still the job's own; what is gone already does not count."""
    files = Files(unit.access.roots)
    count = 0
    for uri, checksum in unit.objects:
        path = parse(uri).path
        if files.exists(path) and checksum_at(files, path) == checksum:
            count += files.delete(path)
    channel.tell(Removed(count=count))
