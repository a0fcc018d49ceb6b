"""The operations on media assets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import structlog

from reelsplit.types.media import Media
from reelsplit_server.access.callers import Caller
from reelsplit_server.app.errors import AppError, Kind
from reelsplit_server.app.media import Again, Asset, MediaQuery
from reelsplit_server.ims.actions import Action, Answer, UseCases, known_choice
from reelsplit_server.ims.errors import missing, translated
from reelsplit_server.ims.media_answers import BUSINESS_TYPE, DETAILS, STATES, media_answer
from reelsplit_server.ims.parameters import Parameters

log = structlog.get_logger(__name__)
_MOST_IDS = 100
_ONLY_VIDEO = "this server keeps videos only"


class MediaActions:
    """Registering, finding and deleting."""

    def __init__(self, cases: UseCases) -> None:
        self._cases = cases

    @property
    def table(self) -> Mapping[str, Action]:
        """The operations by name."""
        return {
            "RegisterMediaInfo": self.register,
            "GetMediaInfo": self.get,
            "ListMediaBasicInfos": self.find,
            "BatchGetMediaInfos": self.batch,
            "DeleteMediaInfos": self.delete,
        }

    async def register(self, caller: Caller, given: Parameters) -> Answer:
        """RegisterMediaInfo. A location that is registered already keeps its id, unless Overwrite
        asks for a new one."""
        known_choice("MediaType", given.text("MediaType"), "video", _ONLY_VIDEO)
        cate_id = given.whole("CateId", 0, 2**62)
        details = {
            name: value
            for name in DETAILS
            if (value := given.text(name, most=1024)) and name != "CateId"
        }
        if cate_id is not None:
            details["CateId"] = str(cate_id)
        source = self._cases.buckets.source(given.required("InputURL", most=8192))
        wanted = Media(
            uri=source.uri or "",
            title=given.text("Title", most=2**10) or "",
            user_data=given.text("UserData", most=2**16) or "",
        )
        asset = await self._cases.media.register(
            caller,
            given.text("ClientToken", most=2**10) or "",
            wanted,
            endpoint=source.endpoint,
            details=details,
            again=Again.REPLACE if given.switch("Overwrite") else Again.KEEP,
        )
        media_id = asset.media.media_id
        log.info("media_registered", media_id=media_id, principal=caller.principal)
        return {"MediaId": media_id}

    async def get(self, caller: Caller, given: Parameters) -> Answer:
        """GetMediaInfo, by MediaId or InputURL."""
        media_id, url = given.text("MediaId"), given.text("InputURL", most=8192)
        media = self._cases.media
        if media_id:
            asset = await media.get(caller, media_id)
        elif url:
            uris, endpoint = self._spellings(url)
            asset = await media.at(caller, *uris, endpoint=endpoint)
        else:
            raise missing("MediaId", "or InputURL is required")
        return {"MediaInfo": self._answer(asset)}

    async def find(self, caller: Caller, given: Parameters) -> Answer:
        """ListMediaBasicInfos."""
        size = given.whole("MaxResults", 1, 100) or 10
        status = given.chosen("Status", tuple(STATES))
        order = given.chosen("SortBy", ("desc", "asc"))
        source, kind = given.text("Source"), given.text("MediaType")
        if source not in (None, "oss") or kind not in (None, "video"):
            # There are no others.
            return {"MediaInfos": [], "NextToken": "", "MaxResults": size, "TotalCount": 0}
        business = given.text("BusinessType", most=64)
        query = MediaQuery(
            page_size=size,
            page_token=given.text("NextToken", most=2**12) or "",
            states=[STATES[status]] if status else (),
            details={"BusinessType": (business, BUSINESS_TYPE)} if business else {},
            media_id=given.text("MediaId"),
            create_time_from=given.time("StartTime"),
            create_time_until=given.time("EndTime"),
            oldest_first=order == "asc",
        )
        page = await self._cases.media.page(caller, query)
        files = given.switch("IncludeFileBasicInfo")
        buckets = self._cases.buckets
        return {
            "MediaInfos": [
                media_answer(asset, buckets, streams=False, files=files) for asset in page.assets
            ],
            "NextToken": page.next_page_token,
            "MaxResults": size,
            "TotalCount": page.total_size,
        }

    async def batch(self, caller: Caller, given: Parameters) -> Answer:
        """BatchGetMediaInfos; ids that are none of the caller's are listed as ignored."""
        ids = given.listed("MediaIds", _MOST_IDS)
        if not ids:
            raise missing("MediaIds")
        found: list[Answer] = []
        ignored: list[str] = []
        for media_id in ids:
            try:
                found.append(self._answer(await self._cases.media.get(caller, media_id)))
            except AppError as error:
                if error.kind not in (Kind.NOT_FOUND, Kind.INVALID):
                    raise
                ignored.append(media_id)
        return {"MediaInfos": found, "IgnoredList": ignored}

    async def delete(self, caller: Caller, given: Parameters) -> Answer:
        """DeleteMediaInfos, by MediaIds or InputURLs. Those that there are not are listed as
        ignored, those whose files the caller may not delete as forbidden."""
        media = self._cases.media
        ids = given.listed("MediaIds", _MOST_IDS)
        urls = given.listed("InputURLs", _MOST_IDS)
        if not ids and not urls:
            raise missing("MediaIds", "or InputURLs is required")
        named: list[tuple[str, str | None]] = [(media_id, media_id) for media_id in ids]
        for url in urls:
            uris, endpoint = self._spellings(url)
            named.append((url, await media.id_at(caller, *uris, endpoint=endpoint)))
        files = given.switch("DeletePhysicalFiles")
        ignored, forbidden = [], []
        for name, media_id in named:
            if media_id is None:
                ignored.append(name)
                continue
            try:
                await media.delete(caller, media_id, allow_missing=False, delete_file=files)
            except AppError as error:
                told = translated(error)
                if error.kind is Kind.NOT_FOUND or (
                    error.kind is Kind.INVALID and error.violations[0].field == "media_id"
                ):
                    ignored.append(name)
                elif error.metadata.get("permission") == "write" or told.status == 400:
                    forbidden.append(name)
                else:
                    raise
        return {"IgnoredList": ignored, "ForbiddenList": forbidden}

    def _answer(self, asset: Asset) -> Answer:
        return media_answer(asset, self._cases.buckets, streams=True, files=True)

    def _spellings(self, url: str) -> tuple[list[str], str | None]:
        """The URIs under which a location was registered, by this face or by the other, and the
        endpoint beside them."""
        uri, endpoint = url, None
        # It may have led somewhere only when it was registered.
        with contextlib.suppress(AppError):
            source = self._cases.buckets.source(url)
            uri, endpoint = source.uri or url, source.endpoint
        return list(dict.fromkeys((uri, url))), endpoint
