"""How the server is reached: target, encryption, token, and the options of the connection.

Pure but for the reading of certificate files; the clients open the channels.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import grpc

DEFAULT_TARGET = "localhost:50051"
Pem: TypeAlias = bytes | str | os.PathLike[str]
"""What is encoded as PEM itself (bytes), or the path of its file."""

_NAMED_SCHEMES = ("dns", "ipv4", "ipv6", "unix", "unix-abstract")
_MAX_MESSAGE = 64 * 2**20
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """Encrypt the connection, and know the server by its certificate.

    Files are read once, when the client is made.
    """

    root_certificates: Pem | None = None
    """The authorities that may have signed the server's certificate; those that grpc carries by
    default."""

    client_certificate: Pem | None = None
    """The client's own certificate, for servers that ask for one; needs client_key."""

    client_key: Pem | None = dataclasses.field(default=None, repr=False)
    """The private key of client_certificate."""

    def credentials(self) -> grpc.ChannelCredentials:
        """The same as grpc takes it."""
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key need each other")
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.root_certificates),
            private_key=_read(self.client_key),
            certificate_chain=_read(self.client_certificate),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """All that opening a channel and making calls on it takes."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: Sequence[tuple[str, int | str]]
    metadata: Sequence[tuple[str, str]] = dataclasses.field(repr=False)
    """Sent with every call. Holds the token."""


def endpoint(
    target: str, *, token: str | None, tls: TLS | None, allow_insecure_token: bool
) -> Endpoint:
    """Check the arguments of a client. Raises ValueError, which never shows the token."""
    if not target:
        raise ValueError('the target must not be empty; it is "host:port"')
    if "://" in target and not target.startswith(tuple(f"{s}:" for s in _NAMED_SCHEMES)):
        raise ValueError(f'the target is "host:port" and no URL: {target.partition("?")[0]}')
    loopback = is_loopback(target)
    metadata: tuple[tuple[str, str], ...] = ()
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise ValueError("the token must be printable ASCII without spaces, and not empty")
        if tls is None and not loopback and not allow_insecure_token:
            raise ValueError(
                f"the token would cross the network to {target} in the clear; pass tls=TLS(), or "
                "allow_insecure_token=True where the network is trusted"
            )
        metadata = (("authorization", f"Bearer {token}"),)
    return Endpoint(
        target=target,
        credentials=tls.credentials() if tls else None,
        options=_options(loopback=loopback),
        metadata=metadata,
    )


def is_loopback(target: str) -> bool:
    """Whether the target lies on this machine, whatever the names of the network resolve to."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    if colon and scheme in _NAMED_SCHEMES:
        if rest.startswith("//"):
            # Between the slashes a DNS server can be named, which may answer anything.
            authority, _, rest = rest[2:].partition("/")
            if authority:
                return False
        target = rest
    return all(_is_loopback_host(_host(address)) for address in target.split(","))


def package_version() -> str:
    """The version of this package as it was installed."""
    from importlib import metadata  # Slow to import, and not needed for `import reelsplit`.

    try:
        return metadata.version("reelsplit")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def _options(*, loopback: bool) -> Sequence[tuple[str, int | str]]:
    return (
        ("grpc.primary_user_agent", f"reelsplit-python/{package_version()}"),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Without it a minute goes by, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # We repeat calls ourselves, and know which of them are safe to repeat.
        ("grpc.enable_retries", 0),
        # Else grpc itself waits for up to two minutes before it tries to connect again.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # A proxy of the environment does not lead to this machine, and would see the token.
        *((("grpc.enable_http_proxy", 0),) if loopback else ()),
    )


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    # More than one colon: an IPv6 address without a port.
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback_host(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(pem: Pem | None) -> bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else Path(pem).read_bytes()
