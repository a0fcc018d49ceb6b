"""The one exception of the storage layer, and what several stores say in the same words."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Literal

Side = Literal["source", "output"]


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


def failure(
    side: Side, reason: str, label: str, text: str, *, transient: bool = False
) -> StorageError:
    """A failure at ``label``, with the reason ``SOURCE_…`` or ``OUTPUT_…``; ``text`` is a sentence
    or two."""
    return StorageError(
        f"{side.upper()}_{reason}",
        f"The {side} {label}: {text}",
        {"uri": label},
        transient=transient,
    )


def exists(label: str) -> StorageError:
    """Something lies where nothing is to be replaced."""
    return StorageError(
        "OUTPUT_EXISTS",
        f"There is something at {label} already. Ask to replace it, or choose another name.",
        {"uri": label},
    )


def changed(label: str) -> StorageError:
    """The source is not what the job began with."""
    return StorageError(
        "SOURCE_CHANGED",
        f"The source {label} changed while the job was running. Submit a new job for what it is "
        "now.",
        {"uri": label},
    )


def is_full(error: OSError) -> bool:
    """Whether a disk, or what one may use of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_too_large(error: OSError) -> bool:
    """Whether a file was to become larger than this process may write one."""
    return error.errno == errno.EFBIG


def disk_full() -> StorageError:
    """What is said when no space is left."""
    return StorageError(
        "DISK_FULL",
        "There is no space left on the disk of the output or of the server's working files. "
        "Make room, then retry the job.",
        {},
    )
