"""The health check that containers run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from reelsplit_server import health
from reelsplit_server.settings import Settings
from tests.server import served

TOKENS = {"alice": "a-token-of-some-length"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("REELSPLIT_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=["issued", "issued through another", "for any host"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    """A certificate that does not name the address, with its chain and key."""
    authority = trustme.CA()
    if request.param == "issued through another":
        authority = trustme.CA(parent_cert=authority)
    name = "*.example.com" if request.param == "for any host" else "reelsplit.example.com"
    leaf = authority.issue_cert(name)
    paths = {"tls_certificate": tmp_path / "c.pem", "tls_key": tmp_path / "k.pem"}
    paths["tls_certificate"].write_bytes(b"".join(p.bytes() for p in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(paths["tls_key"])
    return paths


@pytest.fixture
def plain() -> Iterator[tuple[str, HealthServicer]]:
    """An address, and what is said there."""
    with ThreadPoolExecutor(2) as threads:
        server, servicer = grpc.server(threads), HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}", servicer
        server.stop(None).wait()


def test_a_server_that_takes_jobs_is_healthy(tmp_path: Path) -> None:
    with served(tmp_path) as made:
        run = _run({"REELSPLIT_LISTEN": made.address})
    assert (run.returncode, run.stdout, run.stderr) == (0, "SERVING\n", "")


def test_tls_is_asked_for_the_servers_own_certificate(
    tmp_path: Path, certificate: dict[str, Path]
) -> None:
    with served(tmp_path, tokens=TOKENS, **certificate) as made:
        given: dict[str, Any] = {"tokens": TOKENS, **certificate}
        port = made.address.rpartition(":")[2]
        for listen in (made.address, f"0.0.0.0:{port}"):
            assert health.check(Settings(listen=listen, **given)) == "SERVING"
        other = trustme.CA().issue_cert("reelsplit.example.com")
        other.cert_chain_pems[0].write_to_path(tmp_path / "other.pem")
        given["tls_certificate"] = tmp_path / "other.pem"
        with pytest.raises(health.UnhealthyError, match="certificate"):
            health.check(Settings(listen=made.address, **given))
        with pytest.raises(health.UnhealthyError, match="UNAVAILABLE"):
            health.check(Settings(listen=made.address))


def test_a_server_that_drains_is_not(plain: tuple[str, HealthServicer]) -> None:
    address, servicer = plain
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    with pytest.raises(health.UnhealthyError, match=r"^NOT_SERVING$"):
        health.check(Settings(listen=address))
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    assert health.check(Settings(listen=address)) == "SERVING"


def test_clients_with_certificates_are_asked_for_elsewhere(certificate: dict[str, Path]) -> None:
    settings = Settings(
        listen="127.0.0.1:1", tls_client_ca=certificate["tls_certificate"], **certificate
    )
    with pytest.raises(health.UnhealthyError, match="from outside"):
        health.check(settings)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"REELSPLIT_LISTEN": "127.0.0.1:1"}, "UNAVAILABLE"),
        ({"REELSPLIT_LISTEN": "anywhere"}, "write HOST:PORT"),
        ({"REELSPLIT_TOKENS": '{"alice": "hushhush"}'}, "token of alice"),
        ({"REELSPLIT_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
    ],
)
def test_it_fails_in_one_line(variables: dict[str, str], said: str) -> None:
    run = _run(variables)
    assert run.returncode == 1
    assert said in run.stdout
    assert "Value error" not in run.stdout
    assert run.stdout.count("\n") == 1
    assert run.stderr == ""
    assert "hushhush" not in run.stdout


def _run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reelsplit_server.health"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
