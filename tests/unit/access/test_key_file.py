"""Keys that the operator writes into a file."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from structlog.testing import capture_logs

from reelsplit.cli.main import main
from reelsplit_server.access.key_file import AllKeys, KeyFile, KeyFileError
from reelsplit_server.access.key_store import KeyTable
from reelsplit_server.access.keys import KeyRing, make_key
from reelsplit_server.access.permissions import ORDINARY, Permission
from reelsplit_server.access.principals import Principals
from reelsplit_server.access.reach import EVERYTHING, Reach
from reelsplit_server.access.vault import Vault
from tests.unit.jobs.keeping import Kept, kept

VAULT = Vault(b"v" * 32)
SECRET, TOKEN = "a-secret-for-signing", "a-bearer-token-of-some-length"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
WHOLE = f"""
[[keys]]
id = "team-a.1"
principal = "team-a"
secret = "{SECRET}"
token_sha256 = "{DIGEST}"
certificate = "client.example.com"
permissions = ["submit", "read"]
read = ["s3://films/", "/videos"]
write = []

[[keys]]
id = "team-b.1"
principal = "team-b"
certificate = "b"
disabled = true
"""


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(tmp_path) as made:
        yield made


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    path.chmod(mode)
    return path


def renewed(file: KeyFile) -> bool:
    """Whether the keys change with the second of two looks."""
    assert not file.renew()
    return file.renew()


def test_a_file_is_read(tmp_path: Path) -> None:
    first, second = KeyFile(written(tmp_path, WHOLE), VAULT).keys
    assert (first.key_id, first.principal, first.active) == ("team-a.1", "team-a", True)
    assert first.permissions == {Permission.SUBMIT, Permission.READ}
    assert first.reach == Reach(read=("s3://films", "/videos"), write=())
    assert first.certificate == "client.example.com"
    assert first.token_digest is not None
    assert first.token_digest.hex() == DIGEST
    assert SECRET.encode() not in (first.sealed or b"")
    assert (second.active, second.sealed, second.token_digest) == (False, None, None)
    assert (second.permissions, second.reach) == (ORDINARY, EVERYTHING)


async def test_its_keys_are_as_those_of_the_database(tmp_path: Path, keep: Kept) -> None:
    file = KeyFile(written(tmp_path, WHOLE), VAULT)
    ring = KeyRing(AllKeys(KeyTable(keep.database), file), VAULT, shut=True)
    await ring.load()
    found = ring.by_token(TOKEN)
    assert found is not None
    assert ring.secret(found) == SECRET
    assert ring.by_certificate(["client.example.com"]) == found
    assert ring.by_certificate(["b"]) is None
    other = ring.find("team-b.1")
    assert other is not None
    assert ring.secret(other) is None
    assert ring.can_sign


BARE = '[[keys]]\nid = "abcd"\nprincipal = "p"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[keys]", "not TOML"),
        (BARE + f'secret = {SECRET}"', "not TOML"),
        ("keys = 5", r"write \[\[keys\]\]"),
        ("keys = [5]", r"write \[\[keys\]\]"),
        ('[keys]\nid = "a"', r"write \[\[keys\]\]"),
        ("key = []", "'key'"),
        (BARE, "proves nothing"),
        ('[[keys]]\nprincipal = "p"\ncertificate = "c"', "key 1 lacks id"),
        ('[[keys]]\nid = "abcd"\ncertificate = "c"', "key 1 lacks principal"),
        (BARE + 'certificate = "c"\npermision = ["read"]', "'permision'"),
        (BARE + 'certificate = "c"\npermissions = ["write"]', "'write' is no permission"),
        (BARE + 'certificate = "c"\npermissions = []', "of no use"),
        (BARE + 'certificate = "c"\npermissions = "read"', "no list"),
        (BARE + 'certificate = "c"\nread = ["films"]', "neither a folder"),
        (BARE + 'certificate = "c"\nwrite = [5]', "no list of texts"),
        (BARE + 'certificate = "c"\ndisabled = "no"', "neither true nor false"),
        (BARE + 'certificate = ""', "certificate"),
        (BARE + 'secret = "hunter2"', "8 to 128"),
        (BARE + "secret = 12345678", "secret is no text"),
        (BARE + 'token_sha256 = "hunter2"', "64 hexadecimal"),
        (BARE + 'certificate = "c"\n' + BARE + 'certificate = "d"', "the same id"),
        (BARE + 'certificate = "c"\n' + BARE.replace("abcd", "x123") + 'certificate = "c"', "same"),
        ("# \udcff", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_without_secrets(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(KeyFileError, match=said) as caught:
        KeyFile(path, VAULT)
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601, 0o660, 0o620])
def test_what_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeyFileError, match="others"):
        KeyFile(written(tmp_path, WHOLE, mode), VAULT)
    for sound in (0o600, 0o400, 0o640):
        assert KeyFile(written(tmp_path, WHOLE, sound), VAULT).keys


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        KeyFile(tmp_path / "none", VAULT)
    with pytest.raises(KeyFileError, match="directory"):
        KeyFile(tmp_path, VAULT)
    path = written(tmp_path, WHOLE)
    real = os.fstat
    fake = os.stat_result((0o100600, 1, 1, 1, 4242, 0, 1, 0, 0, 0))
    monkeypatch.setattr("reelsplit_server.access.key_file.os.fstat", lambda number: fake)
    with pytest.raises(KeyFileError, match="another user"):
        KeyFile(path, VAULT)
    monkeypatch.setattr("reelsplit_server.access.key_file.os.fstat", real)


def test_it_is_read_again_when_it_changes_and_only_then(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    file = KeyFile(path, VAULT)
    assert not file.renew()
    written(tmp_path, BARE + 'certificate = "c"')
    assert renewed(file)
    assert [key.key_id for key in file.keys] == ["abcd"]
    assert not file.renew()


def test_a_file_that_is_being_written_widens_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    file = KeyFile(path, VAULT)
    text = (BARE + 'certificate = "c"\npermissions = ["read"]\nread = []\n').splitlines(True)
    with path.open("w") as writing:
        for line in text:
            writing.write(line)
            writing.flush()
            # Each of these states is looked at once, and most are files that could be used.
            assert not file.renew()
            assert [key.key_id for key in file.keys] == ["team-a.1", "team-b.1"]
    assert file.renew()
    (key,) = file.keys
    assert (key.permissions, key.reach) == ({Permission.READ}, Reach(read=(), write=None))


def test_a_file_that_changes_as_it_is_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, WHOLE)
    file = KeyFile(path, VAULT)
    written(tmp_path, BARE + 'certificate = "c"\n')
    load = tomllib.load

    def slow(source: BinaryIO) -> dict[str, Any]:
        found = load(source)
        with path.open("a") as writing:
            writing.write('permissions = ["read"]\n')
        return found

    with monkeypatch.context() as patch:
        patch.setattr(tomllib, "load", slow)
        assert not renewed(file)
    assert len(file.keys) == 2
    assert renewed(file)
    assert file.keys[0].permissions == {Permission.READ}


def test_what_cannot_be_used_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    file = KeyFile(path, VAULT)
    before = file.keys
    with capture_logs() as logs:
        written(tmp_path, WHOLE[:-20])
        assert not renewed(file)
        assert not file.renew()
        path.unlink()
        assert not file.renew()
        written(tmp_path, "", 0o644)
        assert not renewed(file)
    assert file.keys == before
    assert [line["event"] for line in logs] == ["keys_file_not_read"] * 3
    assert SECRET not in str(logs)
    # It is the rights alone that change now.
    path.chmod(0o600)
    assert renewed(file)
    assert file.keys == []


async def test_an_emptied_file_does_not_open_the_door(tmp_path: Path, keep: Kept) -> None:
    file = KeyFile(written(tmp_path, WHOLE), VAULT)
    ring = KeyRing(AllKeys(KeyTable(keep.database), file), VAULT)
    principals = Principals({}, ring)
    await ring.load()
    written(tmp_path, "")
    assert renewed(file)
    await ring.load()
    assert principals.required
    assert principals.identify(None) is None
    assert principals.identify(f"Bearer {TOKEN}") is None


@pytest.mark.parametrize("clash", ["id", "certificate"])
async def test_keys_of_the_database_come_first(tmp_path: Path, keep: Kept, clash: str) -> None:
    table = KeyTable(keep.database)
    given = {"key_id": "team-a.1"} if clash == "id" else {"certificate": "client.example.com"}
    mine = make_key(
        VAULT,
        principal="mine",
        permissions=ORDINARY,
        reach=EVERYTHING,
        create_time=datetime.now(UTC),
        **given,
    )
    await table.add(mine.key)
    ring = KeyRing(AllKeys(table, KeyFile(written(tmp_path, WHOLE), VAULT)), VAULT)
    with capture_logs() as logs:
        await ring.load()
        await ring.load()
    assert [line["key_ids"] for line in logs] == [["team-a.1"]]
    assert ring.by_token(TOKEN) is None
    await table.disable(mine.key.key_id)
    await ring.load()
    # A disabled id stays disabled; a certificate may pass to another key.
    assert (ring.by_token(TOKEN) is None) == (clash == "id")
    found = ring.by_certificate(["client.example.com"])
    assert (found and found.key_id) == (None if clash == "id" else "team-a.1")


def test_the_command_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELSPLIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REELSPLIT_KEYS_FILE", str(written(tmp_path, WHOLE)))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["keys", *arguments])
        return code, *capsys.readouterr()

    assert run("create", "--principal", "p", "--id", "mine")[0] == 0
    code, out, _ = run("list", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(key["id"], key["kept"]) for key in listed] == [
        ("mine", "database"),
        ("team-a.1", "file"),
        ("team-b.1", "file"),
    ]
    assert SECRET not in out
    code, _, err = run("disable", "team-a.1")
    assert code == 1
    assert "disabled = true" in err
    (tmp_path / "keys.toml").chmod(0o644)
    code, _, err = run("list")
    assert code == 1
    assert "keys.toml" in err
