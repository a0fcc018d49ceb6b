"""The assets of all principals, in the database of the jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, select, update

from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo
from reelsplit.types.media import Media, MediaState
from reelsplit_server.assets.records import Again, MediaFilter, MediaRecord, NoSuchMediaError
from reelsplit_server.assets.rows import (
    as_bytes,
    filtered,
    first,
    ids_at,
    load,
    of_principal,
    put,
    record,
    remove,
    request_digest,
)
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.principals import principal_id
from reelsplit_server.jobs.rows import micros


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
        endpoint: str | None = None,
    ) -> MediaRecord:
        """Register what ``wanted`` holds of location, title, labels and user data; or answer what
        this client token registered. Raises `MediaTokenReusedError`."""
        sent = request_digest(wanted, details, again, endpoint)

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
                    return first(connection, row, sent)
            known = []
            if again is not Again.ANOTHER:
                known = ids_at(connection, owner, wanted.uri, endpoint)
            if known and again is Again.KEEP:
                media_id = known[0]
            else:
                for other in known:
                    remove(transaction, other)
                media_id = put(transaction, owner, wanted, details, endpoint)
            if client_token:
                connection.execute(
                    insert(schema.media_tokens).values(
                        principal_id=owner,
                        client_token=client_token,
                        media_id=media_id,
                        request=sent,
                    )
                )
            return load(connection, media_id)

        return await self._database.write(work)

    async def get(self, principal: str | None, media_id: str) -> MediaRecord:
        """One asset; raises `NoSuchMediaError`. ``None`` stands for any principal."""
        return await self._database.read(lambda c: load(c, media_id, principal))

    async def at(
        self, principal: str | None, uris: Sequence[str], endpoint: str | None = None
    ) -> MediaRecord:
        """The newest asset at one of some spellings of a location, of those with this endpoint
        where there are any; raises `NoSuchMediaError`."""

        def work(connection: Connection) -> MediaRecord:
            media = schema.media.c
            named = media.endpoint.is_(None) if endpoint is None else media.endpoint == endpoint
            query = (
                of_principal(principal)
                .where(media.uri.in_(uris))
                .order_by(
                    case((named, 0), else_=1), media.create_time.desc(), media.media_id.desc()
                )
                .limit(1)
            )
            row = connection.execute(query).one_or_none()
            if row is None:
                raise NoSuchMediaError(uris[0])
            return record(row)

        return await self._database.read(work)

    async def find(
        self, principal: str | None, chosen: MediaFilter, after: tuple[int, str] | None, size: int
    ) -> tuple[list[MediaRecord], bool, int]:
        """At most ``size`` assets behind ``after`` (create time in microseconds, id), whether
        there are more behind them, and how many match in all."""

        def work(connection: Connection) -> tuple[list[MediaRecord], bool, int]:
            media = schema.media.c
            query = filtered(of_principal(principal), chosen)
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
            return [record(row) for row in rows[:size]], len(rows) > size, total

        return await self._database.read(work)

    async def delete(self, principal: str, media_id: str) -> None:
        """Forget an asset; raises `NoSuchMediaError`."""

        def work(transaction: Transaction) -> None:
            load(transaction.connection, media_id, principal)
            remove(transaction, media_id)

        await self._database.write(work)

    # --- Probing ---------------------------------------------------------------------------

    async def unprobed(self, resting: Collection[str], busy: Collection[str] = ()) -> list[str]:
        """The asset of each principal that has waited longest for its facts, but for those that
        rest, and for the principals of those that are ``busy``; those that an earlier server was
        about to open wait, too."""

        def work(connection: Connection) -> list[str]:
            media = schema.media.c
            waiting = (MediaState.PENDING.value, MediaState.PROBING.value)
            place = func.row_number().over(
                partition_by=media.principal_id, order_by=(media.create_time, media.media_id)
            )
            served = select(media.principal_id).where(media.media_id.in_(busy))
            ranked = (
                select(media.media_id, place.label("place"))
                .where(
                    media.state.in_(waiting),
                    media.media_id.not_in(resting),
                    media.principal_id.not_in(served),
                )
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
            media = dataclasses.replace(load(connection, media_id).media, **facts)
            connection.execute(
                update(table)
                .where(table.c.media_id == media_id)
                .values(
                    state=state.value, data=as_bytes(media), update_time=micros(transaction.now)
                )
            )
            return load(connection, media_id)

        return await self._database.write(work)

    async def sweep(self) -> None:
        """Forget client tokens whose time is over."""

        def work(transaction: Transaction) -> None:
            tokens = schema.media_tokens
            old = tokens.c.forget_time < micros(transaction.now)
            transaction.connection.execute(delete(tokens).where(old))

        await self._database.write(work)
