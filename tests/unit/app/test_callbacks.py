"""The account-wide address: who sets it, who sees its secret, and what it may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.outbound import Outbound
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.callbacks import Callbacks
from reelsplit_server.app.errors import AppError, Kind
from tests.unit.notify.telling import Telling, telling

URL = "https://hooks.example.com/done?token=t"


@pytest.fixture
async def tell(tmp_path: Path) -> AsyncIterator[Telling]:
    async with telling(tmp_path) as made:
        yield made


@pytest.fixture
def callbacks(tell: Telling) -> Callbacks:
    return Callbacks(tell.accounts, Outbound(hosts=["hooks.example.com", "10.*"]))


def caller(*permissions: Permission, principal: str = "me") -> Caller:
    return Caller(principal=principal, permissions=frozenset(permissions))


BOTH = caller(Permission.SUBMIT, Permission.READ)


async def test_an_address_is_set_seen_exchanged_and_cleared(callbacks: Callbacks) -> None:
    assert await callbacks.get(BOTH) is None
    await callbacks.set(BOTH, url=URL, secret="TestKey001", event_types=["A", "B"])
    found = await callbacks.get(BOTH)
    assert found is not None
    assert (found.url, found.secret, found.event_types) == (URL, "TestKey001", ("A", "B"))
    assert "TestKey001" not in repr(found)
    assert await callbacks.get(caller(Permission.READ, principal="you")) is None
    await callbacks.set(BOTH, url=URL)
    found = await callbacks.get(BOTH)
    assert found is not None
    assert (found.secret, found.event_types) == (None, ())
    await callbacks.set(BOTH, url="")
    assert await callbacks.get(BOTH) is None


async def test_who_may_only_read_sees_no_secret(callbacks: Callbacks) -> None:
    await callbacks.set(BOTH, url=URL, secret="TestKey001")
    found = await callbacks.get(caller(Permission.READ))
    assert found is not None
    assert (found.url, found.secret) == (URL, None)


@pytest.mark.parametrize("permission", Permission)
async def test_each_needs_its_permission_and_no_other(
    callbacks: Callbacks, permission: Permission
) -> None:
    only = caller(permission)
    without = caller(*(one for one in Permission if one is not permission))
    for needed, call in (
        (Permission.SUBMIT, lambda who: callbacks.set(who, url=URL)),
        (Permission.READ, lambda who: callbacks.get(who)),
    ):
        for who, denied in ((only, permission is not needed), (without, permission is needed)):
            if not denied:
                await call(who)
                continue
            with pytest.raises(AppError) as caught:
                await call(who)
            assert caught.value.kind is Kind.DENIED
            assert caught.value.metadata == {"permission": needed.value}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "https://other.example.com/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "hooks.example.com"}, "url"),
        ({"secret": ""}, "secret"),
        ({"secret": "a b"}, "secret"),
        ({"secret": "x" * 129}, "secret"),
        ({"event_types": ["a,b"]}, "event_types"),
        ({"event_types": [""]}, "event_types"),
        ({"event_types": ["x"] * 101}, "event_types"),
    ],
)
async def test_what_is_wrong_is_named(
    callbacks: Callbacks, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(AppError) as caught:
        await callbacks.set(BOTH, **{"url": URL, **values})
    assert [item.field for item in caught.value.violations] == [field]
    assert await callbacks.get(BOTH) is None
