"""The assets of all principals, in the database of the jobs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo
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
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.principals import principal_id
from reelsplit_server.jobs.rows import from_micros, micros

_MEMORY_OF_TOKENS = timedelta(hours=24)
"""How long a client token is remembered after its asset was deleted."""


class MediaStore:
    """Reading, and every change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        principal: str,
        client_token: str,
        wanted: Media,
        details: Mapping[str, str],
        again: Again,
    ) -> MediaRecord:
        """Register what ``wanted`` holds of location, title, labels and user data; or answer what
        this client token registered. Raises `MediaTokenReusedError`."""
        sent = _digest(wanted, details, again)

        def work(transaction: Transaction) -> MediaRecord:
            connection = transaction.connection
            owner = principal_id(transaction, principal)
            if client_token:
                table = schema.media_tokens
                row = connection.execute(
                    select(table).where(
                        table.c.principal_id == owner, table.c.client_token == client_token
                    )
                ).one_or_none()
                if row is not None:
                    return _first(connection, row, sent)
            known = _ids_at(connection, owner, wanted.uri) if again is not Again.ANOTHER else []
            if known and again is Again.KEEP:
                media_id = known[0]
            else:
                for other in known:
                    _delete(transaction, other)
                media_id = _insert(transaction, owner, wanted, details)
            if client_token:
                connection.execute(
                    insert(schema.media_tokens).values(
                        principal_id=owner,
                        client_token=client_token,
                        media_id=media_id,
                        request=sent,
                    )
                )
            return _load(connection, media_id)

        return await self._database.write(work)

    async def get(self, principal: str | None, media_id: str) -> MediaRecord:
        """One asset; raises `NoSuchMediaError`. ``None`` stands for any principal."""
        return await self._database.read(lambda c: _load(c, media_id, principal))

    async def at(self, principal: str | None, uris: Sequence[str]) -> MediaRecord:
        """The newest asset at one of some spellings of a location; raises `NoSuchMediaError`."""

        def work(connection: Connection) -> MediaRecord:
            media = schema.media.c
            query = (
                _query(principal)
                .where(media.uri.in_(uris))
                .order_by(media.create_time.desc(), media.media_id.desc())
                .limit(1)
            )
            row = connection.execute(query).one_or_none()
            if row is None:
                raise NoSuchMediaError(uris[0])
            return _record(row)

        return await self._database.read(work)

    async def find(
        self, principal: str | None, chosen: MediaFilter, after: tuple[int, str] | None, size: int
    ) -> tuple[list[MediaRecord], bool, int]:
        """At most ``size`` assets behind ``after`` (create time in microseconds, id), whether
        there are more behind them, and how many match in all."""

        def work(connection: Connection) -> tuple[list[MediaRecord], bool, int]:
            media = schema.media.c
            query = _filtered(_query(principal), chosen)
            total = connection.execute(
                select(func.count()).select_from(query.subquery())
            ).scalar_one()
            order: list[Any] = [media.create_time, media.media_id]
            if after is not None:
                time, media_id = after
                same = media.create_time == time
                query = query.where(
                    (media.create_time > time) | (same & (media.media_id > media_id))
                    if chosen.oldest_first
                    else (media.create_time < time) | (same & (media.media_id < media_id))
                )
            if not chosen.oldest_first:
                order = [column.desc() for column in order]
            rows = connection.execute(query.order_by(*order).limit(size + 1)).all()
            return [_record(row) for row in rows[:size]], len(rows) > size, total

        return await self._database.read(work)

    async def delete(self, principal: str, media_id: str) -> None:
        """Forget an asset; raises `NoSuchMediaError`."""

        def work(transaction: Transaction) -> None:
            _load(transaction.connection, media_id, principal)
            _delete(transaction, media_id)

        await self._database.write(work)

    # --- Probing ---------------------------------------------------------------------------

    async def unprobed(self, resting: Collection[str]) -> list[str]:
        """The asset of each principal that has waited longest for its facts, but for those that
        rest; those that an earlier server was about to open wait, too."""

        def work(connection: Connection) -> list[str]:
            media = schema.media.c
            waiting = (MediaState.PENDING.value, MediaState.PROBING.value)
            place = func.row_number().over(
                partition_by=media.principal_id, order_by=(media.create_time, media.media_id)
            )
            ranked = (
                select(media.media_id, place.label("place"))
                .where(media.state.in_(waiting), media.media_id.not_in(resting))
                .subquery()
            )
            query = select(ranked.c.media_id).where(ranked.c.place == 1)
            return list(connection.execute(query).scalars())

        return await self._database.read(work)

    async def probing(self, media_id: str) -> MediaRecord:
        """An asset is being opened; raises `NoSuchMediaError`."""
        return await self._change(media_id, MediaState.PROBING)

    async def probed(
        self, media_id: str, *, source: SourceInfo | None = None, error: Error | None = None
    ) -> MediaRecord:
        """Keep what an asset turned out to be, or why it could not be opened; raises
        `NoSuchMediaError`."""
        state = MediaState.READY if error is None else MediaState.FAILED
        return await self._change(media_id, state, source=source, error=error)

    async def _change(self, media_id: str, state: MediaState, **facts: Any) -> MediaRecord:
        def work(transaction: Transaction) -> MediaRecord:
            connection, table = transaction.connection, schema.media
            media = dataclasses.replace(_load(connection, media_id).media, **facts)
            connection.execute(
                update(table)
                .where(table.c.media_id == media_id)
                .values(state=state.value, data=_bytes(media), update_time=micros(transaction.now))
            )
            return _load(connection, media_id)

        return await self._database.write(work)

    async def sweep(self) -> None:
        """Forget client tokens whose time is over."""

        def work(transaction: Transaction) -> None:
            tokens = schema.media_tokens
            old = tokens.c.forget_time < micros(transaction.now)
            transaction.connection.execute(delete(tokens).where(old))

        await self._database.write(work)


def _query(principal: str | None) -> Select[Any]:
    """The assets of a principal, or of all, with the names of their principals."""
    name = schema.principals.c.name
    query = select(schema.media, name.label("principal")).join(schema.principals)
    return query if principal is None else query.where(name == principal)


def _filtered(query: Select[Any], chosen: MediaFilter) -> Select[Any]:
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


def _load(connection: Connection, media_id: str, principal: str | None = None) -> MediaRecord:
    query = _query(principal).where(schema.media.c.media_id == media_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NoSuchMediaError(media_id)
    return _record(row)


def _record(row: Row[Any]) -> MediaRecord:
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


def _bytes(media: Media) -> bytes:
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


def _insert(transaction: Transaction, owner: int, wanted: Media, details: Mapping[str, str]) -> str:
    connection, now = transaction.connection, micros(transaction.now)
    media_id = secrets.token_hex(16)
    connection.execute(
        insert(schema.media).values(
            media_id=media_id,
            principal_id=owner,
            uri=wanted.uri,
            state=MediaState.PENDING.value,
            data=_bytes(wanted),
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


def _delete(transaction: Transaction, media_id: str) -> None:
    connection, tokens = transaction.connection, schema.media_tokens
    forget = micros(transaction.now + _MEMORY_OF_TOKENS)
    connection.execute(
        update(tokens).where(tokens.c.media_id == media_id).values(forget_time=forget)
    )
    connection.execute(delete(schema.media).where(schema.media.c.media_id == media_id))


def _ids_at(connection: Connection, owner: int, uri: str) -> list[str]:
    media = schema.media.c
    query = (
        select(media.media_id)
        .where(media.principal_id == owner, media.uri == uri)
        .order_by(media.create_time.desc(), media.media_id.desc())
    )
    return list(connection.execute(query).scalars())


def _first(connection: Connection, row: Row[Any], sent: bytes) -> MediaRecord:
    if row.request != sent:
        raise MediaTokenReusedError(row.media_id)
    try:
        return _load(connection, row.media_id)
    except NoSuchMediaError:
        # The asset was deleted: the token may not make another for a day.
        raise MediaTokenReusedError(row.media_id) from None


def _digest(wanted: Media, details: Mapping[str, str], again: Again) -> bytes:
    """What tells requests apart; a digest, since locations may hold signatures."""
    parts = [
        wanted.uri,
        wanted.title,
        wanted.user_data,
        sorted(wanted.labels.items()),
        sorted(details.items()),
        again.name,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).digest()
