"""What a caller may do: asked by every use case, whatever face the call came through."""

from __future__ import annotations

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.errors import AppError, Kind

_VERBS = {
    Permission.SUBMIT: "submit jobs",
    Permission.READ: "see jobs and media",
    Permission.CANCEL: "cancel jobs",
    Permission.DELETE: "delete jobs",
    Permission.MEDIA: "change media assets",
    Permission.ADMIN: "act for others",
}


def require(caller: Caller, permission: Permission) -> None:
    """Raise PERMISSION_DENIED unless a caller has a permission."""
    if not caller.may(permission):
        raise AppError(
            Kind.DENIED,
            "PERMISSION_DENIED",
            f"These credentials may not {_VERBS[permission]}; take a key that has the permission "
            f"{permission}.",
            metadata={"permission": permission.value},
        )
