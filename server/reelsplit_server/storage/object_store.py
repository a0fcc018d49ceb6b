"""The seam behind which each kind of object storage stands, as the server uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reelsplit_server.storage.grants import Part, Pin, Request, UploadGrant, Wire

CHECKSUM, MARK = "reelsplit-checksum", "reelsplit-upload"
"""The metadata that objects of jobs carry: the segment's checksum, by which a job knows its own
after a crash, and a random mark, by which an upload knows what it made itself: other jobs may have
put the same bytes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What a store says of an object: its state, and the metadata `CHECKSUM` and `MARK`."""

    pin: Pin
    checksum: str | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """What is about to be uploaded: ``size`` in bytes, ``checksum`` as segments tell it. Without
    ``replace`` nothing that lies there is overwritten."""

    bucket: str
    key: str
    label: str
    size: int
    checksum: str
    content_type: str
    replace: bool


@dataclass(slots=True, kw_only=True)
class Upload:
    """An upload under way; ``handle`` is the store's own name for it, ``mark`` what its object
    will carry."""

    target: NewObject
    handle: str
    mark: str
    grant: UploadGrant
    stays: bool = False
    """What it made appear is not deleted when it is given up: the same bytes lay there before."""
    etags: dict[int, str] = field(default_factory=dict)


class ObjectStore(Protocol):
    """One configured store. All calls block and come from several threads; each raises
    `StorageError` (``SOURCE_…`` from the reading ones, ``OUTPUT_…`` from the others), in which no
    secret stands, after repeating for ``wire.patience`` seconds what repeating can help.

    ``label`` is how messages call the object.
    """

    wire: Wire

    def stat(self, bucket: str, key: str, label: str) -> Stat:
        """What lies at a key, to be read; ``SOURCE_NOT_FOUND`` where nothing does."""

    def read(self, bucket: str, key: str, label: str, pin: Pin) -> tuple[Request, dict[str, str]]:
        """A request for ranges of an object in its pinned state, and the headers (lower-case)
        that each answer has to carry."""

    def find(self, bucket: str, key: str, label: str) -> Stat | None:
        """What lies at a key that is about to be written."""

    def begin(self, target: NewObject) -> Upload:
        """Begin an upload. No reader sees anything of it before `finish`."""

    def sign(self, upload: Upload, parts: Sequence[Part]) -> list[Request]:
        """The requests by which parts go up; for a `PartsUpload`."""

    def finish(self, upload: Upload, etags: Sequence[str]) -> None:
        """Make the object appear, whole; ``OUTPUT_EXISTS`` where that may not replace another.
        ``etags`` are those of the parts in their order. May be repeated."""

    def abort(self, upload: Upload) -> None:
        """Give an upload up, and free what it took. Delete the object, if that has appeared by
        this upload: nobody will list it."""

    def abort_abandoned(self, bucket: str, key: str, label: str) -> int:
        """Give up all uploads to a key, which an earlier server left; answers how many."""

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; those that are gone already do not count."""

    def close(self) -> None:
        """Give up connections."""
