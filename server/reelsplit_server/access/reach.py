"""Which buckets, folders and hosts a key may read from and write to."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

Verb = Literal["read", "write"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}://[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,221}")
_HOST = re.compile(r"https?://[A-Za-z0-9*\[][A-Za-z0-9.:*_\[\]-]{0,252}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What may be read and written; None stands for all that the server's settings allow.

    An entry is a folder (``/videos/team-a``), a bucket (``s3://videos``, or with the name of a
    store for the scheme where two stores have a bucket of that name) or, for reading, a host
    (``https://cdn.example.com``). Buckets and hosts may hold ``*``.
    """

    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None

    def folder(self, verb: Verb, path: str) -> bool:
        """Whether a local path may be used."""
        entries = self._entries(verb)
        if entries is None:
            return True
        # A root may be given through a link; paths are taken in either form.
        folders = [form for e in entries if e.startswith("/") for form in (e, os.path.realpath(e))]
        return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)

    def bucket(self, verb: Verb, scheme: str, store: str, bucket: str) -> bool:
        """Whether a bucket of a configured store may be used."""
        entries = self._entries(verb)
        if entries is None:
            return True
        named = (entry.partition("://") for entry in entries if not entry.startswith("/"))
        return any(
            prefix in (scheme, store) and fnmatchcase(bucket, pattern)
            for prefix, _, pattern in named
        )

    def host(self, scheme: str, host: str) -> bool:
        """Whether a host may be read from; ``host`` with its port where that is not the usual."""
        entries = self._entries("read")
        if entries is None:
            return True
        named = f"{scheme}://{host}"
        return any(named == entry or fnmatchcase(named, entry) for entry in entries)

    def _entries(self, verb: Verb) -> tuple[str, ...] | None:
        return self.read if verb == "read" else self.write


EVERYTHING = Reach()
"""All that the server's settings allow."""


def read_entry(text: str) -> str:
    """An entry in its one form; raises ValueError for what is none."""
    if text.startswith("/"):
        if ".." in PurePosixPath(text).parts:
            raise ValueError(f"{text!r} holds '..'; write the folder without it")
        return os.path.normpath(text)
    text = text.removesuffix("/")
    if _BUCKET.fullmatch(text) or _HOST.fullmatch(text):
        return text
    raise ValueError(
        f"{text!r} is neither a folder such as /videos, nor a bucket such as s3://videos, nor a "
        "host such as https://cdn.example.com"
    )
