"""Tokens for workers: each reads one object of Google Cloud Storage, and does nothing else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import requests
from google.auth import downscoped
from google.auth.credentials import Credentials
from google.auth.exceptions import TransportError
from google.auth.transport import Response
from google.auth.transport.requests import Request

from reelsplit_server.storage.gcs_errors import REPEATED

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What the server's own token is for. Google exchanges no narrower one for that of an object."""
_MOST = 1000
"""How many tokens are kept at the same time."""
_HALF = 1800
"""Half of the seconds that Google's tokens live: more is not asked of one that is given again."""

Ask = Callable[..., Response]


def asking(session: requests.Session, timeout: float) -> Ask:
    """What the library asks for tokens with: ``timeout`` is the longest silence in seconds, and
    answers that repeating can help are a `TransportError`, which it can tell from others."""
    request = Request(session)

    def ask(
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = timeout,
        **more: Any,
    ) -> Response:
        answer: Response = request(url, method, body, headers, timeout=timeout, **more)
        if answer.status in REPEATED:
            raise TransportError(f"the token service answered {answer.status}", retryable=True)
        return answer

    return ask


class Tokens:
    """Gives out tokens, the same one as long as it lives for some time. For several threads."""

    def __init__(self, credentials: Credentials, ask: Ask, lifetime: int) -> None:
        """``lifetime`` is how many seconds a token serves at least, up to half an hour."""
        self._credentials = credentials
        self._ask = ask
        self._least = min(lifetime, _HALF)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Credentials] = OrderedDict()

    def token(self, bucket: str, key: str) -> str:
        """A token that reads one object. Raises `GoogleAuthError`."""
        with self._lock:
            known = self._known.get((bucket, key))
        if known is not None and _left(known) > self._least:
            return str(known.token)
        made = downscoped.Credentials(
            self._credentials,
            _boundary(bucket, key),
            universe_domain=self._credentials.universe_domain,
        )
        made.refresh(self._ask)
        with self._lock:
            self._known[(bucket, key)] = made
            self._known.move_to_end((bucket, key))
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return str(made.token)


def _boundary(bucket: str, key: str) -> downscoped.CredentialAccessBoundary:
    name = f"projects/_/buckets/{bucket}/objects/{key}"
    text = name.replace("\\", "\\\\").replace("'", "\\'")
    rule = downscoped.AccessBoundaryRule(
        available_resource=f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        available_permissions=["inRole:roles/storage.objectViewer"],
        availability_condition=downscoped.AvailabilityCondition(f"resource.name == '{text}'"),
    )
    return downscoped.CredentialAccessBoundary([rule])


def _left(credentials: Credentials) -> float:
    """The seconds that a token still lives."""
    expiry: datetime | None = credentials.expiry
    if expiry is None:
        return 0.0
    return (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
