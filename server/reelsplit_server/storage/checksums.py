"""Checksums of segments, by which a job knows again what it published."""

from __future__ import annotations

import hashlib
from io import BufferedReader

from reelsplit_server.storage.files import Files


def digest(file: BufferedReader) -> str:
    """The checksum of an open file, as segments tell it."""
    return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def checksum_at(files: Files, path: str) -> str:
    """The checksum of what lies at a path; raises `StorageError`."""
    with files.open(path) as file:
        return digest(file)
