"""Reading locations: which store a URI or path names, and where in it. Opens nothing."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit


class Scheme(StrEnum):
    """The kinds of store that a location can name."""

    FILE = "file"
    S3 = "s3"
    GCS = "gs"
    OSS = "oss"
    HTTP = "http"
    HTTPS = "https"

    @property
    def is_web(self) -> bool:
        """Whether it names a web server."""
        return self in (Scheme.HTTP, Scheme.HTTPS)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?=//|/)|file:", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", re.ASCII)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_OSS_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9-]{1,62})\.(?P<endpoint>oss(-[a-z0-9-]+)?\..+)")
_QUERY = re.compile(r"\?(?:[^/?]*&)?[A-Za-z0-9_.-]+=")
_CREDENTIALS = "holds a user name or password; credentials are never taken in URLs"
_MOST_KEY = 1024
_MOST_TEXT, _MOST_URL = 2048, 8192


class LocationError(ValueError):
    """A location that cannot be read; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place in a store, as it was named: no bucket is looked up yet."""

    scheme: Scheme
    path: str
    """Of a file absolute and without ``..``; of an object its key; of a URL its decoded path
    without the leading slash."""
    bucket: str = ""
    """Of an object; and of a URL in the form of OSS, ``https://bucket.oss-region.host/key``."""
    endpoint: str = ""
    """The host, and the port where it is not the scheme's: of a URL, and of an object that was
    named with one."""
    url: str = ""
    """Of a URL the whole, normalised."""

    @property
    def stem(self) -> str:
        """The last part of the path without its ending."""
        return PurePosixPath(self.path).stem

    @property
    def label(self) -> str:
        """How it is shown: without a query."""
        match self.scheme:
            case Scheme.FILE:
                return self.path
            case Scheme.HTTP | Scheme.HTTPS:
                return public(self.url)
            case _:
                return f"{self.scheme}://{self.bucket}/{self.path}"


def parse(text: str) -> Location:
    """Read a path or URI; raises `LocationError`.

    A relative path is refused, since the server's working folder is none of the caller's. Keys
    stand in ``s3:``, ``gs:`` and ``oss:`` URIs as they are, without escapes.
    """
    if not text:
        raise LocationError("is required")
    # Signatures may be long.
    most = _MOST_URL if text[:4].lower() == "http" else _MOST_TEXT
    if len(text) > most:
        raise LocationError(f"is longer than {most:,} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise LocationError("holds control characters")
    if not _SCHEME.match(text):
        return Location(scheme=Scheme.FILE, path=_file_path(text))
    name, _, rest = text.partition(":")
    try:
        scheme = Scheme(name.lower())
    except ValueError:
        schemes = ", ".join(scheme.value for scheme in Scheme)
        raise LocationError(
            f"has the scheme {name!r}; a path or one of {schemes} is taken"
        ) from None
    if scheme is Scheme.FILE:
        return _file(_split(text))
    if scheme.is_web:
        return _web(scheme, text)
    return _object(scheme, rest)


def stem_of(text: str) -> str:
    """What ``{stem}`` stands for; of what cannot be read the word itself."""
    try:
        return parse(text).stem
    except LocationError:
        return "stem"


def host_and_port(text: str, scheme: Scheme) -> str:
    """The authority of a URL in its one form, without the scheme's own port; `LocationError` for
    anything that two readers could read in two ways: userinfo, other digits, numbers as names."""
    if "@" in text:
        raise LocationError(_CREDENTIALS)
    if not text.isascii() or "%" in text or "\\" in text:
        raise LocationError("has a host that is not ASCII; write it in its xn-- form")
    try:
        parts = urlsplit(f"//{text}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise LocationError("has a host or port that cannot be read") from None
    if parts.netloc != text or text.endswith(":") or port == 0:
        raise LocationError("has a host or port that cannot be read")
    if text.startswith("["):
        if text.rpartition("]")[2][:1] not in ("", ":"):
            raise LocationError("has a host or port that cannot be read")
        try:
            host = f"[{ipaddress.IPv6Address(host)}]"
        except ValueError:
            raise LocationError("has a host or port that cannot be read") from None
    else:
        host = host.removesuffix(".")
        if not _HOST.fullmatch(host) or len(host) > 253:
            raise LocationError("names no host")
        last = host.rpartition(".")[2]
        if last.isdigit() or last.startswith("0x"):
            # Programs read 0x7f.1, 017700000001 and 2130706433 as addresses, each in its way.
            try:
                host = str(ipaddress.IPv4Address(host))
            except ValueError:
                raise LocationError(
                    "has a host that is a number; write an address as four decimal numbers"
                ) from None
    usual = {Scheme.HTTP: 80, Scheme.HTTPS: 443}[scheme]
    return host if port in (None, usual) else f"{host}:{port}"


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise LocationError("is no URI: its host cannot be read") from None


def _file(parts: SplitResult) -> Location:
    if parts.netloc not in ("", "localhost"):
        raise LocationError("is a file URI with a host; write file:///path")
    if parts.query or parts.fragment:
        raise LocationError("is a file URI with a query or fragment; escape ? as %3F and # as %23")
    return Location(scheme=Scheme.FILE, path=_file_path(unquote(parts.path)))


def _file_path(text: str) -> str:
    if "\0" in text:
        raise LocationError("holds a NUL character")
    if not text.startswith("/"):
        if "://" in text and not text[0].isalnum():
            raise LocationError(
                f"begins with {text[0]!r}; a URI begins with its scheme, such as s3://bucket/key"
            )
        raise LocationError(
            "is a relative path; write it from the root, such as /videos/film.mp4, or a URI such "
            "as s3://bucket/key"
        )
    if ".." in PurePosixPath(text).parts:
        raise LocationError("holds '..'; write the path without it")
    return os.path.normpath(text)


def _object(scheme: Scheme, rest: str) -> Location:
    if not rest.startswith("//"):
        raise LocationError(f"names no bucket; write {scheme}://bucket/key")
    authority, _, key = rest[2:].partition("/")
    bucket, endpoint = authority, ""
    if scheme is Scheme.OSS and "." in authority:
        # Names of OSS buckets have no dots: what follows one is an endpoint.
        bucket, _, endpoint = authority.partition(".")
        endpoint = host_and_port(endpoint, Scheme.HTTPS)
    if "@" in authority:
        raise LocationError(_CREDENTIALS)
    if not _BUCKET.fullmatch(bucket):
        what = "a bucket as none can be called" if bucket else "no bucket"
        raise LocationError(f"names {what}; write {scheme}://bucket/key")
    return Location(scheme=scheme, path=_key(key), bucket=bucket, endpoint=endpoint)


def _key(key: str) -> str:
    if not key or key.endswith("/"):
        raise LocationError("names no object; write the key behind the bucket")
    if _QUERY.search(key):
        # A question mark is a part of a key; a signature that was copied along is not.
        raise LocationError(
            "has a key with a query, as of a copied signature, which is not taken; sources may be "
            "given as https URLs with one"
        )
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise LocationError("has a key that is no UTF-8") from None
    if size > _MOST_KEY:
        raise LocationError(f"has a key of more than {_MOST_KEY:,} bytes")
    if key.startswith("/") or {".", ".."} & set(key.split("/")):
        # HTTP clients on the way resolve such parts, each in its way.
        raise LocationError("has a key that begins with '/' or has a part '.' or '..'")
    return key


def _web(scheme: Scheme, text: str) -> Location:
    if any(character.isspace() or character == "\\" for character in text):
        raise LocationError("holds spaces or backslashes; escape them as %20 and %5C")
    parts = _split(text)
    if not parts.netloc:
        raise LocationError("names no host")
    endpoint = host_and_port(parts.netloc, scheme)
    if parts.fragment:
        raise LocationError("has a fragment, which no server sees; leave out what follows #")
    path = unquote(parts.path).removeprefix("/")
    if not path:
        raise LocationError("names no file on the host")
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise LocationError("holds control characters")
    url = urlunsplit((scheme.value, endpoint, parts.path, parts.query, ""))
    bucket = ""
    found = _OSS_HOST.fullmatch(endpoint)
    if found and not parts.query:
        bucket, endpoint = found["bucket"], found["endpoint"]
        path = _key(path)
    return Location(scheme=scheme, path=path, bucket=bucket, endpoint=endpoint, url=url)


def public(text: str) -> str:
    """The location as it may be shown: without userinfo, query and fragment. Of what cannot be
    read only the scheme is."""
    if not _SCHEME.match(text):
        return text
    scheme = text.partition(":")[0].lower()
    if scheme in (Scheme.FILE, Scheme.S3, Scheme.GCS, Scheme.OSS):
        # What stands before a bucket's @ or in a query is refused, yet it may be a secret.
        head, slashes, rest = _QUERY.split(text, maxsplit=1)[0].partition("://")
        authority, slash, key = rest.partition("/")
        return f"{head}{slashes}{authority.rsplit('@', 1)[-1]}{slash}{key}" if slashes else text
    try:
        parts = urlsplit(text)
    except ValueError:
        return f"{scheme}:"
    if not parts.netloc:
        return f"{scheme}:"
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))
