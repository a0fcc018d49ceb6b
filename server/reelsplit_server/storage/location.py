"""Reading locations: which store a URI or path names, and where in it. Opens nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit


class Scheme(StrEnum):
    """The kinds of store that a location can name."""

    FILE = "file"
    S3 = "s3"
    GCS = "gs"
    OSS = "oss"
    HTTP = "http"
    HTTPS = "https"


SUPPORTED = frozenset({Scheme.FILE})
"""The stores that this version reads and writes."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?=//|/)|file:", re.ASCII)


class LocationError(ValueError):
    """A location that cannot be read; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a store. For `Scheme.FILE` the path is absolute and without ``..``."""

    scheme: Scheme
    path: str

    @property
    def stem(self) -> str:
        """The last part of the path without its ending."""
        return PurePosixPath(self.path).stem


def parse(text: str) -> Location:
    """Read a path or URI; raises `LocationError`.

    A relative path is refused, since the server's working folder is none of the caller's.
    """
    if not text:
        raise LocationError("is required")
    if len(text) > 2048:
        raise LocationError("is longer than 2,048 characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise LocationError("holds control characters")
    if not _SCHEME.match(text):
        return Location(Scheme.FILE, _file_path(text))
    try:
        parts = urlsplit(text)
    except ValueError:
        raise LocationError("is no URI: its host cannot be read") from None
    try:
        scheme = Scheme(parts.scheme.lower())
    except ValueError:
        schemes = ", ".join(scheme.value for scheme in Scheme)
        raise LocationError(
            f"has the scheme {parts.scheme!r}; a path or one of {schemes} is taken"
        ) from None
    if scheme is not Scheme.FILE:
        if not parts.netloc:
            raise LocationError("names no bucket or host")
        return Location(scheme, parts.path)
    if parts.netloc not in ("", "localhost"):
        raise LocationError("is a file URI with a host; write file:///path")
    if parts.query or parts.fragment:
        raise LocationError("is a file URI with a query or fragment; escape ? as %3F and # as %23")
    return Location(Scheme.FILE, _file_path(unquote(parts.path)))


def _file_path(text: str) -> str:
    if "\0" in text:
        raise LocationError("holds a NUL character")
    if not text.startswith("/"):
        raise LocationError("is a relative path; write it from the root, such as /videos/film.mp4")
    if ".." in PurePosixPath(text).parts:
        raise LocationError("holds '..'; write the path without it")
    return os.path.normpath(text)


def public(text: str) -> str:
    """The location as it may be shown: without userinfo, query and fragment. Of what cannot be
    read only the scheme is."""
    if not _SCHEME.match(text):
        return text
    scheme = text.partition(":")[0]
    if scheme.lower() == Scheme.FILE:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return f"{scheme}:"
    if not parts.netloc:
        return f"{scheme}:"
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))
