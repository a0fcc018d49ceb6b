"""All stores together, as the server uses them: one call for each step, whatever lies behind it."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from reelsplit_server.storage.checksums import checksum_at
from reelsplit_server.storage.errors import StorageError, changed, exists
from reelsplit_server.storage.files import Files
from reelsplit_server.storage.grants import (
    FileGrant,
    ObjectGrant,
    Pin,
    Request,
    SourceGrant,
    Web,
    WebGrant,
    Wire,
)
from reelsplit_server.storage.location import LocationError, parse, public
from reelsplit_server.storage.object_store import NewObject, ObjectStore, Upload
from reelsplit_server.storage.routes import (
    FilePlace,
    ObjectPlace,
    Place,
    Routes,
    Verb,
    WebPlace,
)

_CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".ts": "video/mp2t",
    ".json": "application/json",
    ".otio": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".edl": "text/plain; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}


class Stores:
    """Blocking, for several threads; every method raises `StorageError`. A `Place` comes from
    `resolve` of these stores."""

    def __init__(
        self, routes: Routes, objects: Mapping[str, ObjectStore], web: Web, wire: Wire
    ) -> None:
        """``objects`` are the configured stores by name; ``wire`` is for web sources."""
        self._routes = routes
        self._objects = objects
        self._web = web
        self._wire = wire
        self._files = Files(routes.roots)

    def close(self) -> None:
        """Give up all connections."""
        for store in self._objects.values():
            store.close()

    def resolve(self, uri: str, endpoint: str | None, verb: Verb) -> Place:
        """Where a location leads."""
        try:
            return self._routes.resolve(parse(uri), verb, endpoint)
        except LocationError as error:
            # Settings change, and names are made of what sources are called.
            what = "source" if verb == "read" else "output"
            label = public(uri)
            raise StorageError(
                f"{what.upper()}_FORBIDDEN", f"The {what} {label} {error}.", {"uri": label}
            ) from None

    # --- Reading ---------------------------------------------------------------------------

    def source(self, place: Place, pin: Pin | None, folder: Path) -> SourceGrant:
        """What a worker needs to read a source in the state that ``pin`` tells, or in the one
        that it has now. ``folder`` is the job's own."""
        match place:
            case FilePlace(path=path):
                roots = tuple(str(root) for root in self._routes.roots)
                return FileGrant(path=path, roots=roots, pin=pin)
            case WebPlace(url=url, label=label):
                return WebGrant(
                    label=label,
                    request=Request(url=url),
                    wire=self._wire,
                    web=self._web,
                    folder=str(folder),
                    pin=pin,
                )
            case ObjectPlace(bucket=bucket, key=key, label=label):
                store = self._objects[place.store]
                found = store.stat(bucket, key, label).pin
                if pin is not None and found != pin:
                    raise changed(label)
                request, expected = store.read(bucket, key, label, found)
                return ObjectGrant(
                    label=label,
                    request=request,
                    wire=store.wire,
                    pin=found,
                    expected=expected,
                    folder=str(folder),
                )

    # --- Publishing ------------------------------------------------------------------------

    def check_target(
        self, source: Place, target: Place, *, replace: bool, intent: str | None
    ) -> bool:
        """Whether a place may be written to; answers whether what lies there is the job's own,
        put there by an attempt whose end nobody saw: then it has the checksum ``intent``."""
        if self._is_same(source, target):
            raise StorageError(
                "OUTPUT_COLLISION",
                f"The output {target.label} is the source itself, which would be lost. Choose "
                "another name.",
                {"uri": target.label},
            )
        ours = intent is not None and self.holds(target, intent)
        if not replace and not ours and self._exists(target):
            # Told before the work is done; publishing makes sure of it again.
            raise exists(target.label)
        return ours

    def place_file(self, scratch: Path, target: FilePlace, *, replace: bool) -> None:
        """Move a finished file to its place in one step. Raises `ValueError` where it is none."""
        _size(scratch)
        self._files.publish(scratch, target.path, replace=replace)

    def begin(self, scratch: Path, target: ObjectPlace, checksum: str, *, replace: bool) -> Upload:
        """Begin the upload of a finished file. Nothing is seen of it before `finish`. Raises
        `ValueError` where there is no such file."""
        ending = PurePosixPath(target.key).suffix.lower()
        new = NewObject(
            bucket=target.bucket,
            key=target.key,
            label=target.label,
            size=_size(scratch),
            checksum=checksum,
            content_type=_CONTENT_TYPES.get(ending, "application/octet-stream"),
            replace=replace,
        )
        return self._objects[target.store].begin(new)

    def store_of(self, target: ObjectPlace) -> ObjectStore:
        """The store that an upload goes to."""
        return self._objects[target.store]

    def abort_abandoned(self, target: Place) -> int:
        """Give up the uploads that an earlier server began to a place; answers how many."""
        if not isinstance(target, ObjectPlace):
            return 0
        store = self._objects[target.store]
        return store.abort_abandoned(target.bucket, target.key, target.label)

    def remove(self, target: Place, checksum: str) -> bool:
        """Delete what a job published, unless something else has replaced it since; false where
        there is nothing of the job's."""
        return self.holds(target, checksum) and self.delete([target]) == 1

    def delete(self, places: Sequence[Place]) -> int:
        """Delete what lies at some places; answers how many that were, of those that are files,
        and takes all others for there."""
        count, keys = 0, dict[tuple[str, str], list[str]]()
        for place in places:
            match place:
                case FilePlace(path=path):
                    count += self._files.delete(path)
                case ObjectPlace(store=store, bucket=bucket, key=key):
                    keys.setdefault((store, bucket), []).append(key)
        for (store, bucket), found in keys.items():
            self._objects[store].delete(bucket, found)
            count += len(found)
        return count

    # --- Looking ---------------------------------------------------------------------------

    def _is_same(self, source: Place, target: Place) -> bool:
        if isinstance(source, FilePlace) and isinstance(target, FilePlace):
            with self._files.open(source.path) as file:
                return self._files.is_open(target.path, file)
        if isinstance(source, ObjectPlace) and isinstance(target, ObjectPlace):
            return (source.store, source.bucket, source.key) == (
                target.store,
                target.bucket,
                target.key,
            )
        return False

    def _exists(self, place: Place) -> bool:
        match place:
            case FilePlace(path=path):
                return self._files.exists(path)
            case ObjectPlace(bucket=bucket, key=key, label=label):
                return self._objects[place.store].find(bucket, key, label) is not None
            case _:
                return False

    def holds(self, place: Place, checksum: str | None) -> bool:
        """Whether a segment with this checksum lies at a place; with None, anything."""
        if checksum is None:
            return self._exists(place)
        match place:
            case FilePlace(path=path):
                return self._files.exists(path) and checksum_at(self._files, path) == checksum
            case ObjectPlace(bucket=bucket, key=key, label=label):
                found = self._objects[place.store].find(bucket, key, label)
                return found is not None and found.checksum == checksum
            case _:
                return False


def _size(scratch: Path) -> int:
    """The bytes of a worker's file."""
    try:
        found = scratch.lstat()
    except OSError as error:
        raise ValueError(f"there is no finished file: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        # Only a worker that does not do as it was told makes anything else.
        raise ValueError("the finished file is no regular one")
    return found.st_size
