"""All commands together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from reelsplit.cli import jobs, media, operator, serve, shots, split, submit
from reelsplit.cli.guard import guarded
from reelsplit.cli.options import with_groups

app = typer.Typer(
    name="reelsplit",
    help="Split long videos into segments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from reelsplit.channel import package_version

        print(f"reelsplit {package_version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Tell the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    pass


def _add(
    name: str, function: Callable[..., None], panel: str | None, group: typer.Typer = app
) -> None:
    # Typer would keep the line breaks of the docstring.
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    group.command(name, help=text, rich_help_panel=panel)(guarded(with_groups(function)))


_HERE, _THERE = "On this machine, or with --server", "On a running server"
_PASS_ON: dict[Any, Any] = {"ignore_unknown_options": True, "allow_extra_args": True}

_add("split", split.split, _HERE)
_add("shots", shots.shots, _HERE)
app.command("serve", rich_help_panel=_HERE, add_help_option=False, context_settings=_PASS_ON)(
    guarded(serve.serve)
)
_OPERATOR = "Of the operator, on the server's data folder"
for _name, _function in {"keys": operator.keys, "callbacks": operator.callbacks}.items():
    app.command(_name, rich_help_panel=_OPERATOR, add_help_option=False, context_settings=_PASS_ON)(
        guarded(_function)
    )
_REMOTE: dict[str, Callable[..., None]] = {
    "submit": submit.submit,
    "get": jobs.get,
    "list": jobs.list_,
    "watch": jobs.watch,
    "cancel": jobs.cancel,
    "delete": jobs.delete,
    "retry": jobs.retry,
    "segments": jobs.segments,
}
for _name, _function in _REMOTE.items():
    _add(_name, _function, _THERE)

_media = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(
    _media, name="media", help="Register, find and delete media assets.", rich_help_panel=_THERE
)
_ASSETS: dict[str, Callable[..., None]] = {
    "register": media.register,
    "get": media.get,
    "list": media.list_,
    "delete": media.delete,
}
for _name, _function in _ASSETS.items():
    _add(_name, _function, None, _media)
