"""S3 and what speaks its language, OSS too, as the server uses it. Its library is loaded with the
first call."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reelsplit_server.storage import s3_uploads
from reelsplit_server.storage.errors import Side, StorageError, exists
from reelsplit_server.storage.grants import Part, PartsUpload, Pin, Request
from reelsplit_server.storage.object_store import CHECKSUM, MARK, NewObject, Stat, Upload
from reelsplit_server.storage.s3_codes import NOTHING, TAKEN, UNKNOWN_CALL, code_of
from reelsplit_server.storage.s3_config import S3Config

if TYPE_CHECKING:
    from reelsplit_server.storage.s3_client import S3Client

__all__ = ["S3Config", "S3Store"]

_MOST_PARTS = 10_000
_BATCH = 1000
_MIB = 2**20
_MD5 = re.compile(r"[A-Za-z0-9+/]{22}==")
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE", "Archive", "ColdArchive", "DeepColdArchive"})


class S3Store:
    """An `ObjectStore`. Sources are pinned by their entity tag, and their version where the bucket
    keeps some.

    Everything is published by a multipart upload, however small: the worker sends parts, and the
    object appears when the server completes them. What a dead server left can be listed.
    """

    def __init__(self, config: S3Config) -> None:
        self.wire = config.wire
        self._config = config
        self._lock = threading.Lock()
        self._made: S3Client | None = None
        self._buckets: set[str] = set()
        self._knows_conditions = True
        self._live: set[str] = set()
        """The handles of uploads that this server goes on with."""

    def stat(self, bucket: str, key: str, label: str) -> Stat:
        """See `ObjectStore.stat`."""
        from reelsplit_server.storage.s3_errors import archived

        with self._telling("source", bucket, label) as client:
            head = client.head(bucket, key, sure_of_bucket=bucket in self._buckets)
        self._buckets.add(bucket)
        tier = head.get("ArchiveStatus") or head.get("StorageClass")
        restored = 'ongoing-request="false"' in head.get("Restore", "")
        if (head.get("ArchiveStatus") or tier in _ARCHIVES) and not restored:
            raise archived(label)
        found = _stat(head)
        if not found.pin.tag:
            raise StorageError(
                "SOURCE_UNAVAILABLE",
                f"The store gives no entity tag of {label}, so that a change of it would not be "
                "seen.",
                {"uri": label},
            )
        return found

    def read(self, bucket: str, key: str, label: str, pin: Pin) -> tuple[Request, dict[str, str]]:
        """See `ObjectStore.read`."""
        given, headers = {"Key": key}, {}
        if pin.version:
            given["VersionId"] = pin.version
        if not pin.tag.startswith("W/"):
            # A weak tag never matches there.
            given["IfMatch"] = headers["If-Match"] = pin.tag
        with self._telling("source", bucket, label) as client:
            url = client.signed("get_object", bucket=bucket, **given)
        return Request(url=url, headers=headers), {"etag": pin.tag}

    def find(self, bucket: str, key: str, label: str) -> Stat | None:
        """See `ObjectStore.find`."""
        with self._telling("output", bucket, label) as client:
            try:
                head = client.head(bucket, key, sure_of_bucket=bucket in self._buckets)
            except Exception as error:
                if code_of(error) not in NOTHING:
                    raise
                head = None
        self._buckets.add(bucket)
        return None if head is None else _stat(head)

    def begin(self, target: NewObject) -> Upload:
        """See `ObjectStore.begin`. Buckets should have a rule that ends old uploads all the same: a
        server may die just when the store begins one, and where the answer to the last repeat is
        lost too, nobody knows what it was called. The next attempt at this place gives that up,
        with all others there; if there is none, it stays."""
        mark, started = secrets.token_hex(8), time.monotonic()
        lost = threading.Event()
        given: dict[str, Any] = {"ContentType": target.content_type}
        if self._config.kind == "oss" and not target.replace:
            given["IfNoneMatch"] = "*"
        with self._telling("output", target.bucket, target.label) as client:
            made = client.call(
                "create_multipart_upload",
                bucket=target.bucket,
                on_lost=lost.set,
                Key=target.key,
                Metadata={CHECKSUM: target.checksum, MARK: mark},
                **given,
            )
            self._live.add(made["UploadId"])
            if lost.is_set():
                took = timedelta(seconds=time.monotonic() - started)
                s3_uploads.abort_twins(
                    client, target.bucket, target.key, made["UploadId"], took, self._live
                )
        self._buckets.add(target.bucket)
        least = -(-target.size // _MOST_PARTS)
        part_size = max(self._config.part_size, -(-least // _MIB) * _MIB)
        grant = PartsUpload(wire=self.wire, part_size=part_size)
        return Upload(target=target, handle=made["UploadId"], mark=mark, grant=grant)

    def sign(self, upload: Upload, parts: Sequence[Part]) -> list[Request]:
        """See `ObjectStore.sign`. Each request takes only the bytes that have the part's digest.
        Raises `ValueError` for parts that the upload cannot have."""
        target, count = upload.target, _count(upload)
        for part in parts:
            if not (1 <= part.number <= count and _MD5.fullmatch(part.md5)):
                raise ValueError(f"part {part.number} of {count} cannot be")
        with self._telling("output", target.bucket, target.label) as client:
            return [
                Request(
                    url=client.signed(
                        "upload_part",
                        bucket=target.bucket,
                        Key=target.key,
                        UploadId=upload.handle,
                        PartNumber=part.number,
                        ContentMD5=part.md5,
                    ),
                    headers={"Content-MD5": part.md5},
                )
                for part in parts
            ]

    def finish(self, upload: Upload, etags: Sequence[str]) -> None:
        """See `ObjectStore.finish`. Raises `ValueError` for too many or too few tags."""
        self._finish(upload, etags)
        self._live.discard(upload.handle)

    def _finish(self, upload: Upload, etags: Sequence[str]) -> None:
        target = upload.target
        if len(etags) != _count(upload):
            raise ValueError(f"{len(etags)} tags for {_count(upload)} parts")
        # Several dialects ignore the condition of the call below, so it is looked up before: two
        # writers are then told apart unless they end in the same moment.
        found = None if target.replace else self.find(target.bucket, target.key, target.label)
        if found is not None:
            if found.mark == upload.mark:
                # An earlier try has passed, and its answer was lost.
                return
            raise exists(target.label)
        lost = NOTHING | TAKEN | {"NoSuchUpload"}
        with self._telling("output", target.bucket, target.label) as client:
            try:
                self._complete(client, upload, etags)
            except Exception as error:
                if code_of(error) not in lost:
                    raise
                # Perhaps because a try that seemed to fail did not.
                found = self.find(target.bucket, target.key, target.label)
                if found is None or found.mark != upload.mark:
                    raise

    def abort(self, upload: Upload) -> None:
        """See `ObjectStore.abort`."""
        self._live.discard(upload.handle)
        target = upload.target
        with self._telling("output", target.bucket, target.label) as client:
            s3_uploads.abort(client, target.bucket, target.key, upload.handle)
        if upload.stays:
            return
        found = self.find(target.bucket, target.key, target.label)
        if found is not None and found.mark == upload.mark:
            self.delete(target.bucket, [target.key])

    def abort_abandoned(self, bucket: str, key: str, label: str) -> int:
        """See `ObjectStore.abort_abandoned`."""
        with self._telling("output", bucket, label) as client:
            try:
                return s3_uploads.abort_all(client, bucket, key)
            except Exception as error:
                if code_of(error) in UNKNOWN_CALL:
                    return 0
                raise

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """See `ObjectStore.delete`."""
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            # One key needs no batch, and every dialect knows the plain call.
            left = batch if len(batch) == 1 else self._delete_together(bucket, batch)
            for key in left:
                with self._telling("output", bucket, self._label(bucket, key)) as client:
                    client.call("delete_object", bucket=bucket, Key=key)

    def close(self) -> None:
        """See `ObjectStore.close`."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _complete(self, client: S3Client, upload: Upload, etags: Sequence[str]) -> None:
        target = upload.target
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        given: dict[str, Any] = {
            "bucket": target.bucket,
            "Key": target.key,
            "UploadId": upload.handle,
            "MultipartUpload": {"Parts": parts},
        }
        if not target.replace and self._knows_conditions:
            try:
                client.call("complete_multipart_upload", IfNoneMatch="*", **given)
            except Exception as error:
                if code_of(error) not in UNKNOWN_CALL:
                    raise
                self._knows_conditions = False
            else:
                return
        client.call("complete_multipart_upload", **given)

    def _delete_together(self, bucket: str, keys: Sequence[str]) -> Sequence[str]:
        """Delete up to 1,000 objects; answers those that have to be deleted one by one."""
        from reelsplit_server.storage.s3_errors import FAILURES, helps_to_repeat

        with self._telling("output", bucket, self._label(bucket, keys[0])) as client:
            try:
                answer = client.call(
                    "delete_objects",
                    bucket=bucket,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                )
            except FAILURES as error:
                if helps_to_repeat(error):
                    raise
                # Whatever it is that the store does not like, the plain call shows what is wrong.
                return keys
        named = {each.get("Key") for each in answer.get("Errors", [])}
        return [key for key in keys if key in named]

    @contextmanager
    def _telling(self, side: Side, bucket: str, label: str) -> Iterator[S3Client]:
        """The client; what goes wrong is told as a `StorageError`."""
        from reelsplit_server.storage.s3_errors import FAILURES, told

        where = {"s3": "the S3 store", "oss": "the OSS store"}[self._config.kind]
        try:
            client = self._client()
            where = client.host
            yield client
        except FAILURES as error:
            raise told(error, side, bucket, label, where) from error

    def _client(self) -> S3Client:
        from reelsplit_server.storage.s3_client import S3Client

        with self._lock:
            if self._made is None:
                self._made = S3Client(self._config)
            return self._made

    def _label(self, bucket: str, key: str) -> str:
        return f"{self._config.kind}://{bucket}/{key}"


def _stat(head: Mapping[str, Any]) -> Stat:
    version = head.get("VersionId", "")
    # Some dialects write the names of metadata with capitals.
    metadata = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
    pin = Pin(
        size=head["ContentLength"],
        tag=head.get("ETag", ""),
        version="" if version == "null" else version,
    )
    return Stat(pin=pin, checksum=metadata.get(CHECKSUM), mark=metadata.get(MARK))


def _count(upload: Upload) -> int:
    assert isinstance(upload.grant, PartsUpload)
    return -(-upload.target.size // upload.grant.part_size)
