"""How the server reaches a store of S3's kind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from reelsplit_server.storage.grants import Wire

LEAST_PART = 5 * 2**20
"""Bytes; stores refuse smaller parts, but for the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """How the server reaches a store.

    Without ``endpoint`` it is Amazon's own, or OSS's of the ``region``. Without keys and
    ``anonymous``, boto3 searches its usual places, and there ``profile``. ``auto`` addressing is
    virtual-hosted for Amazon and OSS, and by path elsewhere. ``lifetime``, in seconds, is how long
    signed requests are good; ``part_size``, in bytes, grows with objects that had too many parts;
    ``ca`` is a PEM file.
    """

    kind: Literal["s3", "oss"] = "s3"
    endpoint: str | None = None
    region: str | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"
    signature: Literal["v4", "v2"] = "v4"
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    anonymous: bool = False
    ca: str | None = None
    lifetime: int = 3600
    part_size: int = 16 * 2**20
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        if self.part_size < LEAST_PART:
            raise ValueError(f"part_size is at least {LEAST_PART:,} bytes")
        if self.lifetime < 60:
            raise ValueError("lifetime is at least 60 seconds")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.anonymous and (self.access_key_id is not None or self.profile is not None):
            raise ValueError("anonymous and credentials exclude each other")
        if self.kind == "oss":
            region = self.region and self.region.removeprefix("oss-")
            if self.endpoint is None and not region:
                raise ValueError("an OSS store needs an endpoint or a region")
            endpoint = self.endpoint or f"https://s3.oss-{region}.aliyuncs.com"
            object.__setattr__(self, "region", region)
            object.__setattr__(self, "endpoint", endpoint)
        if self.ca is not None:
            object.__setattr__(self, "wire", dataclasses.replace(self.wire, ca=self.ca))

    @property
    def style(self) -> Literal["auto", "path", "virtual"]:
        """How buckets are named to the store, in boto3's words."""
        if self.addressing == "auto" and (self.kind == "oss" or self.endpoint is None):
            # OSS knows no other. For Amazon, boto3's "auto" signs URLs of a host for all regions,
            # which redirects, and workers follow nobody; buckets with dots are by path even so.
            return "virtual"
        return self.addressing
