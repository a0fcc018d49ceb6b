"""MediaService over gRPC: this version keeps no assets, and says so by name."""

from __future__ import annotations

from typing import Any, NoReturn

from reelsplit.v1 import media_service_pb2 as pb
from reelsplit.v1.media_service_pb2_grpc import MediaServiceServicer
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.authorization import require
from reelsplit_server.app.errors import AppError, Kind
from reelsplit_server.rpc.interceptors import caller


class MediaServicer(MediaServiceServicer):
    """Refuses every call of MediaService with NOT_SUPPORTED."""

    async def RegisterMedia(self, request: pb.RegisterMediaRequest, context: Any) -> NoReturn:
        _refuse(Permission.MEDIA)

    async def GetMedia(self, request: pb.GetMediaRequest, context: Any) -> NoReturn:
        _refuse(Permission.READ)

    async def ListMedia(self, request: pb.ListMediaRequest, context: Any) -> NoReturn:
        _refuse(Permission.READ)

    async def DeleteMedia(self, request: pb.DeleteMediaRequest, context: Any) -> NoReturn:
        _refuse(Permission.MEDIA)


def _refuse(permission: Permission) -> NoReturn:
    require(caller(), permission)
    raise AppError(
        Kind.UNSUPPORTED,
        "NOT_SUPPORTED",
        "This version keeps no media assets; give jobs the location of the video.",
        metadata={"feature": "media"},
    )
