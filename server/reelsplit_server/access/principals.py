"""Who is calling: told by bearer tokens and client certificates."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.keys import KeyRing, digest

LOCAL = "local"
"""The principal of every caller where there are no credentials at all."""


class Principals:
    """Tells callers by what they show: a token of the settings, or that of an access key, or a
    certificate that stands for one. Only digests of the tokens are kept."""

    def __init__(self, tokens: Mapping[str, str], keys: KeyRing) -> None:
        self._digests = [(digest(token), name) for name, token in tokens.items()]
        self._keys = keys

    @property
    def required(self) -> bool:
        """Whether a call needs to show anything. The first key that is made shuts the door, and
        disabling it does not open it again."""
        return bool(self._digests) or not self._keys.empty

    @property
    def version(self) -> int:
        """What is another number once a caller may be identified otherwise than before."""
        return self._keys.version

    def identify(self, authorization: str | None, certificate: Sequence[str] = ()) -> Caller | None:
        """The caller of an ``Authorization`` value and of the names in its certificate, or None
        where it is none of ours. A token that is shown must be known, whatever the certificate."""
        if authorization is None:
            key = self._keys.by_certificate(certificate)
            if key is not None:
                return key.caller
            return None if self.required else Caller(principal=LOCAL)
        if not self.required:
            return Caller(principal=LOCAL)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        key = self._keys.by_token(token)
        if key is not None:
            return key.caller
        shown = digest(token)
        found = None
        for known, name in self._digests:
            # All are compared, so that the time tells nothing.
            if hmac.compare_digest(known, shown):
                found = name
        return None if found is None else Caller(principal=found)


def user_id(principal: str) -> int:
    """The number that stands for a principal where a number is asked for: 16 digits, the same
    for ever."""
    found = int.from_bytes(hashlib.sha256(principal.encode()).digest()[:8], "big")
    # Readers of JSON that know only doubles read it exactly.
    return 10**15 + found % (8 * 10**15)
