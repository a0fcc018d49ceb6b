"""`reelsplit media register`, `get`, `list` and `delete`."""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from reelsplit.cli.options import Json, Server

if TYPE_CHECKING:
    from reelsplit.types.media import Media

MediaId = Annotated[str, typer.Argument(metavar="MEDIA_ID", help="The media asset.")]


class State(StrEnum):
    """The states of a media asset."""

    PENDING = "pending"
    PROBING = "probing"
    READY = "ready"
    FAILED = "failed"


def register(
    *,
    uri: Annotated[str, typer.Argument(metavar="URI", help="Where the server finds the video.")],
    title: Annotated[
        str | None, typer.Option("--title", help="A title; the name of the file by default.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="A label; more than once."),
    ] = None,
    json: Json = False,
    server: Server,
) -> None:
    """Register a location. Its id can be the input of jobs as media:ID."""
    from reelsplit.cli.connection import connect

    labels = _labels(label)
    with connect(server) as client:
        _show(client.register_media(uri, title=title, labels=labels), json)


def get(
    *,
    media_id: Annotated[
        str, typer.Argument(metavar="MEDIA_ID", help="The media asset, or its location.")
    ],
    json: Json = False,
    server: Server,
) -> None:
    """Show one media asset."""
    from reelsplit.cli.connection import connect

    is_id = len(media_id) == 32 and set(media_id) <= set("0123456789abcdef")
    with connect(server) as client:
        found = client.get_media(media_id) if is_id else client.get_media(uri=media_id)
        _show(found, json)


def list_(
    *,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Only in this state; more than once.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Only with this label; more than once."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many, the newest.")
    ] = None,
    json: Json = False,
    server: Server,
) -> None:
    """List media assets, the newest first. With --json, one a line."""
    from reelsplit.cli import json_lines, tables
    from reelsplit.cli.connection import connect
    from reelsplit.types.media import MediaState

    labels = _labels(label)
    with connect(server) as client:
        found = client.list_media(
            states=[MediaState[item.name] for item in state or ()],
            labels=labels,
            page_size=min(limit or 200, 200),
        )
        assets = itertools.islice(found, limit)
        if json:
            for media in assets:
                json_lines.emit(json_lines.as_json(media))
        else:
            tables.show(tables.media_list(list(assets)))


def delete(
    *,
    media_id: MediaId,
    file: Annotated[
        bool, typer.Option("--file", help="Delete what lies at its location as well.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Be content if there is no such asset.")
    ] = False,
    json: Json = False,
    server: Server,
) -> None:
    """Forget a media asset."""
    from reelsplit.cli import json_lines
    from reelsplit.cli.connection import connect

    with connect(server) as client:
        client.delete_media(media_id, allow_missing=allow_missing, delete_file=file)
    if json:
        json_lines.emit({"deleted": media_id})
    else:
        print("deleted, with its file" if file else "deleted")


def _labels(given: list[str] | None) -> dict[str, str]:
    from reelsplit.cli import times
    from reelsplit.cli.failures import Problems

    problems = Problems()
    pairs = [problems.read("--label", times.parse_label, text) for text in given or ()]
    problems.check()
    return dict(pair for pair in pairs if pair is not None)


def _show(media: Media, json: bool) -> None:
    from reelsplit.cli import json_lines, tables

    if json:
        json_lines.emit(json_lines.as_json(media))
    else:
        tables.show(tables.media(media))
