"""Whether the server takes jobs: ``python -m reelsplit_server.health``, for containers.

It reads the settings where the server does, but for flags: a call of ``grpc.health.v1.Health`` goes
to the address that is listened on.
"""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError
from pydantic_settings import SettingsError

from reelsplit_server.settings import Settings

_PATIENCE = 5.0
"""Seconds for a connection, and for the answer."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104


class UnhealthyError(Exception):
    """The server does not take jobs; the text says why, in one line."""


def main() -> int:
    """Ask, and say the answer in one line; answers the exit code, 0 or 1."""
    try:
        answer = check(Settings())  # type: ignore[call-arg]
    except (SettingsError, UnhealthyError) as error:
        print(" ".join(str(error).split()))
        return 1
    except ValidationError as error:
        # Not its text, which holds what was given, tokens too.
        told = (item["msg"].removeprefix("Value error, ") for item in error.errors())
        print("; ".join(" ".join(text.split()) for text in told))
        return 1
    print(answer)
    return 0


def check(settings: Settings) -> str:
    """Ask the server that has these settings; raises `UnhealthyError` unless it is serving."""
    host, _, port = settings.listen.rpartition(":")
    host = _EVERYWHERE.get(host, host)
    try:
        with _channel(settings, host, int(port)) as channel:
            request = health_pb2.HealthCheckRequest()
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_PATIENCE)
    except grpc.RpcError as error:
        raise UnhealthyError(f"{error.code().name}: {error.details()}") from error
    except OSError as error:
        raise UnhealthyError(f"UNAVAILABLE: {error}") from error
    status: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise UnhealthyError(status)
    return status


def _channel(settings: Settings, host: str, port: int) -> grpc.Channel:
    if settings.tls_certificate is None:
        return grpc.insecure_channel(f"{host}:{port}")
    if settings.tls_client_ca is not None:
        raise UnhealthyError(
            "the server wants certificates of its clients, and this check has none; probe the "
            "server from outside"
        )
    certificate = settings.tls_certificate.read_bytes()
    name = _name(certificate.decode(), host.strip("[]"), port)
    # Who has the server's own certificate on the address that it listens on is the server; the
    # certificate need not name that address.
    return grpc.secure_channel(
        f"{host}:{port}",
        grpc.ssl_channel_credentials(certificate),
        [("grpc.ssl_target_name_override", name)],
    )


def _name(certificate: str, host: str, port: int) -> str:
    """A name that the server's certificate is for."""
    context = ssl.create_default_context(cadata=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), _PATIENCE) as plain,
        context.wrap_socket(plain) as tls,
    ):
        shown: Any = tls.getpeercert()
    names = [str(name) for _, name in shown.get("subjectAltName", ())]
    return names[0] if names else "localhost"


if __name__ == "__main__":
    sys.exit(main())
