"""MediaService over gRPC: reads requests, calls the use case, writes answers."""

from __future__ import annotations

from typing import Any

import structlog

from reelsplit.types.media import Media, MediaState
from reelsplit.v1 import media_pb2
from reelsplit.v1 import media_service_pb2 as pb
from reelsplit.v1.media_service_pb2_grpc import MediaServiceServicer
from reelsplit_server.app.errors import Violation
from reelsplit_server.app.media import MediaLibrary, MediaQuery
from reelsplit_server.rpc.interceptors import caller
from reelsplit_server.rpc.messages import message, states

log = structlog.get_logger(__name__)


class MediaServicer(MediaServiceServicer):
    """Answers MediaService."""

    def __init__(self, media: MediaLibrary) -> None:
        self._media = media

    async def RegisterMedia(
        self, request: pb.RegisterMediaRequest, context: Any
    ) -> pb.RegisterMediaResponse:
        wanted = Media(
            uri=request.uri,
            title=request.title,
            labels=dict(request.labels),
            user_data=request.user_data,
        )
        asset = await self._media.register(caller(), request.client_token, wanted)
        log.info("media_registered", media_id=asset.media.media_id, principal=caller().principal)
        return pb.RegisterMediaResponse(media=message(asset.media, media_pb2.Media))

    async def GetMedia(self, request: pb.GetMediaRequest, context: Any) -> pb.GetMediaResponse:
        if request.WhichOneof("key") == "media_id":
            asset = await self._media.get(caller(), request.media_id)
        else:
            asset = await self._media.at(caller(), request.uri)
        return pb.GetMediaResponse(media=message(asset.media, media_pb2.Media))

    async def ListMedia(self, request: pb.ListMediaRequest, context: Any) -> pb.ListMediaResponse:
        violations: list[Violation] = []
        query = MediaQuery(
            page_size=request.page_size,
            page_token=request.page_token,
            states=states(MediaState, media_pb2.MediaState.DESCRIPTOR, request.states, violations),
            labels=dict(request.labels),
        )
        page = await self._media.page(caller(), query, violations)
        return pb.ListMediaResponse(
            media=[message(asset.media, media_pb2.Media) for asset in page.assets],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )

    async def DeleteMedia(
        self, request: pb.DeleteMediaRequest, context: Any
    ) -> pb.DeleteMediaResponse:
        await self._media.delete(
            caller(),
            request.media_id,
            allow_missing=request.allow_missing,
            delete_file=request.delete_file,
        )
        return pb.DeleteMediaResponse()
