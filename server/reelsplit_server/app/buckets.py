"""Buckets that are named without the store that they stand on: by the settings of the stores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from reelsplit.types.spec import Input
from reelsplit_server.app.errors import AppError, Kind, Violation, invalid
from reelsplit_server.storage import location
from reelsplit_server.storage.location import Location, LocationError, Scheme
from reelsplit_server.storage.routes import ObjectPlace, Routes, Verb

_INPUT, _OUTPUT = "spec.input.uri", "spec.output.uri_template"
_BUCKET = "spec.output.bucket"
_STANDS_ON = (Scheme.OSS, Scheme.S3, Scheme.GCS)
_OTHERS = (Scheme.S3, Scheme.GCS)
_REST = re.compile(r"(https?://[^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
# What stands in URLs as it is, escapes included; all else may stand there unescaped here.
_IN_URLS = "/?&=%:@!$'()*+,;-._~#[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An object as a caller would name it: ``endpoint`` is a URL, or empty where the store has
    none of its own."""

    endpoint: str
    bucket: str
    key: str


class Buckets:
    """Leads callers who know only buckets to the stores that list them. ``oss://name`` is looked
    for first, then an S3 store that lists the bucket, then one of GCS."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def source(self, text: str) -> Input:
        """The input of a URI: ``oss://bucket/key``, ``oss://bucket.endpoint/key``, their forms
        with ``http(s)://``, ``s3://``, ``gs://``, or the URL of an allowed host. In an http form
        characters may stand unescaped. Raises `AppError`."""
        if web := _REST.fullmatch(text):
            text = web[1] + quote(web[2], safe=_IN_URLS)
        try:
            place = location.parse(text)
        except LocationError as error:
            raise invalid([Violation(field=_INPUT, description=str(error))]) from None
        if place.scheme is Scheme.FILE:
            wrong = "is a path; take oss://bucket/key, or the http form of it"
            raise invalid([Violation(field=_INPUT, description=wrong)])
        for found in _candidates(place, text):
            if self._leads(found, "read"):
                return found
        raise self._forbidden("SOURCE_FORBIDDEN", place, "read", None, text)

    def target(self, bucket: str, key: str, endpoint: str | None) -> tuple[str, str | None]:
        """The URI and the endpoint of an object, whose key may hold placeholders. Raises
        `AppError`."""
        if not _is_bucket(bucket):
            wrong = "is no name that a bucket can have"
            raise invalid([Violation(field=_BUCKET, description=wrong)])
        place: Location | None = None
        for scheme in _STANDS_ON:
            if scheme is Scheme.OSS and "." in bucket:
                # Of OSS no name has dots; those of others do.
                continue
            text = f"{scheme}://{bucket}/{key}"
            try:
                found = location.parse(text)
            except LocationError as error:
                raise invalid([Violation(field=_OUTPUT, description=str(error))]) from None
            place = place or found
            if self._leads(Input(uri=text, endpoint=endpoint), "write"):
                return text, endpoint
        assert place is not None
        raise self._forbidden("OUTPUT_FORBIDDEN", place, "write", endpoint, place.label)

    def named(self, uri: str, endpoint: str | None) -> Named:
        """How an object, or a template of objects, is called in answers."""
        try:
            place = location.parse(uri)
        except LocationError:
            return Named(endpoint="", bucket="", key=uri)
        if place.scheme is Scheme.FILE or not place.bucket:
            return Named(endpoint="", bucket="", key=place.path)
        url = endpoint or place.endpoint
        if not url:
            url = self._url_of(place)
        elif "://" not in url:
            url = f"https://{url}"
        return Named(endpoint=url, bucket=place.bucket, key=place.path)

    def _url_of(self, place: Location) -> str:
        try:
            found = self._routes.resolve(place, "read")
        except LocationError:
            return ""
        urls = {store.name: store.url for store in self._routes.stores}
        return urls.get(found.store, "") if isinstance(found, ObjectPlace) else ""

    def _leads(self, source: Input, verb: Verb) -> bool:
        try:
            self._routes.resolve(location.parse(source.uri or ""), verb, source.endpoint)
        except LocationError:
            return False
        return True

    def _forbidden(
        self, reason: str, place: Location, verb: Verb, endpoint: str | None, uri: str
    ) -> AppError:
        try:
            self._routes.resolve(place, verb, endpoint)
            why = "cannot be used"
        except LocationError as error:
            why = str(error)
        label = location.public(uri)
        what = "source" if verb == "read" else "output"
        return AppError(Kind.DENIED, reason, f"The {what} {label} {why}.", metadata={"uri": label})


def _is_bucket(name: str) -> bool:
    try:
        return location.parse(f"s3://{name}/key").bucket == name
    except LocationError:
        return False


def _candidates(place: Location, text: str) -> Sequence[Input]:
    return [Input(uri=text), *_elsewhere(place)]


def _elsewhere(place: Location) -> Iterator[Input]:
    """The same bucket on a store of another kind."""
    if place.bucket and place.scheme in (Scheme.OSS, Scheme.HTTP, Scheme.HTTPS):
        for scheme in _OTHERS:
            yield Input(
                uri=f"{scheme}://{place.bucket}/{place.path}", endpoint=place.endpoint or None
            )
