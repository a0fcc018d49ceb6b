from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reelsplit import TLS
from reelsplit.channel import endpoint, is_loopback

NEAR = [
    "localhost:50051",
    "LOCALHOST",
    "127.0.0.1:1",
    "127.9.9.9:1",
    "[::1]:50051",
    "::1",
    "dns:localhost:1",
    "dns:///localhost:1",
    "ipv4:127.0.0.1:1,127.0.0.2:1",
    "ipv6:[::1]:1",
    "unix:/run/reelsplit.sock",
    "unix:///run/reelsplit.sock",
    "unix-abstract:reelsplit",
]
FAR = [
    "example.com:443",
    "localhost.example.com:1",
    "10.0.0.1:1",
    "0.0.0.0:1",
    "[2001:db8::1]:1",
    "dns://8.8.8.8/localhost:1",
    "ipv4:127.0.0.1:1,10.0.0.1:1",
    "127.0.0.1.example.com:1",
    "xds:localhost",
]


@pytest.mark.parametrize("target", NEAR)
def test_a_token_may_stay_on_this_machine(target: str) -> None:
    assert is_loopback(target)
    made = endpoint(target, token="s3cret", tls=None, allow_insecure_token=False)
    assert list(made.metadata) == [("authorization", "Bearer s3cret")]
    assert ("grpc.enable_http_proxy", 0) in made.options
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize("target", FAR)
def test_a_token_does_not_cross_a_network_in_the_clear(target: str, connect: Any) -> None:
    assert not is_loopback(target)
    with pytest.raises(ValueError, match="in the clear") as caught:
        connect(target, token="s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_token_crosses_a_network_when_it_is_encrypted_or_allowed() -> None:
    for how in ({"tls": TLS()}, {"allow_insecure_token": True}):
        arguments: dict[str, Any] = {"tls": None, "allow_insecure_token": False, **how}
        made = endpoint("example.com:443", token="s3cret", **arguments)
        assert list(made.metadata) == [("authorization", "Bearer s3cret")]
        assert (made.credentials is None) == (arguments["tls"] is None)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "tökén"])
def test_tokens_that_cannot_be_sent_are_refused(token: str, connect: Any) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        connect("localhost:1", token=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("target", ["", "http://localhost:50051", "https://example.com?key=s3cret"])
def test_targets_that_are_none_are_refused(target: str, connect: Any) -> None:
    with pytest.raises(ValueError, match="target") as caught:
        connect(target)
    assert "s3cret" not in str(caught.value)


def test_a_certificate_needs_its_key(connect: Any) -> None:
    with pytest.raises(ValueError, match="need each other"):
        connect("localhost:1", tls=TLS(client_certificate=b"pem"))


def test_certificates_come_from_bytes_or_files(tmp_path: Path, connect: Any) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    for pem in (file.read_bytes(), file, str(file)):
        connect("localhost:1", tls=TLS(root_certificates=pem))
    with pytest.raises(FileNotFoundError):
        connect("localhost:1", tls=TLS(root_certificates=tmp_path / "missing.pem"))


def test_keys_are_not_shown() -> None:
    assert "s3cret" not in repr(TLS(client_certificate=b"pem", client_key=b"s3cret"))
