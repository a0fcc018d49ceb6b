"""Who is calling: static bearer tokens, each with the name of its principal."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

LOCAL = "local"
"""The principal of every caller where no tokens are configured."""


class Principals:
    """Tells callers by their bearer tokens. Only digests of the tokens are kept."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = [(_digest(token), name) for name, token in tokens.items()]

    @property
    def required(self) -> bool:
        """Whether a call needs a token."""
        return bool(self._digests)

    def identify(self, authorization: str | None) -> str | None:
        """The principal of an ``Authorization`` value, or None where it is none of ours."""
        if not self.required:
            return LOCAL
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = _digest(token.strip())
        found = None
        for known, name in self._digests:
            # All are compared, so that the time tells nothing.
            if hmac.compare_digest(known, digest):
                found = name
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
