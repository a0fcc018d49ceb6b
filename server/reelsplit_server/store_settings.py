"""The settings of one object store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from reelsplit_server.storage.location import LocationError, Scheme, host_and_port

_OF_S3 = frozenset(
    {
        "region",
        "addressing",
        "signature",
        "profile",
        "access_key_id",
        "secret_access_key",
        "session_token",
    }
)
_OF_GCS = frozenset({"credentials_file", "project"})
_IDENTITIES = ("access_key_id", "profile", "credentials_file")


class StoreSettings(BaseModel):
    """One object store: where it is, as whom it is used, and which of its buckets callers may
    name. Without keys the usual chain of its cloud finds the credentials: environment, profile,
    web identity, the machine's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["s3", "oss", "gcs"]
    """The dialect: S3 and what speaks it, Alibaba's OSS, Google Cloud Storage."""
    buckets: list[str] = Field(min_length=1)
    """Names, or patterns with ``*``, of the buckets that callers may name."""
    endpoint: str | None = None
    """A URL. Needed for OSS, and for S3 that is not Amazon's."""
    endpoint_aliases: list[str] = []
    """Other hosts by which callers name the endpoint, such as its internal one."""
    region: str | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Whether a bucket stands in the path or in the host name."""
    signature: Literal["v4", "v2"] = "v4"
    anonymous: bool = False
    """Whether requests are not signed: for public buckets."""
    profile: str | None = None
    """A profile of the AWS configuration."""
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    ca: Path | None = None
    """A PEM file: the authority of the endpoint's certificate, where it is a private one."""
    credentials_file: Path | None = None
    """Of GCS: a JSON file of a service account or an external account."""
    project: str | None = None
    """Of GCS: the project that is billed."""

    @property
    def scheme(self) -> str:
        """How URIs of its objects begin."""
        return "gs" if self.kind == "gcs" else self.kind

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        wrong = ValueError("write an endpoint as https://host or http://host:port")
        try:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or parts.query or parts.fragment:
                raise wrong
            host_and_port(parts.netloc, Scheme(parts.scheme))
        except ValueError:
            raise wrong from None
        return value.rstrip("/")

    @field_validator("endpoint_aliases")
    @classmethod
    def _are_hosts(cls, value: list[str]) -> list[str]:
        for alias in value:
            try:
                host_and_port(alias, Scheme.HTTPS)
            except LocationError:
                raise ValueError("write an alias as a host, with a port if it has one") from None
        return value

    @model_validator(mode="after")
    def _fits(self) -> StoreSettings:
        foreign = self.model_fields_set & (_OF_S3 if self.kind == "gcs" else _OF_GCS)
        if foreign:
            raise ValueError(f"a store of the kind {self.kind} takes no {min(foreign)}")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key need each other")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        given = [name for name in _IDENTITIES if getattr(self, name) is not None]
        given += ["anonymous"] * self.anonymous
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} exclude each other")
        if self.kind == "oss" and self.endpoint is None:
            raise ValueError("a store of the kind oss needs its endpoint")
        if self.ca is not None and not self.ca.is_file():
            raise ValueError(f"{self.ca} is no file")
        return self
