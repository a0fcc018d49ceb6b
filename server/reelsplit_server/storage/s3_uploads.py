"""Uploads to S3 that are given up: what they are found by, and what is left alone. The library is
loaded by whoever has a client."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reelsplit_server.storage.s3_codes import NOTHING, code_of

if TYPE_CHECKING:
    from reelsplit_server.storage.s3_client import S3Client

_GONE = NOTHING | {"NoSuchUpload"}
_SECOND = timedelta(seconds=1)
"""As exact as stores tell when an upload was begun."""


def abort(client: S3Client, bucket: str, key: str, handle: str) -> None:
    """Give up one, be it gone already."""
    try:
        client.call("abort_multipart_upload", bucket=bucket, Key=key, UploadId=handle)
    except Exception as error:
        if code_of(error) not in _GONE:
            raise


def abort_all(client: S3Client, bucket: str, key: str) -> int:
    """Give up all to a key; answers how many they were."""
    aborted: set[str] = set()
    for each in _listed(client, bucket, key):
        if each["UploadId"] not in aborted:
            abort(client, bucket, key, each["UploadId"])
            aborted.add(each["UploadId"])
    return len(aborted)


def abort_twins(
    client: S3Client, bucket: str, key: str, handle: str, took: timedelta, live: Collection[str]
) -> None:
    """Give up the uploads that were begun for this one, and whose answers were lost. Those are
    the ones that were begun while this one was, which ``took`` so long, that nobody has sent a
    part to, and that are none of those that are ``live``, which this server goes on with.

    What remains: one that the store begins only after this one stays; so do all where it does not
    tell when they were begun, or may not be asked for their parts. One of another server, or one
    that this server is just beginning for another job, that was begun in the same while and has
    no part yet, is given up, and its segment made again.
    """
    from reelsplit_server.storage.s3_errors import FAILURES

    with suppress(*FAILURES):
        begun = {
            each["UploadId"]: each["Initiated"]
            for each in _listed(client, bucket, key)
            if each.get("Initiated")
        }
        if handle not in begun:
            return
        latest = begun.pop(handle)
        earliest = latest - took - _SECOND
        for twin, time_of_it in begun.items():
            if (
                earliest <= time_of_it <= latest
                and twin not in live
                and not _has_part(client, bucket, key, twin)
            ):
                abort(client, bucket, key, twin)


def _has_part(client: S3Client, bucket: str, key: str, handle: str) -> bool:
    try:
        found = client.call("list_parts", bucket=bucket, Key=key, UploadId=handle, MaxParts=1)
    except Exception as error:
        if code_of(error) not in _GONE:
            raise
        # Somebody has come to an end with it.
        return True
    return bool(found.get("Parts"))


def _listed(client: S3Client, bucket: str, key: str) -> Iterator[Mapping[str, Any]]:
    # Own paging: SeaweedFS gives one of the two markers only, and is to get back no other.
    markers: dict[str, Any] = {}
    while True:
        page = client.call("list_multipart_uploads", bucket=bucket, Prefix=key, **markers)
        uploads = page.get("Uploads", [])
        yield from (each for each in uploads if each["Key"] == key)
        if not page.get("IsTruncated") or not uploads:
            return
        names = ("KeyMarker", "UploadIdMarker")
        following = {name: page[f"Next{name}"] for name in names if page.get(f"Next{name}")}
        if not following or following == markers:
            return
        markers = following
