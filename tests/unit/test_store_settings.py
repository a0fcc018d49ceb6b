"""Settings of stores: from flags, environment and file, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reelsplit_server.main import main, read_settings
from reelsplit_server.settings import CONFIG_VARIABLE, Settings
from reelsplit_server.storage.location import LocationError, parse
from reelsplit_server.storage.routes import FilePlace, ObjectPlace, WebPlace
from reelsplit_server.store_setup import routes

MAIN = {
    "kind": "s3",
    "endpoint": "http://localhost:8333",
    "access_key_id": "AKIA",
    "secret_access_key": "hunter2-of-the-store",
    "buckets": ["footage"],
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("REELSPLIT_"):
            monkeypatch.delenv(name)


def test_a_store_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MAIN.items():
        text = json.dumps(value) if isinstance(value, list) else value
        monkeypatch.setenv(f"REELSPLIT_STORES__MAIN__{name.upper()}", text)
    settings = read_settings(())
    assert settings.stores == Settings(stores={"main": MAIN}).stores
    assert "hunter2" not in repr(settings)


def test_a_store_comes_from_a_flag_or_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Settings(stores={"main": MAIN})
    assert read_settings(("--stores", json.dumps({"main": MAIN}))).stores == expected.stores
    lines = [f"{name} = {json.dumps(value)}" for name, value in MAIN.items()]
    aliases = '[bucket_aliases]\n"oss://old" = "s3://footage"\n'
    (tmp_path / "c.toml").write_text("\n".join(["[stores.main]", *lines, aliases]))
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "c.toml"))
    settings = read_settings(())
    assert settings.stores == expected.stores
    place = routes(settings).resolve(parse("oss://old/a.mp4"), "read")
    assert place == ObjectPlace(
        store="main", bucket="footage", key="a.mp4", label="oss://old/a.mp4"
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stores": {"a": {"kind": "ftp", "buckets": ["x"]}}}, "kind"),
    ({"stores": {"a": {"kind": "s3"}}}, "buckets"),
    ({"stores": {"a": {"kind": "s3", "buckets": []}}}, "buckets"),
    ({"stores": {"a": {**MAIN, "bucket": "x"}}}, "bucket"),
    ({"stores": {"a": {**MAIN, "endpoint": "localhost:8333"}}}, "https://host"),
    ({"stores": {"a": {**MAIN, "endpoint": "https://me:secret@host"}}}, "https://host"),
    ({"stores": {"a": {"kind": "oss", "buckets": ["x"]}}}, "endpoint"),
    (
        {"stores": {"a": {"kind": "s3", "buckets": ["x"], "access_key_id": "A"}}},
        "secret_access_key",
    ),
    ({"stores": {"a": {"kind": "s3", "buckets": ["x"], "ca": "/none.pem"}}}, "none.pem"),
    ({"stores": {"a": {**MAIN, "endpoint": "http://localhost:99999"}}}, "https://host"),
    ({"stores": {"a": {**MAIN, "endpoint": "http://localhost/?x=1"}}}, "https://host"),
    ({"stores": {"a": {**MAIN, "endpoint_aliases": ["https://host"]}}}, "an alias"),
    ({"stores": {"a": {**MAIN, "anonymous": True}}}, "exclude each other"),
    ({"stores": {"a": {**MAIN, "profile": "films"}}}, "exclude each other"),
    ({"stores": {"a": {**MAIN, "credentials_file": "/a.json"}}}, "takes no credentials_file"),
    ({"stores": {"a": {**MAIN, "kind": "gcs"}}}, "takes no access_key_id"),
    (
        {"stores": {"a": {"kind": "s3", "buckets": ["x"], "session_token": "hunter2"}}},
        "session_token needs",
    ),
    (
        {
            "stores": {
                "a": {
                    "kind": "gcs",
                    "buckets": ["x"],
                    "anonymous": True,
                    "credentials_file": "/a.json",
                }
            }
        },
        "exclude each other",
    ),
    ({"stores": {n: {"kind": "s3", "buckets": ["x"]} for n in "ab"}}, "both list"),
    ({"bucket_aliases": {"old": "s3://new"}}, "no bucket"),
    ({"bucket_aliases": {"oss://old": "s3://new/key"}}, "no bucket"),
    ({"http_hosts": ["https://cdn.example.com/"]}, "no host"),
    ({"http_hosts": ["me@cdn.example.com"]}, "no host"),
    ({"allow_networks": ["10.0.0.1/8"]}, "no network"),
    ({"allow_networks": ["localhost"]}, "no network"),
    ({"trust_callers": True, "listen": "0.0.0.0:1", "allow_insecure_listen": True}, "loopback"),
    ({"trust_callers": True}, "REELSPLIT_TOKENS"),
]


@pytest.mark.parametrize(("given", "says"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_in_one_line(
    given: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: list[str] = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list) else [value]:
            text = one if isinstance(one, str) else json.dumps(one)
            arguments += [flag] if one is True else [flag, text]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert "hunter2" not in error


def test_two_stores_may_list_a_bucket_if_endpoints_tell_them_apart() -> None:
    stores = {
        name: {"kind": "s3", "buckets": ["xyz"], "endpoint": f"https://{name}.example.com"}
        for name in "ab"
    }
    ways = routes(Settings(stores=stores))  # type: ignore[arg-type]
    found = [
        ways.resolve(parse("s3://xyz/key"), "read", endpoint)
        for endpoint in (None, "https://b.example.com", "a.example.com")
    ]
    assert [place.store for place in found if isinstance(place, ObjectPlace)] == ["a", "b", "a"]


def test_those_who_trust_their_callers_name_anything(tmp_path: Path) -> None:
    ways = routes(Settings(trust_callers=True, root=[tmp_path], tokens={"me": "0123456789abcdef"}))
    assert isinstance(ways.resolve(parse("s3://any/key"), "write"), ObjectPlace)
    assert isinstance(ways.resolve(parse("gs://any/key"), "read"), ObjectPlace)
    assert isinstance(ways.resolve(parse("http://localhost:1/x"), "read"), WebPlace)
    assert isinstance(ways.resolve(parse(str(tmp_path / "x")), "read"), FilePlace)
    with pytest.raises(LocationError):
        ways.resolve(parse("/etc/passwd"), "read")
