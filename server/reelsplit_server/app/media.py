"""The use cases on media assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath

from reelsplit.types.media import Media, MediaState
from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.authorization import require
from reelsplit_server.app.bounds import Bounds, page_size_of
from reelsplit_server.app.errors import (
    OUT_OF_REACH,
    AppError,
    Kind,
    Violation,
    invalid,
    shutting_down,
    translated,
)
from reelsplit_server.app.inputs import MEDIA_ID, media_not_found
from reelsplit_server.app.lasting import lasting
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.app.validation import Checker
from reelsplit_server.assets.files import Files
from reelsplit_server.assets.prober import Prober
from reelsplit_server.assets.records import (
    Again,
    MediaFilter,
    MediaRecord,
    MediaTokenReusedError,
    NoSuchMediaError,
)
from reelsplit_server.assets.store import MediaStore
from reelsplit_server.jobs.failures import RemoveError
from reelsplit_server.jobs.rows import micros
from reelsplit_server.storage import location

__all__ = ["Again", "Asset", "MediaLibrary", "MediaPage", "MediaQuery"]

_MOST_TITLE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """An asset as callers see it, and what a face keeps beside."""

    media: Media
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaQuery:
    """Which assets a list holds. ``details`` are those of `Asset`: the value that is wanted, and
    the one that assets without have."""

    page_size: int = 0
    page_token: str = ""
    states: Sequence[MediaState] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    media_id: str | None = None
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    oldest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPage:
    """One page of assets."""

    assets: Sequence[Asset]
    next_page_token: str
    total_size: int


class MediaLibrary:
    """The media assets of all callers."""

    def __init__(
        self, store: MediaStore, prober: Prober, files: Files, sealer: Sealer, bounds: Bounds
    ) -> None:
        self._store = store
        self._prober = prober
        self._files = files
        self._sealer = sealer
        self._bounds = bounds
        self.draining = False

    @lasting
    async def register(
        self,
        caller: Caller,
        client_token: str,
        wanted: Media,
        *,
        endpoint: str | None = None,
        details: Mapping[str, str] | None = None,
        again: Again = Again.ANOTHER,
    ) -> Asset:
        """Register a location, with the title, labels and user data of ``wanted``; ``endpoint``
        names the store of its bucket, where the location alone does not."""
        require(caller, Permission.MEDIA)
        if self.draining:
            raise shutting_down()
        checker = Checker(self._bounds, caller.reach)
        checker.client_token("client_token", client_token)
        checker.media(wanted, endpoint)
        if checker.violations:
            raise invalid(checker.violations)
        if not wanted.title:
            path = location.public(wanted.uri)
            wanted = replace(wanted, title=PurePosixPath(path).name[:_MOST_TITLE])
        with translated():
            try:
                record = await self._store.add(
                    caller.principal, client_token, wanted, details or {}, again, endpoint
                )
            except MediaTokenReusedError as error:
                raise AppError(
                    Kind.ALREADY_EXISTS,
                    "CLIENT_TOKEN_REUSED",
                    f"The client token was used for the media asset {error.media_id} with another "
                    "request, or for one that was deleted; take a new token for a new request.",
                    metadata={"media_id": error.media_id},
                ) from error
        self._prober.wake()
        return _present(record)

    async def get(self, caller: Caller, media_id: str) -> Asset:
        """One asset."""
        require(caller, Permission.READ)
        return _present(await self._record(caller, media_id))

    async def at(self, caller: Caller, *uris: str, endpoint: str | None = None) -> Asset:
        """The newest asset at one of some spellings of a location, of those with this endpoint
        where there are any."""
        require(caller, Permission.READ)
        return _present(await self._at(caller, uris, endpoint))

    async def id_at(self, caller: Caller, *uris: str, endpoint: str | None = None) -> str | None:
        """The id of the newest asset at one of some spellings of a location, for those who may
        change it; None where there is none."""
        require(caller, Permission.MEDIA)
        try:
            return (await self._at(caller, uris, endpoint)).media.media_id
        except AppError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise

    async def page(
        self, caller: Caller, query: MediaQuery, violations: Sequence[Violation] = ()
    ) -> MediaPage:
        """A page of the assets that the caller sees."""
        require(caller, Permission.READ)
        size = page_size_of(query.page_size, 50, violations)
        bound = (
            caller.principal,
            str(caller.sees),
            ",".join(sorted(state.value for state in query.states)),
            *(f"{key}={value}" for key, value in sorted(query.labels.items())),
            *(f"{key}:{value}" for key, (value, _) in sorted(query.details.items())),
            str(query.media_id),
            str(query.create_time_from),
            str(query.create_time_until),
            str(query.oldest_first),
        )
        after: tuple[int, str] | None = None
        if query.page_token:
            time, last = self._sealer.open("media", bound, query.page_token, "page_token")
            after = (int(time), str(last))
        chosen = MediaFilter(
            states=query.states,
            labels=query.labels,
            details=query.details,
            media_id=query.media_id,
            create_time_from=query.create_time_from,
            create_time_until=query.create_time_until,
            oldest_first=query.oldest_first,
        )
        with translated():
            records, more, total = await self._store.find(caller.sees, chosen, after, size)
        token = ""
        if more:
            media = records[-1].media
            assert media.create_time is not None
            token = self._sealer.seal("media", bound, (micros(media.create_time), media.media_id))
        return MediaPage(
            assets=[_present(record) for record in records],
            next_page_token=token,
            total_size=total,
        )

    @lasting
    async def delete(
        self, caller: Caller, media_id: str, *, allow_missing: bool, delete_file: bool
    ) -> None:
        """Forget an asset, and what lies at its location if that is wanted."""
        require(caller, Permission.MEDIA)
        try:
            record = await self._record(caller, media_id)
        except AppError as error:
            if error.kind is Kind.NOT_FOUND and allow_missing:
                return
            raise
        if delete_file:
            self._check_writable(caller, record)
            try:
                await self._files.remove(record)
            except RemoveError as error:
                raise AppError(
                    Kind.INTERNAL,
                    error.error.reason,
                    f"The file could not be deleted, so the asset was kept: {error}",
                    metadata=error.error.metadata,
                ) from error
        with translated():
            try:
                await self._store.delete(record.media.owner, media_id)
            except NoSuchMediaError:
                raise media_not_found(media_id) from None

    def _check_writable(self, caller: Caller, record: MediaRecord) -> None:
        checker = Checker(self._bounds, caller.reach)
        checker.lone("delete_file", record.media.uri, record.endpoint, "write")
        for item in checker.violations:
            if item.reason == OUT_OF_REACH:
                raise AppError(
                    Kind.DENIED,
                    "PERMISSION_DENIED",
                    "These credentials may not write where the file lies, so it cannot be deleted "
                    "with them.",
                    metadata={"permission": "write"},
                )
            raise invalid([replace(item, field="delete_file")])

    async def _record(self, caller: Caller, media_id: str) -> MediaRecord:
        if not MEDIA_ID.fullmatch(media_id):
            wrong = "takes the 32 lower-case hexadecimal digits of a media asset"
            raise invalid([Violation(field="media_id", description=wrong)])
        with translated():
            try:
                return await self._store.get(caller.sees, media_id)
            except NoSuchMediaError:
                raise media_not_found(media_id) from None

    async def _at(self, caller: Caller, uris: Sequence[str], endpoint: str | None) -> MediaRecord:
        if not all(uris):
            raise invalid([Violation(field="uri", description="is required, or a media_id")])
        with translated():
            try:
                return await self._store.at(caller.sees, uris, endpoint)
            except NoSuchMediaError:
                raise media_not_found(f"at {location.public(uris[0])}") from None


def _present(record: MediaRecord) -> Asset:
    media = record.media
    return Asset(media=replace(media, uri=location.public(media.uri)), details=record.details)
