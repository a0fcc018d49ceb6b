"""Inputs that are named by the id of a media asset."""

from __future__ import annotations

import re
from dataclasses import replace

from reelsplit.types.spec import Input, JobSpec
from reelsplit_server.access.callers import Caller
from reelsplit_server.app.errors import AppError, Kind
from reelsplit_server.assets.records import NoSuchMediaError
from reelsplit_server.assets.store import MediaStore

MEDIA_ID = re.compile(r"[0-9a-f]{32}")


async def located(media: MediaStore, caller: Caller, spec: JobSpec) -> tuple[JobSpec, str | None]:
    """A spec whose input is a location, and the id that it was named by, if it was. What is wrong
    in itself stays as it is, for the check of the spec to say. Raises MEDIA_NOT_FOUND."""
    source = spec.input
    if source is None or source.media_id is None or source.endpoint is not None:
        return spec, None
    if not MEDIA_ID.fullmatch(source.media_id):
        return spec, None
    try:
        found = await media.get(caller.sees, source.media_id)
    except NoSuchMediaError:
        raise media_not_found(source.media_id) from None
    return (
        replace(spec, input=Input(uri=found.media.uri, endpoint=found.endpoint)),
        source.media_id,
    )


def media_not_found(media_id: str) -> AppError:
    """No asset of the caller has this id."""
    return AppError(
        Kind.NOT_FOUND,
        "MEDIA_NOT_FOUND",
        f"There is no media asset {media_id} of this caller.",
        metadata={"media_id": media_id},
    )
