"""A request as it came: what signatures are checked against, and what its parameters say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from reelsplit_server.ims.errors import ImsError, invalid

MOST_BYTES = 2**20
"""The longest query, and the longest body."""
_MOST_FIELDS = 200
_FORM = "application/x-www-form-urlencoded"

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Query and form are decoded; names of headers are lower-case, and a header that came more
    than once has its values joined by commas."""

    method: str
    query: Pairs
    form: Pairs
    headers: Mapping[str, str]
    body: bytes


def read(
    method: str, query: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> Received:
    """Read a request; raises `ImsError`."""
    if method not in ("GET", "POST"):
        raise invalid("The HTTP method", "is neither GET nor POST")
    named: dict[str, str] = {}
    for raw_name, raw_value in headers:
        # Of bytes: as Latin-1 the end of a letter in UTF-8 may look like a space.
        name, value = raw_name.decode("latin-1").lower(), raw_value.strip().decode("latin-1")
        named[name] = f"{named[name]},{value}" if name in named else value
    form: Pairs = ()
    if body:
        kind = named.get("content-type", _FORM).partition(";")[0].strip().lower()
        if kind != _FORM:
            raise invalid("The body", f"is not of the type {_FORM}; send parameters as a form")
        form = _pairs(body, "The body")
    return Received(
        method=method, query=_pairs(query, "The query"), form=form, headers=named, body=body
    )


def too_large(what: str) -> ImsError:
    """A query or body is longer than may be."""
    return invalid(
        what,
        f"is longer than {MOST_BYTES:,} bytes; send fewer ranges in one job, or shorter values",
    )


def parameters(received: Received) -> dict[str, str]:
    """The parameters by name, of query and form together. Empty ones count as absent."""
    found: dict[str, str] = {}
    for name, value in (*received.query, *received.form):
        if name in found:
            # Two readers of one request could take each another one.
            raise invalid(name[:64] or "A parameter", "is given twice; give it once")
        found[name] = value
    return {name: value for name, value in found.items() if value}


def _pairs(text: bytes, what: str) -> Pairs:
    if len(text) > MOST_BYTES:
        raise too_large(what)
    try:
        # A query may hold what should have been escaped, as UTF-8.
        return parse_qsl(
            text.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except UnicodeDecodeError:
        raise invalid(what, "holds text that is not UTF-8") from None
    except ValueError:
        raise invalid(what, f"holds more than {_MOST_FIELDS} parameters") from None
