"""What the tests of S3 and OSS share."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Part, PartsUpload, Request, Wire
from reelsplit_server.storage.object_store import NewObject, Upload
from reelsplit_server.storage.s3 import S3Config, S3Store
from tests.services import Service

QUICK = Wire(timeout=20.0, patience=0.0)


@contextmanager
def store(service: Service, **settings: Any) -> Iterator[S3Store]:
    """A store on a running service."""
    given: dict[str, Any] = {
        "endpoint": service.endpoint,
        "access_key_id": service.access_key,
        "secret_access_key": service.secret_key,
        "wire": QUICK,
    }
    made = S3Store(S3Config(**(given | settings)))
    try:
        yield made
    finally:
        made.close()


def put(service: Service, bucket: str, key: str, body: bytes, **given: Any) -> None:
    """Put an object into a service, past the store."""
    service.api.put_object(Bucket=bucket, Key=key, Body=body, **given)


def get(
    request: Request, *, ca: str | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Make a request as a worker does, which knows nothing but the request."""
    with urllib3.PoolManager(ca_certs=ca) as http:
        given = {"Accept-Encoding": "identity", **request.headers, **headers}
        answer = http.request("GET", request.url, headers=given, retries=False)
        return answer.status, answer.data, {n.lower(): v for n, v in answer.headers.items()}


def failing(work: Callable[[], object]) -> StorageError:
    """What something fails with."""
    with pytest.raises(StorageError) as caught:
        work()
    return caught.value


def target(bucket: str, key: str, body: bytes, **given: Any) -> NewObject:
    """What is to be uploaded."""
    checksum = "sha256:" + hashlib.sha256(body).hexdigest()
    usual: dict[str, Any] = {
        "bucket": bucket,
        "key": key,
        "label": f"s3://{bucket}/{key}",
        "size": len(body),
        "checksum": checksum,
        "content_type": "video/mp4",
        "replace": False,
    }
    return NewObject(**(usual | given))


def parts_of(upload: Upload, body: bytes) -> list[tuple[Part, bytes]]:
    """A body in the parts of an upload."""
    assert isinstance(upload.grant, PartsUpload)
    step = upload.grant.part_size
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return [
        (Part(number=number, size=len(piece), md5=md5(piece)), piece)
        for number, piece in enumerate(pieces, 1)
    ]


def md5(body: bytes) -> str:
    """The digest of a part, as it is told."""
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def send(request: Request, body: bytes, ca: str | None = None) -> tuple[int, str, bytes]:
    """Send a part as a worker does: the status, its entity tag, and what else was said."""
    with urllib3.PoolManager(ca_certs=ca) as http:
        answer = http.request("PUT", request.url, body, headers=request.headers, retries=False)
        return answer.status, answer.headers.get("ETag", ""), answer.data


def send_all(s3: S3Store, upload: Upload, body: bytes) -> list[str]:
    """Send all parts; answers their tags."""
    parts = parts_of(upload, body)
    requests = s3.sign(upload, [part for part, _ in parts])
    sent = [
        send(request, piece, s3.wire.ca)
        for request, (_, piece) in zip(requests, parts, strict=True)
    ]
    assert [status for status, _, _ in sent] == [200] * len(parts), sent
    return [tag for _, tag, _ in sent]


def publish(s3: S3Store, new: NewObject, body: bytes) -> None:
    """Upload something from beginning to end."""
    upload = s3.begin(new)
    s3.finish(upload, send_all(s3, upload, body))


def body_of(service: Service, bucket: str, key: str) -> bytes:
    """What lies in a service, past the store."""
    with service.api.get_object(Bucket=bucket, Key=key)["Body"] as body:
        found: bytes = body.read()
    return found


def uploads_of(service: Service, bucket: str, prefix: str) -> list[str]:
    """The keys of the uploads under way."""
    answer = service.api.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    return [each["Key"] for each in answer.get("Uploads", [])]
