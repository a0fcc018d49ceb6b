"""From settings to stores: what callers may name, and the clients behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from reelsplit_server.settings import Settings
from reelsplit_server.storage.grants import Web, Wire
from reelsplit_server.storage.location import Scheme, host_and_port
from reelsplit_server.storage.object_store import ObjectStore
from reelsplit_server.storage.routes import Routes, StoreRoute
from reelsplit_server.storage.stores import Stores
from reelsplit_server.store_settings import StoreSettings

_EVERYWHERE = ("0.0.0.0/0", "::/0")


def routes(settings: Settings) -> Routes:
    """What callers may name."""
    # A root that is given through a link is taken in both forms.
    roots = dict.fromkeys(form for root in settings.root for form in (root, root.resolve()))
    return Routes(
        roots=tuple(roots),
        stores=tuple(_route(name, store) for name, store in _configured(settings).items()),
        aliases=settings.bucket_aliases,
        hosts=("*",) if settings.trust_callers else tuple(settings.http_hosts),
    )


def stores(settings: Settings) -> Stores:
    """The stores that the server uses."""
    wire = Wire(timeout=settings.storage_timeout, patience=settings.storage_patience)
    networks = _EVERYWHERE if settings.trust_callers else tuple(settings.allow_networks)
    ways = routes(settings)
    return Stores(
        ways,
        {name: _store(store, wire) for name, store in _configured(settings).items()},
        Web(hosts=ways.hosts, networks=networks, most_spool=settings.max_spool_bytes),
        wire,
    )


def _configured(settings: Settings) -> Mapping[str, StoreSettings]:
    """The stores of the settings, and for those who trust their callers what the usual
    credentials reach."""
    if not settings.trust_callers:
        return settings.stores
    # What the caller's own tools would speak to.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    own = {
        "s3": StoreSettings(kind="s3", buckets=["*"], endpoint=endpoint),
        "gcs": StoreSettings(kind="gcs", buckets=["*"]),
    }
    given = {store.kind for store in settings.stores.values()}
    return settings.stores | {name: one for name, one in own.items() if one.kind not in given}


def _route(name: str, store: StoreSettings) -> StoreRoute:
    endpoints = [host_and_port(alias, Scheme.HTTPS) for alias in store.endpoint_aliases]
    if store.endpoint is not None:
        parts = urlsplit(store.endpoint)
        endpoints.append(host_and_port(parts.netloc, Scheme(parts.scheme)))
    return StoreRoute(
        name=name,
        scheme=Scheme(store.scheme),
        buckets=tuple(store.buckets),
        endpoints=tuple(endpoints),
        url=store.endpoint or "",
    )


def _store(store: StoreSettings, wire: Wire) -> ObjectStore:
    # Each library is loaded by those who use it: Google's alone takes a second.
    wire = Wire(timeout=wire.timeout, patience=wire.patience, ca=_path(store.ca))
    if store.kind == "gcs":
        from reelsplit_server.storage.gcs import GcsConfig, GcsStore

        return GcsStore(
            GcsConfig(
                endpoint=store.endpoint,
                project=store.project,
                credentials_file=_path(store.credentials_file),
                anonymous=store.anonymous,
                wire=wire,
            )
        )
    from reelsplit_server.storage.s3 import S3Config, S3Store

    return S3Store(
        S3Config(
            kind=store.kind,
            endpoint=store.endpoint,
            region=store.region,
            addressing=store.addressing,
            signature=store.signature,
            access_key_id=_secret(store.access_key_id),
            secret_access_key=_secret(store.secret_access_key),
            session_token=_secret(store.session_token),
            profile=store.profile,
            anonymous=store.anonymous,
            ca=_path(store.ca),
            wire=wire,
        )
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
