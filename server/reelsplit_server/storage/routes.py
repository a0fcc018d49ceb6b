"""Which store a location leads to, by the operator's settings. Opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from reelsplit_server.storage.location import Location, LocationError, Scheme, host_and_port

Verb = Literal["read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRoute:
    """What leads to one configured store. ``buckets`` are names or patterns such as ``video-*``;
    ``endpoints`` the hosts, with ports, by which callers may name it."""

    name: str
    scheme: Scheme
    buckets: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    url: str = ""
    """The endpoint that callers are told, where the store has one of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    """A local file."""

    path: str

    @property
    def label(self) -> str:
        """How it is shown."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPlace:
    """An object of a configured store."""

    store: str
    bucket: str
    key: str
    label: str
    """How it is shown: as the caller named it, without credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPlace:
    """A file behind a URL, which may hold a signature of the caller's own."""

    url: str
    label: str


Place = FilePlace | ObjectPlace | WebPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """All that callers may name. ``aliases`` leads from ``scheme://bucket`` to another one;
    ``hosts`` are host names or patterns, with a port where it is not the usual one."""

    roots: tuple[Path, ...] = ()
    stores: tuple[StoreRoute, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()

    def resolve(self, place: Location, verb: Verb, endpoint: str | None = None) -> Place:
        """Where a location leads; raises `LocationError`. ``endpoint`` is named beside it."""
        if place.scheme is Scheme.FILE:
            if endpoint:
                raise LocationError("is a local path, which has no endpoint")
            return self._file(place, verb)
        if endpoint:
            named = endpoint.partition("://")[2] or endpoint
            endpoint = host_and_port(named.removesuffix("/"), Scheme.HTTPS)
        if place.scheme.is_web and not place.bucket:
            if endpoint:
                raise LocationError("is a web address, which has no other endpoint")
            return self._web(place, verb)
        found = self._object(place, endpoint or place.endpoint, verb)
        if found is not None:
            return found
        if place.scheme.is_web:
            return self._web(place, verb)
        if named := endpoint or place.endpoint:
            # An endpoint that is none of ours gets no credentials: what it gives to anybody.
            url = f"https://{place.bucket}.{named}/{quote(place.path)}"
            if verb == "read" and self.is_allowed(f"{place.bucket}.{named}"):
                return WebPlace(url=url, label=place.label)
            if not any(named in store.endpoints for store in self.stores):
                raise LocationError(
                    f"names the endpoint {named}, which is none of this server's stores"
                )
        raise LocationError(
            f"names the bucket {place.bucket!r}, which this server may not use; its operator "
            f"lists {place.scheme}:// buckets in the settings of a store"
        )

    def scheme_of(self, store: str) -> Scheme:
        """The scheme of a configured store."""
        return next(route.scheme for route in self.stores if route.name == store)

    def leads(self, place: Location, verb: Verb) -> bool:
        """Whether a location leads anywhere without an endpoint beside it."""
        try:
            self.resolve(place, verb)
        except LocationError:
            return False
        return True

    def is_allowed(self, host: str) -> bool:
        """Whether sources are read from a host, given with its port unless that is the usual."""
        # A pattern takes the brackets of an address for a set of letters.
        patterns = [pattern.lower() for pattern in self.hosts]
        return any(host == pattern or fnmatchcase(host, pattern) for pattern in patterns)

    def _file(self, place: Location, verb: Verb) -> FilePlace:
        if not self.roots:
            raise LocationError(
                f"is a local path, and this server may {verb} none; its operator allows folders "
                "with --root"
            )
        if not any(PurePosixPath(place.path).is_relative_to(root) for root in self.roots):
            raise LocationError(
                f"lies outside of the folders that this server may {verb}; its operator allows "
                "more with --root"
            )
        return FilePlace(path=place.path)

    def _web(self, place: Location, verb: Verb) -> WebPlace:
        if verb == "write":
            raise LocationError("is a web address, and those are only read; write to a bucket")
        host = f"{place.bucket}.{place.endpoint}" if place.bucket else place.endpoint
        if not self.is_allowed(host):
            raise LocationError(
                f"names the host {host}, from which this server may not read; its operator allows "
                "hosts with --http-hosts"
            )
        return WebPlace(url=place.url, label=place.label)

    def _object(self, place: Location, endpoint: str, verb: Verb) -> ObjectPlace | None:
        scheme = Scheme.OSS if place.scheme.is_web else place.scheme
        alias = self.aliases.get(f"{scheme}://{place.bucket}")
        bucket = place.bucket
        if alias is not None:
            # The operator has moved the bucket: where it was named to be no longer matters.
            name, _, bucket = alias.partition("://")
            scheme, endpoint = Scheme(name), ""
        for store in self.stores:
            if store.scheme is not scheme or (endpoint and endpoint not in store.endpoints):
                continue
            if any(fnmatchcase(bucket, pattern) for pattern in store.buckets):
                return ObjectPlace(
                    store=store.name, bucket=bucket, key=place.path, label=place.label
                )
        return None
