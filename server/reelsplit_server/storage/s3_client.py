"""The client of boto3 as the server uses it: its settings, the dialects, credentials, repeats."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from reelsplit_server.storage.s3_codes import code_of, region_in, retry_after, status_of
from reelsplit_server.storage.s3_config import S3Config
from reelsplit_server.storage.s3_errors import FAILURES, helps_to_repeat

ResultT = TypeVar("ResultT")
_CONNECTIONS = 64
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_ASKED = 0.1, 5.0, 30.0
_LONGEST_SIGNED = 7 * 24 * 3600
"""Seconds; AWS refuses more."""
_SHORTEST_SIGNED = 60
_UNCERTAIN = (500, 502, 504)
_random = secrets.SystemRandom()


class S3Client:
    """For several threads. `call` repeats for ``wire.patience`` seconds where that can help, and
    the last try may take ``wire.timeout`` more; then it raises whatever the library does: see
    `s3_errors.told`."""

    def __init__(self, config: S3Config) -> None:
        """Raises `BotoCoreError` for settings that cannot be."""
        self._config = config
        self._closed = threading.Event()
        session = boto3.session.Session(
            aws_access_key_id=None if config.anonymous else config.access_key_id,
            aws_secret_access_key=None if config.anonymous else config.secret_access_key,
            aws_session_token=None if config.anonymous else config.session_token,
            profile_name=config.profile,
            region_name=config.region,
        )
        self._session = session
        self._credentials = None if config.anonymous else session.get_credentials()
        # Of an own endpoint, most take any region.
        self._region = session.region_name or "us-east-1"
        self._regions: dict[str, str] = {}
        self._apis: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.host = urlsplit(self._api.meta.endpoint_url).netloc.rpartition("@")[2]

    def close(self) -> None:
        """Give up all connections, and let nobody repeat any more."""
        self._closed.set()
        with self._lock:
            for api in self._apis.values():
                api.close()

    def call(
        self, name: str, *, bucket: str, on_lost: Callable[[], None] | None = None, **given: Any
    ) -> Mapping[str, Any]:
        """Make a call by its name in boto3. ``on_lost`` is called where it is repeated though it
        may have passed: where the answer was lost."""

        def ask(api: Any) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = getattr(api, name)(Bucket=bucket, **given)
            return answer

        return self.repeat(lambda: self._at_home(bucket, ask), on_lost)

    def head(self, bucket: str, key: str, *, sure_of_bucket: bool) -> Mapping[str, Any]:
        """What the store tells of an object. Answers to HEAD have no body, so an error is asked
        for once more in a way that names it; not so where the bucket is known to be there and the
        object is not."""

        def ask(api: Any) -> Mapping[str, Any]:
            try:
                found: Mapping[str, Any] = api.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                code = code_of(error)
                known = not code.isdigit() or helps_to_repeat(error)
                if known or (code == "404" and sure_of_bucket):
                    raise
                api.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
                raise
            return found

        return self.repeat(lambda: self._at_home(bucket, ask))

    def signed(self, name: str, *, bucket: str, **given: Any) -> str:
        """The URL of a call that whoever has it may make for a while."""

        def sign() -> str:
            url: str = self._home(bucket).generate_presigned_url(
                name, Params={"Bucket": bucket, **given}, ExpiresIn=self._lifetime()
            )
            return url

        return self.repeat(sign)

    def repeat(
        self, work: Callable[[], ResultT], on_lost: Callable[[], None] | None = None
    ) -> ResultT:
        """Do something until it passes, as long as that may be hoped for; see `call`."""
        end = time.monotonic() + self._config.wire.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return work()
            except FAILURES as error:
                left = end - time.monotonic()
                if left <= 0 or not helps_to_repeat(error):
                    raise
                if on_lost is not None and _may_have_passed(error):
                    on_lost()
                # Many fail at the same moment, and should not come back at the same one.
                wait = max(pause * _random.uniform(0.5, 1), min(retry_after(error), _LONGEST_ASKED))
                if self._closed.wait(min(wait, left)):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)

    @property
    def _api(self) -> Any:
        return self._api_of(self._region)

    def _home(self, bucket: str) -> Any:
        return self._api_of(self._regions.get(bucket, self._region))

    def _at_home(self, bucket: str, ask: Callable[[Any], ResultT]) -> ResultT:
        """Ask in the region where a bucket lies, once the store has told which that is."""
        try:
            return ask(self._home(bucket))
        except ClientError as error:
            region = region_in(error)
            if region is None or region == self._regions.get(bucket, self._region):
                raise
            self._regions[bucket] = region
        return ask(self._home(bucket))

    def _api_of(self, region: str) -> Any:
        # Neither making one nor the session that makes it is for several threads.
        with self._lock:
            if region not in self._apis:
                self._apis[region] = self._make(region)
            return self._apis[region]

    def _make(self, region: str) -> Any:
        config = self._config
        try:
            api: Any = self._session.client(
                "s3",
                endpoint_url=config.endpoint,
                region_name=region,
                verify=config.wire.ca,
                config=_library_config(config),
            )
        except ValueError as error:
            if isinstance(error, BotoCoreError):
                raise
            raise _SettingsError(error=error) from None
        _speak(api, config)
        return api

    def _lifetime(self) -> int:
        """How long a URL may be good, in seconds: not longer than what it is signed with."""
        lifetime = min(self._config.lifetime, _LONGEST_SIGNED)
        credentials = self._credentials
        if isinstance(credentials, RefreshableCredentials):
            credentials.get_frozen_credentials()
            while lifetime > _SHORTEST_SIGNED and credentials.refresh_needed(lifetime):
                lifetime = max(lifetime // 2, _SHORTEST_SIGNED)
        return lifetime


def _may_have_passed(error: Exception) -> bool:
    """Whether a call that failed may have been done all the same: nothing was answered, or a
    gateway has answered that had lost the store, or a store that had lost itself."""
    return not isinstance(error, ClientError) or status_of(error) in _UNCERTAIN


class _SettingsError(BotoCoreError):  # type: ignore[misc]
    fmt = "{error}"


def _library_config(config: S3Config) -> Config:
    return Config(
        signature_version=(
            UNSIGNED if config.anonymous else {"v4": "s3v4", "v2": "s3"}[config.signature]
        ),
        # What boto3 adds since 2025 by itself are trailing checksums in a body that it calls
        # aws-chunked, which OSS and others refuse; headers that signed requests would have to
        # carry; and checksums of whole objects that are compared with those of ranges.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=config.wire.timeout,
        read_timeout=config.wire.timeout,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Only the settings say where a store is.
        ignore_configured_endpoint_urls=True,
        # Workers know no proxy either.
        proxies={},
        # `S3Client.repeat` does it, and knows how long.
        retries={"mode": "standard", "total_max_attempts": 1},
        s3={"addressing_style": config.style, "us_east_1_regional_endpoint": "regional"},
    )


def _speak(api: Any, config: S3Config) -> None:
    """Say what dialects want to hear, and boto3 does not say."""
    events = api.meta.events
    # Required by OSS and by older relatives; boto3 sends newer checksums only.
    events.register("before-sign.s3.DeleteObjects", _add_md5)
    events.register("before-call.s3", _stay)
    if config.kind == "oss":
        for name in ("CreateMultipartUpload", "CompleteMultipartUpload"):
            events.register(f"before-parameter-build.s3.{name}", _note_condition)
            events.register(f"before-call.s3.{name}", _forbid_overwrite)


def _stay(context: dict[str, Any], **_: Any) -> None:
    # boto3 would look for the bucket's region itself: without end where a server redirects all
    # that it is asked, and to no use for signed requests. `S3Client` follows on its own.
    context.setdefault("s3_redirect", {})["redirected"] = True


def _add_md5(request: Any, **_: Any) -> None:
    body = request.data
    body = body.encode() if isinstance(body, str) else bytes(body)
    # The protocol's own checksum against damage on the way, not a defence.
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    if "Content-MD5" in request.headers:
        del request.headers["Content-MD5"]
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


def _note_condition(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["reelsplit_new_only"] = params.pop("IfNoneMatch", None) is not None


def _forbid_overwrite(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if context.get("reelsplit_new_only"):
        params["headers"]["x-oss-forbid-overwrite"] = "true"
