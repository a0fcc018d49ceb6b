"""Who is calling: bearer tokens and certificates, and nothing that is like one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.keys import AccessKey, KeyRing, NewKey, make_key
from reelsplit_server.access.permissions import ORDINARY, Permission
from reelsplit_server.access.principals import LOCAL, Principals, user_id
from reelsplit_server.access.reach import Reach
from reelsplit_server.access.vault import Vault

TOKENS = {"alice": "a" * 20, "bob": "b" * 20}
VAULT = Vault(b"v" * 32)


class _Stored:
    def __init__(self, *keys: AccessKey) -> None:
        self.keys = list(keys)

    async def all(self) -> list[AccessKey]:
        return self.keys


def ring(*keys: AccessKey) -> KeyRing:
    made = KeyRing(_Stored(*keys), VAULT)
    load = made.load()
    with pytest.raises(StopIteration):
        load.send(None)
    return made


def key(principal: str = "carol", certificate: str | None = None) -> NewKey:
    return make_key(
        VAULT,
        principal=principal,
        permissions=frozenset({Permission.READ}),
        reach=Reach(read=("s3://films",)),
        create_time=datetime(2026, 1, 1, tzinfo=UTC),
        certificate=certificate,
    )


def off(made: NewKey) -> AccessKey:
    return replace(made.key, active=False)


def test_without_credentials_everybody_is_the_local_principal() -> None:
    principals = Principals({}, ring())
    assert not principals.required
    local = Caller(principal=LOCAL, permissions=ORDINARY)
    assert principals.identify(None) == local
    assert principals.identify("Bearer whatever") == local


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_names_its_principal(scheme: str) -> None:
    principals = Principals(TOKENS, ring())
    assert principals.required
    assert principals.identify(f"{scheme} {'a' * 20}") == Caller(principal="alice")
    assert principals.identify(f"{scheme}  {'b' * 20} ") == Caller(principal="bob")


def test_tokens_of_the_settings_do_not_see_others() -> None:
    found = Principals(TOKENS, ring()).identify("Bearer " + "a" * 20)
    assert found is not None
    assert found.sees == "alice"
    assert not found.may(Permission.ADMIN)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer " + "c" * 20,
        "Bearer " + "a" * 19,
        "Bearer " + "a" * 21,
        "Bearer " + "A" * 20,
        "Basic " + "a" * 20,
        "a" * 20,
        "Bearer alice",
        "Bearer ä",
    ],
)
def test_anything_else_names_nobody(given: str | None) -> None:
    made = key()
    assert Principals(TOKENS, ring(made.key)).identify(given) is None
    assert Principals({}, ring(made.key)).identify(given) is None


def test_the_parts_of_a_key_are_no_token() -> None:
    made = key()
    principals = Principals({}, ring(made.key))
    for part in (made.secret, made.key.key_id, made.key.token_digest.hex()):  # type: ignore[union-attr]
        assert principals.identify(f"Bearer {part}") is None


def test_a_key_brings_its_rights() -> None:
    made = key()
    found = Principals(TOKENS, ring(made.key)).identify(f"Bearer {made.token}")
    assert found == made.key.caller
    assert found is not None
    assert (found.principal, found.key_id) == ("carol", made.key.key_id)
    assert found.permissions == {Permission.READ}
    assert found.reach.read == ("s3://films",)


def test_a_disabled_key_names_nobody_and_leaves_the_door_shut() -> None:
    made = key()
    principals = Principals({}, ring(off(made)))
    assert principals.required
    assert principals.identify(f"Bearer {made.token}") is None
    assert principals.identify(None) is None


def test_a_certificate_stands_for_a_key() -> None:
    made, other = key(certificate="client.example.com"), key("dave", certificate="dave")
    principals = Principals({}, ring(made.key, other.key))
    names = ["client.example.com", "127.0.0.1", "common name"]
    assert principals.identify(None, names) == made.key.caller
    assert principals.identify(None, ["nobody"]) is None
    assert principals.identify(None, []) is None
    # Nothing says which of two is meant.
    assert principals.identify(None, [*names, "dave"]) is None
    # Who shows a token is held to it.
    assert principals.identify("Bearer wrong", names) is None
    found = principals.identify(f"Bearer {other.token}", names)
    assert found is not None
    assert found.principal == "dave"


def test_the_certificate_of_a_disabled_key_names_nobody() -> None:
    made = key(certificate="client")
    assert Principals({}, ring(off(made))).identify(None, ["client"]) is None


def test_nothing_secret_is_shown() -> None:
    made = key()
    principals = Principals(TOKENS, ring(made.key))
    kept = repr(vars(principals)) + repr(made) + repr(made.key) + repr(made.key.caller)
    assert "a" * 20 not in kept
    assert made.secret not in kept
    assert made.token not in kept


def test_a_principals_number_fits_a_double_and_stays() -> None:
    assert user_id("local") == user_id("local")
    numbers = {user_id(f"team {n}") for n in range(1000)}
    assert len(numbers) == 1000
    assert all(10**15 <= number < 2**53 for number in numbers)
    # Kept by those who were told it, so it must never change.
    assert user_id("local") == 1_048_942_872_260_880
