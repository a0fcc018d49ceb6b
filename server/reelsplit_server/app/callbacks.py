"""The use cases on callbacks: where all jobs of a caller are told to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.outbound import Outbound
from reelsplit_server.access.permissions import Permission
from reelsplit_server.access.vault import VaultError
from reelsplit_server.app.addresses import check_address
from reelsplit_server.app.authorization import require
from reelsplit_server.app.errors import AppError, Kind, Violation, invalid, translated
from reelsplit_server.notify.accounts import Accounts, EventCallback

_SECRET = re.compile(r"[!-~]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_NAMES = 100


class Callbacks:
    """The account-wide addresses."""

    def __init__(self, accounts: Accounts, guard: Outbound) -> None:
        self._accounts = accounts
        self._guard = guard

    async def set(
        self,
        caller: Caller,
        *,
        url: str,
        secret: str | None = None,
        event_types: Sequence[str] = (),
    ) -> None:
        """Tell all jobs of the caller's principal to an address from now on; an empty one tells
        none. Raises INVALID_FIELD for ``url``, ``secret`` or ``event_types``."""
        require(caller, Permission.SUBMIT)
        wrong: list[Violation] = []
        if url and (why := check_address(url, self._guard)):
            wrong.append(Violation(field="url", description=why))
        if secret is not None and not _SECRET.fullmatch(secret):
            description = "takes 1 to 128 printable ASCII characters without spaces"
            wrong.append(Violation(field="secret", description=description))
        if len(event_types) > _MOST_NAMES or not all(map(_NAME.fullmatch, event_types)):
            description = f"takes up to {_MOST_NAMES} names of events"
            wrong.append(Violation(field="event_types", description=description))
        if wrong:
            raise invalid(wrong)
        callback = EventCallback(url=url, secret=secret, event_types=tuple(event_types))
        with translated():
            await self._accounts.set(caller.principal, callback if url else None)

    async def get(self, caller: Caller) -> EventCallback | None:
        """The address that is set; its secret only for callers that could set another."""
        require(caller, Permission.READ)
        with translated():
            try:
                found = await self._accounts.get(caller.principal)
            except VaultError as error:
                raise AppError(Kind.INTERNAL, "INTERNAL", str(error)) from error
        if found is not None and not caller.may(Permission.SUBMIT):
            found = replace(found, secret=None)
        return found
