"""Lets requests in: signed by a known key, just now, for the first time, and not too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.keys import KeyRing
from reelsplit_server.access.nonces import Nonces, NoncesFullError, NonceUsedError
from reelsplit_server.ims.errors import THROTTLED, ImsError
from reelsplit_server.ims.received import Received
from reelsplit_server.ims.signatures import Claim, claim, mismatch

_SKEW = timedelta(minutes=15)
_MARGIN = timedelta(seconds=1)
"""How much longer a nonce is remembered than its request could come again."""
_NO_KEY = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that was let in; ``kept`` is done when it cannot be replayed any more, and is
    waited for before the answer."""

    caller: Caller
    action: str
    version: str
    kept: asyncio.Future[None]


class Gate:
    """``rate`` is how many requests a second one key may send on average, with a second's worth
    at once; None where there is no limit. ``clock`` tells the time in UTC."""

    def __init__(
        self, keys: KeyRing, nonces: Nonces, clock: Callable[[], datetime], rate: float | None
    ) -> None:
        self._keys = keys
        self._nonces = nonces
        self._clock = clock
        self._rate = rate
        self._used: dict[str, tuple[float, datetime]] = {}

    def admit(self, received: Received) -> Admitted:
        """Look at who sends a request; raises `ImsError`."""
        now = self._clock()
        shown = claim(received)
        key = self._keys.find(shown.key_id)
        if key is None:
            # As much work as for a known one, whose secret is not the one.
            shown.is_signed_with(_NO_KEY)
            raise ImsError(
                404, "InvalidAccessKeyId.NotFound", "There is no access key with this id here."
            )
        if not abs(shown.time - now) <= _SKEW:
            raise ImsError(
                400,
                "InvalidTimeStamp.Expired",
                f"The request was signed at {shown.time:%Y-%m-%dT%H:%M:%SZ}, more than 15 minutes "
                f"from the server's {now:%Y-%m-%dT%H:%M:%SZ}. Set the client's clock.",
            )
        secret = self._keys.secret(key)
        # A key without a secret signs nothing; that takes as long as a wrong one.
        if not shown.is_signed_with(secret or _NO_KEY) or secret is None:
            raise mismatch()
        if not key.active:
            # Told only to those who know the secret.
            raise ImsError(
                400, "InvalidAccessKeyId.Inactive", "The access key was disabled; take another."
            )
        self._check_rate(key.key_id, now)
        return Admitted(
            caller=key.caller,
            action=shown.action,
            version=shown.version,
            kept=self._take_nonce(shown, now),
        )

    def _take_nonce(self, shown: Claim, now: datetime) -> asyncio.Future[None]:
        try:
            return self._nonces.claim(
                shown.key_id, shown.nonce, now=now, expires=shown.time + _SKEW + _MARGIN
            )
        except NonceUsedError:
            raise ImsError(
                400,
                "SignatureNonceUsed",
                "The signature nonce was used before; sign each request with a new one, also "
                "when it is sent again.",
            ) from None
        except NoncesFullError:
            raise ImsError(
                400,
                THROTTLED,
                "This key has sent too many requests in the last minutes; send fewer.",
                retry_after=60.0,
            ) from None

    def _check_rate(self, key_id: str, now: datetime) -> None:
        """A bucket for each key, which fills at the rate and holds a second's worth."""
        if self._rate is None:
            return
        most = max(1.0, self._rate)
        left, since = self._used.get(key_id, (most, now))
        passed = max(0.0, (now - since).total_seconds())
        left = min(most, left + passed * self._rate)
        if left < 1.0:
            raise ImsError(
                400,
                THROTTLED,
                f"This key may send {self._rate:g} requests a second; wait a moment.",
                retry_after=(1.0 - left) / self._rate,
            )
        self._used[key_id] = (left - 1.0, now)
