"""compose.yaml keeps to its rules, and names only what there is."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import Any

import pytest

from reelsplit_server.settings import Settings
from tests.compose import ROOT, services, volumes

SERVICES = services()
LASTING = [name for name, service in SERVICES.items() if service.get("restart") != "no"]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("REELSPLIT_"):
            monkeypatch.delenv(name)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """What the server reads in its container."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    image = re.findall(r"^ENV (.*)$", text, re.MULTILINE)[-1]
    pairs = dict(item.split("=", 1) for item in shlex.split(image))
    for name, value in {**pairs, **services(variables)["reelsplit"]["environment"]}.items():
        if name.startswith("REELSPLIT_"):
            monkeypatch.setenv(name, value)
    return Settings()  # type: ignore[call-arg]


def test_the_server_takes_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(monkeypatch)
    store = read.stores["main"]
    assert store.secret_access_key is not None
    assert store.secret_access_key.get_secret_value() == "only-for-trying-it"
    assert store.buckets == ["footage", "pieces"]
    assert store.endpoint == "http://seaweedfs:8333"
    assert read.root == []
    assert read.tokens == {}


def test_keys_and_tokens_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "REELSPLIT_S3_KEY": "other-key",
        "REELSPLIT_S3_SECRET": "other-secret",
        "REELSPLIT_TOKENS": json.dumps({"alice": "a-token-of-some-length"}),
    }
    read = settings(monkeypatch, **given)
    assert list(read.tokens) == ["alice"]
    key, secret = read.stores["main"].access_key_id, read.stores["main"].secret_access_key
    assert key is not None
    assert secret is not None
    assert (key.get_secret_value(), secret.get_secret_value()) == ("other-key", "other-secret")
    seaweedfs = services(given)["seaweedfs"]["environment"]
    assert seaweedfs["AWS_ACCESS_KEY_ID"] == "other-key"
    assert seaweedfs["AWS_SECRET_ACCESS_KEY"] == "other-secret"


def test_an_unknown_name_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    settings(monkeypatch)
    monkeypatch.setenv("REELSPLIT_STORES__MAIN__NOTHING", "x")
    with pytest.raises(ValueError, match="stores"):
        Settings()  # type: ignore[call-arg]


def test_every_name_is_a_setting() -> None:
    names = {name.upper() for name in Settings.model_fields}
    for variable in SERVICES["reelsplit"]["environment"]:
        prefix, _, name = variable.partition("_")
        assert prefix == "REELSPLIT"
        assert name.partition("__")[0] in names, variable


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service: dict[str, Any] = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not {"privileged", "devices", "pid", "ipc"} & set(service)
    if "build" not in service:
        assert re.fullmatch(r"[\w/]+:\d+(\.\d+)+", service["image"])
        user = service["user"].partition(":")[0]
        # One gives the volume away, sees no network, and may do nothing else.
        assert user != "0" or (service["network_mode"], service["cap_add"]) == ("none", ["CHOWN"])
    for volume in service.get("volumes", ()):
        assert volume.partition(":")[0] in volumes()


def test_what_lasts_is_watched() -> None:
    assert sorted(LASTING) == ["reelsplit", "seaweedfs"]
    for name in LASTING:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    file = (ROOT / "Dockerfile").read_text()
    check = re.search(r"HEALTHCHECK [^\[]*CMD (\[.*\])", file)
    assert check is not None
    assert SERVICES["reelsplit"]["healthcheck"]["test"] == ["CMD", *json.loads(check[1])]
    (port,) = SERVICES["reelsplit"]["ports"]
    assert f"EXPOSE {port.rpartition(':')[2]}\n" in file
    assert f"127.0.0.1:{SERVICES['seaweedfs']['ports'][0].rpartition(':')[2]}/" in str(
        SERVICES["seaweedfs"]["healthcheck"]["test"]
    )


def test_the_server_starts_when_the_buckets_are_there() -> None:
    assert SERVICES["reelsplit"]["depends_on"] == {
        "buckets": {"condition": "service_completed_successfully"},
        "seaweedfs": {"condition": "service_healthy"},
    }
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
