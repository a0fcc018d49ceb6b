"""The one exception of the storage layer; each raise names a stable reason."""

from __future__ import annotations

from collections.abc import Mapping


class StorageError(Exception):
    """Something that cannot be opened, written or deleted.

    ``reason`` is a stable upper-case word, ``message`` one sentence that a user can act on,
    ``metadata`` small string facts without credentials. ``transient`` is true where the same try
    may pass later.
    """

    def __init__(
        self, reason: str, message: str, metadata: Mapping[str, str], *, transient: bool = False
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata)
        self.transient = transient
