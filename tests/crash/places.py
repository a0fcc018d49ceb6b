"""Where the jobs of crash tests put what they make, and how it is looked at there."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from tests.clips import read_numbers
from tests.services import Service

T = TypeVar("T")
_OUTAGE = 60.0
"""Seconds that a store may be away which is killed and started again."""


class Place(Protocol):
    """A folder or bucket for outputs."""

    folder: str
    """What templates begin with."""

    def stamp(self, uri: str) -> object:
        """What changes when the object at a location is replaced."""

    def read(self, uri: str) -> bytes:
        """The object at a location."""

    def everything(self) -> set[str]:
        """The locations of all that lies there, hidden files too."""

    def uploads(self) -> list[str]:
        """What is being uploaded."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.folder = str(path)

    def stamp(self, uri: str) -> object:
        found = Path(uri).stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self, uri: str) -> bytes:
        return Path(uri).read_bytes()

    def everything(self) -> set[str]:
        return {str(path) for path in self._path.rglob("*") if not path.is_dir()}

    def uploads(self) -> list[str]:
        return []


class Bucket:
    """A bucket of an object store, which may be away for a while."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = service.bucket(name)
        self.folder = f"s3://{name}"
        self._sources: set[str] = set()

    def put(self, uri: str, data: bytes) -> None:
        """Put a source there."""
        self._api.put_object(Bucket=self._name, Key=self._key(uri), Body=data)
        self._sources.add(uri)

    def stamp(self, uri: str) -> object:
        found = self._asked(lambda: self._api.head_object(Bucket=self._name, Key=self._key(uri)))
        return found["ETag"], found["LastModified"], found["Metadata"]["reelsplit-upload"]

    def read(self, uri: str) -> bytes:
        def work() -> bytes:
            with self._api.get_object(Bucket=self._name, Key=self._key(uri))["Body"] as body:
                return bytes(body.read())

        return self._asked(work)

    def everything(self) -> set[str]:
        pages = self._api.get_paginator("list_objects_v2").paginate(Bucket=self._name)
        found = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return {f"{self.folder}/{key}" for key in found} - self._sources

    def uploads(self) -> list[str]:
        found = self._asked(lambda: self._api.list_multipart_uploads(Bucket=self._name))
        return [each["Key"] for each in found.get("Uploads", ())]

    @property
    def _api(self) -> Any:
        return self._service.api

    def _key(self, uri: str) -> str:
        return uri.removeprefix(f"{self.folder}/")

    def _asked(self, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + _OUTAGE
        while True:
            try:
                return work()
            except (BotoCoreError, ClientError) as error:
                missing = isinstance(error, ClientError) and error.response["Error"]["Code"] in (
                    "404",
                    "NoSuchKey",
                )
                if missing or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def checksum(data: bytes) -> str:
    """As the service tells it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


_NUMBERS: dict[str, list[int]] = {}


def numbers(data: bytes) -> list[int]:
    """The frames of a video. Most segments are the same as others, and are decoded once."""
    key = checksum(data)
    if key not in _NUMBERS:
        _NUMBERS[key] = _read(data)
    return _NUMBERS[key]


def _read(data: bytes) -> list[int]:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        return read_numbers(file.name)
