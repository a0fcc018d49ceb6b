"""What the operator does on a data folder, whether a server runs on it or not: access keys, and
callbacks that did not arrive."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from reelsplit_server.access.credentials import vault_of
from reelsplit_server.access.key_file import AllKeys, KeyFile, KeyFileError
from reelsplit_server.access.key_store import KeyExistsError, KeyTable
from reelsplit_server.access.keys import AccessKey, make_key
from reelsplit_server.access.permissions import ORDINARY, Permission, read_permissions
from reelsplit_server.access.reach import Reach, read_entry
from reelsplit_server.access.vault import Vault, VaultError
from reelsplit_server.data_folder import DATABASE, StartError, held, make
from reelsplit_server.jobs.database import Database, StoreUnavailableError, StoreVersionError
from reelsplit_server.main import read_settings, readable
from reelsplit_server.notify.entries import Entry, Outbox
from reelsplit_server.settings import Settings

_PAGE = 1000


class OperatorError(Exception):
    """What was asked for cannot be done; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; answers the exit code: 1 where it cannot be done, 2 on wrong usage."""
    try:
        given = _parser().parse_args(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 2
    folder = () if given.data_dir is None else ("--data-dir", given.data_dir)
    try:
        settings = read_settings(folder)
    except ValueError as error:
        print(f"reelsplit {given.area}: {readable(error)}", file=sys.stderr)
        return 2
    run: Callable[[Settings, argparse.Namespace], Awaitable[None]] = given.run
    try:
        asyncio.run(run(settings, given))  # type: ignore[arg-type]
    except (
        OperatorError,
        StartError,
        VaultError,
        KeyFileError,
        StoreUnavailableError,
        StoreVersionError,
    ) as error:
        print(f"reelsplit {given.area}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"reelsplit {given.area}: {error}", file=sys.stderr)
        return 2
    return 0


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Database, Vault]]:
    """The database and the vault of a data folder, beside a server or without one."""
    folder = settings.data_dir
    make(folder)
    _check_owner(folder)
    with held(folder) as alone:
        database = Database(folder / DATABASE, lambda _: None, lambda: datetime.now(UTC))
        try:
            await asyncio.to_thread(lambda: database.open(shared=not alone))
            yield database, await vault_of(database, folder, settings.secret_key_file)
        finally:
            await database.close()


def _check_owner(folder: Path) -> None:
    """Files that are made here must be the server's."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise OperatorError(f"the data folder {folder} belongs to user {owner}; run as that")


# --- Keys ------------------------------------------------------------------------------------


async def _create(settings: Settings, given: argparse.Namespace) -> None:
    secret = sys.stdin.readline().strip() if given.secret_stdin else None
    names = given.permission or [permission.value for permission in ORDINARY]
    async with opened(settings) as (database, vault):
        made = make_key(
            vault,
            principal=given.principal,
            permissions=read_permissions(names),
            reach=Reach(read=_entries(given.read), write=_entries(given.write)),
            create_time=datetime.now(UTC),
            key_id=given.id,
            secret=secret,
            certificate=given.certificate,
        )
        try:
            await KeyTable(database).add(made.key)
        except KeyExistsError:
            raise OperatorError(
                "there is a key with this id, or for this certificate, already"
            ) from None
    shown = _facts(made.key) | {"secret": made.secret, "token": made.token}
    if given.json:
        print(json.dumps(shown))
        return
    for name, value in shown.items():
        print(f"{name:<12} {_plain(value)}")
    print("The secret and the token are not shown again.", file=sys.stderr)


async def _list(settings: Settings, given: argparse.Namespace) -> None:
    async with opened(settings) as (database, vault):
        table = KeyTable(database)
        kept = {key.key_id for key in await table.all()}
        keys = await AllKeys(table, await _file(settings, vault)).all()
    for key in keys:
        facts = _facts(key) | {"kept": "database" if key.key_id in kept else "file"}
        if given.json:
            print(json.dumps(facts))
        else:
            print("  ".join(f"{name}={_plain(value)}" for name, value in facts.items()))


async def _disable(settings: Settings, given: argparse.Namespace) -> None:
    async with opened(settings) as (database, vault):
        if not await KeyTable(database).disable(given.key_id):
            file = await _file(settings, vault)
            if file is not None and given.key_id in {key.key_id for key in file.keys}:
                raise OperatorError(
                    f"the key {given.key_id} is in {settings.keys_file}: write disabled = true "
                    "below it there"
                )
            raise OperatorError(f"there is no key {given.key_id}")
    print("disabled")


async def _file(settings: Settings, vault: Vault) -> KeyFile | None:
    if settings.keys_file is None:
        return None
    try:
        return await asyncio.to_thread(KeyFile, settings.keys_file, vault)
    except KeyFileError as error:
        raise KeyFileError(f"the keys file {settings.keys_file}: {error}") from error


def _facts(key: AccessKey) -> dict[str, object]:
    """What is shown of a key; never its secret."""
    return {
        "id": key.key_id,
        "principal": key.principal,
        "state": "active" if key.active else "disabled",
        "permissions": [p.value for p in Permission if p in key.permissions],
        "read": "all" if key.reach.read is None else list(key.reach.read),
        "write": "all" if key.reach.write is None else list(key.reach.write),
        "certificate": key.certificate,
        "created": key.create_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _plain(value: object) -> str:
    text = ",".join(value) if isinstance(value, list) else str(value)
    text = "-" if value in (None, []) else text
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _entries(texts: list[str] | None) -> tuple[str, ...] | None:
    return None if texts is None else tuple(read_entry(text) for text in texts if text)


# --- Callbacks -------------------------------------------------------------------------------


async def _callbacks(settings: Settings, given: argparse.Namespace) -> None:
    async with opened(settings) as (database, _):
        outbox, after = Outbox(database), 0
        while page := await outbox.listed(failed=not given.waiting, after=after, size=_PAGE):
            for entry in page:
                facts = _told(entry)
                text = "  ".join(_plain(value) for value in facts.values())
                print(json.dumps(facts) if given.json else text)
            after = page[-1].position


def _told(entry: Entry) -> dict[str, object]:
    # The address without its query, which may hold a secret of the receiver's.
    return {
        "job": entry.event.job_id,
        "sequence": entry.event.sequence,
        "principal": entry.principal,
        "url": entry.url.partition("?")[0],
        "tries": entry.tries,
        "happened": entry.create_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "error": entry.error,
    }


# --- Usage -----------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir", metavar="PATH", help="the server's data folder; by default as for serve"
    )
    common.add_argument("--json", action="store_true", help="print JSON, one object a line")
    parser = argparse.ArgumentParser(prog="reelsplit")
    areas = parser.add_subparsers(dest="area", required=True)
    keys = areas.add_parser("keys", help="access keys").add_subparsers(required=True)

    create = keys.add_parser(
        "create", parents=[common], help="make a key and show its secret and token, this once"
    )
    create.set_defaults(run=_create)
    create.add_argument(
        "--principal", required=True, metavar="NAME", help="who its jobs and media belong to"
    )
    create.add_argument(
        "--permission",
        action="append",
        choices=[permission.value for permission in Permission],
        help="what it allows; may be repeated; all but admin by default",
    )
    create.add_argument(
        "--read",
        action="append",
        metavar="PLACE",
        help="a folder, bucket or host that it may read from, such as /videos, s3://films or "
        "https://cdn.example.com; may be repeated; '' for none; all of the server's by default",
    )
    create.add_argument(
        "--write",
        action="append",
        metavar="PLACE",
        help="a folder or bucket that it may write to; may be repeated",
    )
    create.add_argument(
        "--certificate",
        metavar="NAME",
        help="the subject alternative name, or common name, of the client certificates that "
        "stand for it",
    )
    create.add_argument("--id", help="the id, where it was made elsewhere")
    create.add_argument(
        "--secret-stdin",
        action="store_true",
        help="read the signing secret from standard input, where it was made elsewhere",
    )

    listing = keys.add_parser("list", parents=[common], help="list keys, without their secrets")
    listing.set_defaults(run=_list)
    disable = keys.add_parser(
        "disable", parents=[common], help="let a key prove nothing any more, within a second"
    )
    disable.set_defaults(run=_disable)
    disable.add_argument("key_id", metavar="ID")

    told = areas.add_parser("callbacks", help="callbacks").add_subparsers(required=True)
    failed = told.add_parser(
        "list", parents=[common], help="list callbacks that were given up in the last 30 days"
    )
    failed.set_defaults(run=_callbacks)
    failed.add_argument("--waiting", action="store_true", help="those that are still tried")
    return parser
