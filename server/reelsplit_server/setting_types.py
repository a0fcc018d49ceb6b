"""The kinds of settings: what is right for one, whichever it is."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

_TOKEN = re.compile(r"[!-~]{16,4096}")
_BUCKET = re.compile(r"(s3|gs|oss)://[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_EVENT = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return value


def _address_or_none(value: str | None) -> str | None:
    return None if value is None else _address(value)


def _folders(value: list[Path]) -> list[Path]:
    for root in value:
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder")
    # Locations are compared with them as text, so they hold no "..".
    return [Path(os.path.abspath(root)) for root in value]


def _event(value: str) -> str:
    if not _EVENT.fullmatch(value):
        raise ValueError("an event's name has 1 to 64 letters, digits, dots and dashes")
    return value


def _networks(value: list[str]) -> list[str]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f"{network} is no network: {error}") from None
    return value


def _hosts(value: list[str]) -> list[str]:
    for host in value:
        if "/" in host or "@" in host or not host.isascii():
            raise ValueError(f"{host!r} is no host; write cdn.example.com or *.example.com")
    return [host.lower() for host in value]


def _aliases(value: dict[str, str]) -> dict[str, str]:
    for name in (*value, *value.values()):
        if not _BUCKET.fullmatch(name):
            raise ValueError(f"{name!r} is no bucket; write s3://name, gs://name or oss://name")
    return value


def _seconds(value: object) -> object:
    # Flags and the environment hold text, and pydantic takes numbers only as numbers.
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _tokens(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, token in value.items():
        if not 1 <= len(name) <= 128:
            raise ValueError("a principal's name has 1 to 128 characters")
        if not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError(
                f"the token of {name} is not 16 or more printable ASCII characters without spaces"
            )
    if len({token.get_secret_value() for token in value.values()}) != len(value):
        raise ValueError("two principals have the same token")
    return value


# Each stands for the whole of a field: within another type, what flags take would be told as that.
Address = Annotated[str, AfterValidator(_address)]
"""HOST:PORT."""
AddressOrNone = Annotated[str | None, AfterValidator(_address_or_none)]
Folders = Annotated[list[Path], AfterValidator(_folders)]
EventName = Annotated[str, AfterValidator(_event)]
Networks = Annotated[list[str], AfterValidator(_networks)]
Hosts = Annotated[list[str], AfterValidator(_hosts)]
BucketAliases = Annotated[dict[str, str], AfterValidator(_aliases)]
Tokens = Annotated[dict[str, SecretStr], AfterValidator(_tokens)]
Time = Annotated[timedelta, BeforeValidator(_seconds)]
TimeOrNone = Annotated[timedelta | None, BeforeValidator(_seconds)]
