"""Deleting what lies at an asset's location."""

from __future__ import annotations

from reelsplit_server.assets.records import MediaRecord
from reelsplit_server.engine import seam


class Files:
    """The files of assets, which the engine's stores hold."""

    def __init__(self, engine: seam.Engine) -> None:
        self._engine = engine

    async def remove(self, record: MediaRecord) -> bool:
        """Delete whatever lies there now; false where nothing does. Raises `RemoveError`."""
        target = seam.Target(uri=record.media.uri, endpoint=record.endpoint, checksum=None)
        return await self._engine.remove([target]) == 1
