"""Access keys: made, kept, found again; nonces; and who may change them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reelsplit.cli.main import main
from reelsplit_server.access.key_store import KeyExistsError, KeyTable
from reelsplit_server.access.keys import KeyRing, make_key
from reelsplit_server.access.nonces import Nonces, NoncesFullError, NonceUsedError
from reelsplit_server.access.permissions import ORDINARY, Permission, read_permissions
from reelsplit_server.access.reach import EVERYTHING, Reach, read_entry
from reelsplit_server.access.vault import Vault, VaultError
from reelsplit_server.jobs.database import StoreUnavailableError
from tests.unit.jobs.keeping import Kept, kept

VAULT = Vault(b"v" * 32)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(tmp_path) as made:
        yield made


def _make(**values: Any) -> Any:
    given = {"principal": "team", "permissions": ORDINARY, "reach": EVERYTHING, "create_time": NOW}
    return make_key(VAULT, **{**given, **values})


async def test_keys_are_kept_as_they_were_made(keep: Kept) -> None:
    table = KeyTable(keep.database)
    reach = Reach(read=("s3://films", "/v"), write=())
    made = [
        _make(),
        _make(key_id="testAccessKeyId", secret="testAccessKeySecret", reach=reach),
        _make(permissions=frozenset({Permission.ADMIN}), certificate="spiffe://x/y"),
    ]
    versions = {await table.version()}
    for one in made:
        await table.add(one.key)
        versions.add(await table.version())
    assert len(versions) == 4
    assert sorted(await table.all(), key=lambda key: key.key_id) == sorted(
        (one.key for one in made), key=lambda key: key.key_id
    )
    ring = KeyRing(table, VAULT)
    await ring.load()
    for one in made:
        found = ring.find(one.key.key_id)
        assert found is not None
        assert ring.secret(found) == one.secret
        assert ring.by_token(one.token) == found
    assert ring.find("nobody") is None
    assert ring.has_active


async def test_a_key_is_made_once(keep: Kept) -> None:
    table = KeyTable(keep.database)
    await table.add(_make(key_id="mine", certificate="c").key)
    for again in ({"key_id": "mine"}, {"certificate": "c"}):
        with pytest.raises(KeyExistsError):
            await table.add(_make(**again).key)
    assert len(await table.all()) == 1


async def test_a_certificate_passes_from_a_disabled_key_to_a_new_one(keep: Kept) -> None:
    table = KeyTable(keep.database)
    old, new = _make(certificate="client"), _make(certificate="client", principal="other")
    await table.add(old.key)
    await table.disable(old.key.key_id)
    await table.add(new.key)
    ring = KeyRing(table, VAULT)
    await ring.load()
    found = ring.by_certificate(["client"])
    assert found is not None
    assert found.principal == "other"
    kept = ring.find(old.key.key_id)
    assert kept is not None
    assert (kept.active, kept.certificate) == (False, None)


async def test_a_disabled_key_is_found_by_its_id_alone(keep: Kept) -> None:
    table = KeyTable(keep.database)
    made = _make()
    await table.add(made.key)
    assert await table.disable(made.key.key_id)
    assert not await table.disable("nobody")
    ring = KeyRing(table, VAULT)
    await ring.load()
    found = ring.find(made.key.key_id)
    assert found is not None
    assert not found.active
    assert ring.by_token(made.token) is None
    assert not ring.has_active
    assert not ring.empty
    # What its jobs have yet to tell is still signed.
    assert ring.secret(found) == made.secret


async def test_a_secret_that_is_moved_to_another_key_does_not_open(keep: Kept) -> None:
    table = KeyTable(keep.database)
    await table.add(_make(key_id="first").key)
    await table.add(_make(key_id="second").key)
    await keep.force(
        "UPDATE access_keys SET secret = (SELECT secret FROM access_keys WHERE key_id = 'first')"
    )
    ring = KeyRing(table, VAULT)
    await ring.load()
    found = ring.find("second")
    assert found is not None
    with pytest.raises(VaultError):
        ring.secret(found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"principal": ""},
        {"principal": "x" * 129},
        {"principal": "a\nb"},
        {"key_id": "a b"},
        {"key_id": "abc"},
        {"key_id": "x" * 65},
        {"secret": "short"},
        {"secret": "with space in it"},
        {"certificate": ""},
        {"permissions": frozenset()},
    ],
)
def test_what_is_no_key_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+") as caught:
        _make(**wrong)
    assert "with space" not in str(caught.value)


def test_permissions_have_names() -> None:
    assert read_permissions(["submit", "admin"]) == {Permission.SUBMIT, Permission.ADMIN}
    with pytest.raises(ValueError, match="'root' is no permission"):
        read_permissions(["root"])


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("/v/a/", "/v/a"),
        ("/", "/"),
        ("s3://films", "s3://films"),
        ("s3://films/", "s3://films"),
        ("gs://team-*", "gs://team-*"),
        ("main://films", "main://films"),
        ("https://cdn.example.com", "https://cdn.example.com"),
        ("https://*.example.com:8443", "https://*.example.com:8443"),
    ],
)
def test_places_are_read(text: str, entry: str) -> None:
    assert read_entry(text) == entry


@pytest.mark.parametrize("text", ["films", "s3:films", "/v/../w", "s3://films/key", "v/a", "://x"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        read_entry(text)


def test_a_folder_that_is_given_through_a_link_counts_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    reach = Reach(read=(str(tmp_path / "link"),))
    for name, allowed in (("link", True), ("real", True), ("other", False)):
        assert reach.folder("read", str(tmp_path / name / "film.mp4")) is allowed


# --- Nonces ----------------------------------------------------------------------------------


async def test_a_nonce_is_taken_once_for_each_key(keep: Kept) -> None:
    nonces = Nonces(keep.database)
    await nonces.claim("a", "n", now=NOW, expires=LATER)
    with pytest.raises(NonceUsedError):
        nonces.claim("a", "n", now=NOW, expires=LATER)
    await nonces.claim("b", "n", now=NOW, expires=LATER)
    await nonces.claim("a", "m", now=NOW, expires=LATER)
    # Behind its time the date of the request refuses it.
    await nonces.claim("a", "n", now=LATER, expires=LATER + timedelta(minutes=15))


async def test_nonces_outlive_a_restart(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        nonces = Nonces(keep.database)
        await asyncio.gather(
            *(nonces.claim("a", str(n), now=NOW, expires=LATER) for n in range(100)),
            nonces.claim("a", "brief", now=NOW, expires=NOW + timedelta(seconds=1)),
        )
    async with kept(tmp_path) as keep:
        nonces = Nonces(keep.database)
        await nonces.load(NOW + timedelta(seconds=2))
        for number in range(100):
            with pytest.raises(NonceUsedError):
                nonces.claim("a", str(number), now=NOW, expires=LATER)
        await nonces.claim("a", "brief", now=NOW + timedelta(seconds=2), expires=LATER)


async def test_many_nonces_share_a_write(keep: Kept) -> None:
    nonces, writes = Nonces(keep.database), 0
    write = keep.database.write

    async def counted(function: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(function)

    keep.database.write = counted  # type: ignore[method-assign, assignment]
    await asyncio.gather(*(nonces.claim("a", str(n), now=NOW, expires=LATER) for n in range(500)))
    assert 1 <= writes <= 5
    found = await keep.database.read(
        lambda c: c.exec_driver_sql("SELECT count(*) FROM nonces").scalar()
    )
    assert found == 500


async def test_one_that_goes_away_takes_no_others_nonce_back(keep: Kept) -> None:
    nonces = Nonces(keep.database)
    gone, stays = (nonces.claim("a", n, now=NOW, expires=LATER) for n in "xy")
    gone.cancel()
    await stays
    with pytest.raises(NonceUsedError):
        nonces.claim("a", "x", now=NOW, expires=LATER)


async def test_nonces_are_bounded_for_each_key_and_forgotten(keep: Kept) -> None:
    nonces = Nonces(keep.database, most=3)
    for number in range(3):
        await nonces.claim("a", str(number), now=NOW, expires=LATER)
    with pytest.raises(NoncesFullError):
        nonces.claim("a", "3", now=NOW, expires=LATER)
    await nonces.claim("b", "3", now=NOW, expires=LATER)
    await nonces.claim("a", "3", now=LATER, expires=LATER + timedelta(minutes=15))
    await nonces.sweep(LATER)
    left = await keep.database.read(
        lambda c: c.exec_driver_sql("SELECT count(*) FROM nonces").scalar()
    )
    assert left == 1


async def test_a_nonce_that_cannot_be_kept_is_told(keep: Kept) -> None:
    nonces = Nonces(keep.database)
    await keep.force("ALTER TABLE nonces RENAME TO gone")
    with pytest.raises(StoreUnavailableError):
        await nonces.claim("a", "n", now=NOW, expires=LATER)
    await keep.force("ALTER TABLE gone RENAME TO nonces")
    await nonces.claim("a", "m", now=NOW, expires=LATER)


# --- The command -----------------------------------------------------------------------------


@pytest.fixture
def keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    for name in list(os.environ):
        if name.startswith("REELSPLIT_"):
            monkeypatch.delenv(name)

    def run(action: str, *arguments: str) -> tuple[int, str, str]:
        code = main(["keys", action, "--data-dir", str(tmp_path / "data"), *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_key_is_made_listed_and_disabled(keys: Any, tmp_path: Path) -> None:
    code, out, err = keys(
        "create",
        *("--principal", "team", "--permission", "submit", "--permission", "read"),
        *("--read", "s3://films", "--write", "/out", "--write", "s3://cuts", "--json"),
    )
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["permissions"] == ["submit", "read"]
    assert (made["read"], made["write"]) == (["s3://films"], ["/out", "s3://cuts"])
    assert len(made["secret"]) >= 40
    assert len(made["token"]) >= 40
    code, out, _ = keys("list")
    assert (code, out.count("\n")) == (0, 1)
    assert made["id"] in out
    assert made["secret"] not in out
    assert made["token"] not in out
    assert keys("disable", made["id"])[0] == 0
    (line,) = keys("list", "--json")[1].splitlines()
    assert json.loads(line)["state"] == "disabled"
    code, _, err = keys("disable", "nobody")
    assert (code, err) == (1, "reelsplit keys: there is no key nobody\n")


def test_a_key_of_elsewhere_is_taken_over(keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("testAccessKeySecret\n"))
    given = ["--principal", "team", "--id", "testAccessKeyId", "--secret-stdin"]
    code, out, err = keys("create", *given)
    assert code == 0
    assert "testAccessKeySecret" in out
    assert "not shown again" in err
    monkeypatch.setattr("sys.stdin", io.StringIO("testAccessKeySecret\n"))
    code, _, err = keys("create", *given)
    assert code == 1
    assert "already" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--principal", ""], "principal"),
        (["--principal", "x", "--permission", "root"], "--permission"),
        (["--principal", "x", "--read", "films"], "'films'"),
        (["--principal", "x", "--id", "a b"], "id"),
        ([], "--principal"),
    ],
)
def test_wrong_usage_is_told_in_a_line(keys: Any, arguments: list[str], said: str) -> None:
    code, out, err = keys("create", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_another_users_folder_is_left_alone(
    keys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    code, _, err = keys("list")
    assert code == 1
    assert "belongs to user" in err
    assert not (tmp_path / "data" / "reelsplit.db").exists()
