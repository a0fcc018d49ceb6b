"""The one exception of the media layer; each raise names a stable reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class MediaError(Exception):
    """A source, a setting or an output that cannot be worked with.

    ``reason`` is a stable upper-case word, ``message`` one sentence that a user can act on,
    ``metadata`` small string facts. ``transient`` is true where the same try may pass later.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
