"""Google Cloud Storage, as the server uses it. Its library is loaded with the first call."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from reelsplit_server.storage.errors import Side, StorageError, exists
from reelsplit_server.storage.grants import Part, Pin, Request, SessionUpload, Wire
from reelsplit_server.storage.object_store import CHECKSUM, MARK, NewObject, Stat, Upload

if TYPE_CHECKING:
    from reelsplit_server.storage.gcs_client import GcsClient

log = structlog.get_logger(__name__)
CHUNK_UNIT = 2**18
"""Chunks of an upload are multiples of this many bytes."""
_GENERATION = "x-goog-generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsConfig:
    """How the server reaches the storage. Without ``credentials_file`` (a service account's key, or
    a workload identity's configuration) and ``anonymous`` Google's usual places are searched for
    credentials. ``endpoint`` is for emulators and private endpoints, ``chunk_size`` in bytes.

    A worker's token is good for ``lifetime`` seconds from when it is given, as far as Google's
    are, which live for an hour.
    """

    endpoint: str | None = None
    project: str | None = None
    credentials_file: str | None = None
    anonymous: bool = False
    wire: Wire = field(default_factory=Wire)
    chunk_size: int = 16 * 2**20
    lifetime: int = 1800

    def __post_init__(self) -> None:
        if self.chunk_size <= 0 or self.chunk_size % CHUNK_UNIT:
            raise ValueError(f"chunk_size is a multiple of {CHUNK_UNIT:,} bytes")
        if self.anonymous and self.credentials_file is not None:
            raise ValueError("anonymous and credentials_file exclude each other")


class GcsStore:
    """An `ObjectStore`. Sources are pinned by their generation.

    A worker reads with a token that the server has cut down to the one object, for which buckets
    need uniform access. It writes to a resumable session that the server has begun, whose URL is
    the power to write this one object and nothing else. Google makes the object appear with the
    last byte, so `finish` finds out what did.
    """

    def __init__(self, config: GcsConfig) -> None:
        self.wire = config.wire
        self._config = config
        self._lock = threading.Lock()
        self._made: GcsClient | None = None

    def stat(self, bucket: str, key: str, label: str) -> Stat:
        """See `ObjectStore.stat`."""
        found = self._look(bucket, key, label, "source")
        if found is None:
            raise StorageError(
                "SOURCE_NOT_FOUND",
                f"There is no object at {label}, or no such bucket.",
                {"uri": label},
            )
        return found

    def read(self, bucket: str, key: str, label: str, pin: Pin) -> tuple[Request, dict[str, str]]:
        """See `ObjectStore.read`. An object that was replaced has lost its generation, and is not
        found by the request, unless the bucket keeps versions."""
        headers = {}
        with self._telling("source", bucket, label) as client:
            token = client.token(bucket, key)
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            url = (
                f"{client.base_url}/download/storage/v1/b/{quote(bucket, safe='')}"
                f"/o/{quote(key, safe='')}?alt=media&generation={quote(pin.tag, safe='')}"
            )
        return Request(url=url, headers=headers), {_GENERATION: pin.tag}

    def find(self, bucket: str, key: str, label: str) -> Stat | None:
        """See `ObjectStore.find`."""
        return self._look(bucket, key, label, "output")

    def begin(self, target: NewObject) -> Upload:
        """See `ObjectStore.begin`. Without ``replace`` Google itself takes the upload only while
        nothing lies there."""
        mark = secrets.token_hex(8)
        with self._telling("output", target.bucket, target.label) as client:
            session = client.begin(
                target.bucket,
                target.key,
                size=target.size,
                content_type=target.content_type,
                metadata={CHECKSUM: target.checksum, MARK: mark},
                replace=target.replace,
            )
        grant = SessionUpload(
            wire=self.wire, session=Request(url=session), chunk_size=self._config.chunk_size
        )
        return Upload(target=target, handle=session, mark=mark, grant=grant)

    def sign(self, upload: Upload, parts: Sequence[Part]) -> list[Request]:
        """Never called: an upload here is a session, without parts."""
        raise TypeError("uploads to Google Cloud Storage have no parts")

    def finish(self, upload: Upload, etags: Sequence[str]) -> None:
        """See `ObjectStore.finish`: make sure that what lies there now is this upload, whole."""
        target = upload.target
        found = self.find(target.bucket, target.key, target.label)
        ours = found is not None and found.mark == upload.mark
        if found is not None and ours and found.pin.size == target.size:
            return
        if found is not None and not ours and not target.replace:
            raise exists(target.label)
        raise StorageError(
            "OUTPUT_UNAVAILABLE",
            f"The upload of {target.label} did not arrive whole, or was replaced meanwhile; "
            "retry the job.",
            {"uri": target.label},
            transient=True,
        )

    def abort(self, upload: Upload) -> None:
        """Give an upload up; what has appeared by it is deleted. That it fails is only logged: an
        unfinished session is seen by nobody, costs nothing and ends by itself within a week."""
        bucket, key, label = upload.target.bucket, upload.target.key, upload.target.label
        try:
            with self._telling("output", bucket, label) as client:
                client.cancel(upload.handle)
        except StorageError as error:
            log.warning("upload_not_aborted", uri=label, error=error.message)
        if upload.stays:
            return
        try:
            with self._telling("output", bucket, label) as client:
                # All bytes may have arrived before, and nobody will list what they made. The same
                # bytes of another upload stay.
                found = client.look(bucket, key)
                if found is not None and found.metadata.get(MARK) == upload.mark:
                    client.delete(bucket, key, found.generation)
        except StorageError as error:
            log.warning("upload_not_taken_back", uri=label, error=error.message)

    def abort_abandoned(self, bucket: str, key: str, label: str) -> int:
        """Nothing: Google does not list sessions. Those of a server that is dead are seen by
        nobody, cost nothing and end by themselves within a week."""
        return 0

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """See `ObjectStore.delete`."""
        with self._telling("output", bucket, f"gs://{bucket}") as client:
            left = client.delete_together(bucket, keys)
        for key in left:
            with self._telling("output", bucket, f"gs://{bucket}/{key}") as client:
                client.delete(bucket, key)

    def close(self) -> None:
        """See `ObjectStore.close`."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _look(self, bucket: str, key: str, label: str, side: Side) -> Stat | None:
        with self._telling(side, bucket, label) as client:
            found = client.look(bucket, key)
        if found is None:
            return None
        if side == "source" and found.encoding:
            # Google would unpack it on the way, and then has no ranges.
            raise StorageError(
                "SOURCE_UNREADABLE",
                f"The source {label} is stored with the content encoding {found.encoding!r}; "
                "store the video itself, without one.",
                {"detail": f"Content-Encoding: {found.encoding}"},
            )
        pin = Pin(size=found.size, tag=found.generation)
        return Stat(pin=pin, checksum=found.metadata.get(CHECKSUM), mark=found.metadata.get(MARK))

    @contextmanager
    def _telling(self, side: Side, bucket: str, label: str) -> Iterator[GcsClient]:
        """The client; what goes wrong is told as a `StorageError`."""
        from reelsplit_server.storage.gcs_errors import told

        try:
            yield self._client()
        except StorageError:
            raise
        except Exception as error:
            failure = told(error, side, bucket, label)
            if failure is None:
                raise
            raise failure from error

    def _client(self) -> GcsClient:
        from reelsplit_server.storage.gcs_client import GcsClient

        with self._lock:
            if self._made is None:
                self._made = GcsClient(self._config)
            return self._made
