"""Media assets as rows of the database."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from reelsplit.types.media import Media, MediaState
from reelsplit.v1 import media_pb2
from reelsplit.wire import from_message, to_message
from reelsplit_server.assets.records import (
    Again,
    MediaFilter,
    MediaRecord,
    MediaTokenReusedError,
    NoSuchMediaError,
)
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.forgetting import MEMORY_OF_TOKENS
from reelsplit_server.jobs.ids import new_id
from reelsplit_server.jobs.rows import from_micros, micros


def of_principal(principal: str | None) -> Select[Any]:
    """The assets of a principal, or of all, with the names of their principals."""
    name = schema.principals.c.name
    query = select(schema.media, name.label("principal")).join(schema.principals)
    return query if principal is None else query.where(name == principal)


def filtered(query: Select[Any], chosen: MediaFilter) -> Select[Any]:
    """Those of the assets that a list holds."""
    media, labels = schema.media.c, schema.media_labels.c
    if chosen.states:
        query = query.where(media.state.in_([state.value for state in chosen.states]))
    for key, value in chosen.labels.items():
        having = select(labels.media_id).where(labels.key == key, labels.value == value)
        query = query.where(media.media_id.in_(having))
    for name, (wanted, absent) in chosen.details.items():
        query = query.where(func.coalesce(media.details[name].as_string(), absent) == wanted)
    if chosen.media_id is not None:
        query = query.where(media.media_id == chosen.media_id)
    if chosen.create_time_from is not None:
        query = query.where(media.create_time >= micros(chosen.create_time_from))
    if chosen.create_time_until is not None:
        query = query.where(media.create_time < micros(chosen.create_time_until))
    return query


def load(connection: Connection, media_id: str, principal: str | None = None) -> MediaRecord:
    """One asset; raises `NoSuchMediaError`."""
    query = of_principal(principal).where(schema.media.c.media_id == media_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NoSuchMediaError(media_id)
    return record(row)


def record(row: Row[Any]) -> MediaRecord:
    """The asset of a row that `of_principal` found."""
    kept = from_message(Media, media_pb2.Media.FromString(row.data))
    media = dataclasses.replace(
        kept,
        media_id=row.media_id,
        uri=row.uri,
        state=MediaState(row.state),
        owner=row.principal,
        create_time=from_micros(row.create_time),
        update_time=from_micros(row.update_time),
    )
    return MediaRecord(media=media, endpoint=row.endpoint, details=row.details or {})


def as_bytes(media: Media) -> bytes:
    """What is kept of an asset beside the columns of its own."""
    bare = dataclasses.replace(
        media,
        media_id="",
        uri="",
        state=MediaState.UNSPECIFIED,
        owner="",
        create_time=None,
        update_time=None,
    )
    return to_message(bare).SerializeToString()


def put(
    transaction: Transaction,
    owner: int,
    wanted: Media,
    details: Mapping[str, str],
    endpoint: str | None,
) -> str:
    """Keep a new asset; answers its id."""
    connection, now = transaction.connection, micros(transaction.now)
    media_id = new_id()
    connection.execute(
        insert(schema.media).values(
            media_id=media_id,
            principal_id=owner,
            uri=wanted.uri,
            endpoint=endpoint,
            state=MediaState.PENDING.value,
            data=as_bytes(wanted),
            details=dict(details) or None,
            create_time=now,
            update_time=now,
        )
    )
    if wanted.labels:
        connection.execute(
            insert(schema.media_labels),
            [{"media_id": media_id, "key": k, "value": v} for k, v in wanted.labels.items()],
        )
    return media_id


def remove(transaction: Transaction, media_id: str) -> None:
    """Forget an asset, and its client tokens a day later."""
    connection, tokens = transaction.connection, schema.media_tokens
    forget = micros(transaction.now + MEMORY_OF_TOKENS)
    connection.execute(
        update(tokens).where(tokens.c.media_id == media_id).values(forget_time=forget)
    )
    connection.execute(delete(schema.media).where(schema.media.c.media_id == media_id))


def ids_at(connection: Connection, owner: int, uri: str, endpoint: str | None) -> list[str]:
    """The assets of a principal at a location, the newest first."""
    media = schema.media.c
    named = media.endpoint.is_(None) if endpoint is None else media.endpoint == endpoint
    query = (
        select(media.media_id)
        .where(media.principal_id == owner, media.uri == uri, named)
        .order_by(media.create_time.desc(), media.media_id.desc())
    )
    return list(connection.execute(query).scalars())


def first(connection: Connection, row: Row[Any], sent: bytes) -> MediaRecord:
    """What a client token made; raises `MediaTokenReusedError` where that was another request."""
    if row.request != sent:
        raise MediaTokenReusedError(row.media_id)
    try:
        return load(connection, row.media_id)
    except NoSuchMediaError:
        # The asset was deleted: the token may not make another for a day.
        raise MediaTokenReusedError(row.media_id) from None


def request_digest(
    wanted: Media, details: Mapping[str, str], again: Again, endpoint: str | None
) -> bytes:
    """What tells requests apart; a digest, since locations may hold signatures."""
    parts = [
        wanted.uri,
        wanted.title,
        wanted.user_data,
        sorted(wanted.labels.items()),
        sorted(details.items()),
        again.name,
        # Added later: requests without one keep the digest that they had.
        *([endpoint] if endpoint is not None else []),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).digest()
