"""Secrets: sealed, bound to what they are for, under a key that lies apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelsplit_server.access.vault import KEY_FILE, Vault, VaultError, open_vault


def test_what_was_sealed_opens_for_the_same_purpose_only() -> None:
    vault = Vault(b"k" * 32)
    sealed = vault.seal("access-key:a", "s3cret")
    assert b"s3cret" not in sealed
    assert vault.open("access-key:a", sealed) == "s3cret"
    assert vault.seal("access-key:a", "s3cret") != sealed
    for purpose, data in (
        ("access-key:b", sealed),
        ("access-key:a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("access-key:a", sealed[:20]),
        ("access-key:a", b""),
        ("access-key:a", b"\x02" + sealed[1:]),
    ):
        with pytest.raises(VaultError):
            vault.open(purpose, data)
    with pytest.raises(VaultError, match="another key"):
        Vault(b"l" * 32).open("access-key:a", sealed)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    sealed = open_vault(tmp_path, None, new=True).seal("x", "secret")
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    for new in (True, False):
        assert open_vault(tmp_path, None, new=new).open("x", sealed) == "secret"


def test_a_key_that_is_lost_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="put back"):
        open_vault(tmp_path, None, new=False)
    assert list(tmp_path.iterdir()) == []


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere"
    file.write_text("0f" * 32 + "\n")
    sealed = open_vault(tmp_path, file, new=True).seal("x", "secret")
    assert Vault(b"\x0f" * 32).open("x", sealed) == "secret"
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("text", ["", "0f", "zz" * 32, "0f" * 33, "0f" * 31, "\udcff"])
def test_what_is_no_key_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(VaultError, match="holds no key"):
        open_vault(tmp_path, file, new=True)
    with pytest.raises(VaultError, match="cannot be read"):
        open_vault(tmp_path, tmp_path / "missing", new=True)
