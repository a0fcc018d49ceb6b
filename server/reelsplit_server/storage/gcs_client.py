"""The client of Google Cloud Storage: one call for each thing that the store does with it."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import google.auth
import requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, NotFound, from_http_response
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

from reelsplit_server.storage.gcs_errors import helps_to_repeat
from reelsplit_server.storage.gcs_tokens import SCOPE, Tokens, asking

if TYPE_CHECKING:
    from reelsplit_server.storage.gcs import GcsConfig

ResultT = TypeVar("ResultT")
_CONNECTIONS = 64
_BATCH = 100
"""The most objects that are deleted with one request; Google's own limit."""
_CANCELLED = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the storage tells of an object; ``size`` in bytes."""

    size: int
    generation: str
    encoding: str
    metadata: Mapping[str, str]


class GcsClient:
    """For several threads. Calls are repeated for ``wire.patience`` seconds where that can help,
    and the last may take ``wire.timeout`` more. Then they raise whatever the libraries do: see
    `gcs_errors.told`."""

    def __init__(self, config: GcsConfig) -> None:
        """Raises `GoogleAuthError` where no credentials are found."""
        self._timeout = config.wire.timeout
        self._retry = Retry(
            predicate=helps_to_repeat,
            initial=0.5,
            maximum=8.0,
            timeout=config.wire.patience,
        )
        credentials = _credentials(config)
        self._auth = requests.Session()
        self._bare = _session(requests.Session(), config.wire.ca)
        ask = asking(self._auth, self._timeout)
        authorized = AuthorizedSession(credentials, auth_request=ask)
        self._tokens = None if config.anonymous else Tokens(credentials, ask, config.lifetime)
        self._storage: Any = storage.Client(
            project=config.project,
            credentials=credentials,
            client_options=ClientOptions(api_endpoint=config.endpoint),
            _http=_session(authorized, config.wire.ca),
        )
        # It would ask for each bucket in a thread of its own, only to name it in traces, and needs
        # a right for it that nothing else does.
        self._storage._bucket_metadata_cache = None
        self.base_url: str = self._storage.api_endpoint.rstrip("/")

    def close(self) -> None:
        """Give up all connections."""
        self._storage.close()
        self._bare.close()
        self._auth.close()

    def look(self, bucket: str, key: str) -> Found | None:
        """What lies at a key."""
        blob = self._storage.bucket(bucket).blob(key)
        try:
            self._repeat(lambda: blob.reload(timeout=self._timeout, retry=None))
        except NotFound:
            return None
        return Found(
            size=blob.size,
            generation=str(blob.generation),
            encoding=blob.content_encoding or "",
            metadata=blob.metadata or {},
        )

    def token(self, bucket: str, key: str) -> str | None:
        """A token that reads one object; None where there are no credentials."""
        tokens = self._tokens
        if tokens is None:
            return None
        return self._repeat(lambda: tokens.token(bucket, key))

    def begin(
        self,
        bucket: str,
        key: str,
        *,
        size: int,
        content_type: str,
        metadata: Mapping[str, str],
        replace: bool,
    ) -> str:
        """Begin a resumable upload of ``size`` bytes; answers the session's URL."""
        blob = self._storage.bucket(bucket).blob(key)
        blob.content_type = content_type
        blob.metadata = dict(metadata)
        # A repeated call leaves a session behind that nobody uses, which is nothing.
        session: str = self._repeat(
            lambda: blob.create_resumable_upload_session(
                content_type=content_type,
                size=size,
                checksum=None,
                if_generation_match=None if replace else 0,
                timeout=self._timeout,
                retry=None,
            )
        )
        return session

    def cancel(self, session: str) -> None:
        """End a resumable upload. One that has ended, in whatever way, is left alone."""

        def delete() -> None:
            # Without credentials: the URL is the power to do it.
            answer = self._bare.delete(session, timeout=self._timeout, allow_redirects=False)
            done = (_CANCELLED, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
            if not answer.ok and answer.status_code not in done:
                raise from_http_response(answer)

        self._repeat(delete)

    def delete_together(self, bucket: str, keys: Sequence[str]) -> list[str]:
        """Delete many objects with few requests; answers those of which that is not certain."""
        left: list[str] = []
        for first in range(0, len(keys), _BATCH):
            some = keys[first : first + _BATCH]
            left += self._delete_batch(bucket, some) if len(some) > 1 else some
        return left

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> list[str]:
        home = self._storage.bucket(bucket)
        batch = self._storage.batch(raise_exception=False)
        try:
            with batch:
                for key in keys:
                    home.blob(key).delete(timeout=self._timeout, retry=None)
        except (GoogleAPICallError, GoogleAuthError, requests.RequestException, ValueError):
            # A ValueError is an answer that cannot be read: emulators know no batches. What went
            # wrong with which key, and whether it helps to repeat it, one call for each tells.
            return list(keys)
        done = (HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND)
        answers = itertools.zip_longest(keys, batch._responses)
        return [key for key, answer in answers if answer is None or answer.status_code not in done]

    def delete(self, bucket: str, key: str, generation: str | None = None) -> None:
        """Delete an object, if there is one; of a generation only, where that is given."""
        blob = self._storage.bucket(bucket).blob(key)
        only = None if generation is None else int(generation)
        with contextlib.suppress(NotFound):
            self._repeat(
                lambda: blob.delete(if_generation_match=only, timeout=self._timeout, retry=None)
            )

    def _repeat(self, work: Callable[[], ResultT]) -> ResultT:
        return self._retry(work)()


def _credentials(config: GcsConfig) -> Credentials:
    if config.anonymous:
        return AnonymousCredentials()
    if config.credentials_file is None:
        found: tuple[Credentials, str | None] = google.auth.default(scopes=[SCOPE])
        return found[0]
    with warnings.catch_warnings():
        # The library warns of files that are not to be trusted; this one is the operator's.
        warnings.simplefilter("ignore", DeprecationWarning)
        given: tuple[Credentials, str | None] = google.auth.load_credentials_from_file(
            config.credentials_file, scopes=[SCOPE]
        )
    return given[0]


class _Adapter(requests.adapters.HTTPAdapter):
    """Trusts one authority, whatever the environment names for others."""

    def __init__(self, ca: str | None) -> None:
        super().__init__(pool_maxsize=_CONNECTIONS)
        self._ca = ca

    def send(self, *args: Any, **given: Any) -> requests.Response:
        """Send a request."""
        if self._ca is not None:
            given["verify"] = self._ca
        return super().send(*args, **given)


SessionT = TypeVar("SessionT", bound=requests.Session)


def _session(session: SessionT, ca: str | None) -> SessionT:
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(ca))
    return session
