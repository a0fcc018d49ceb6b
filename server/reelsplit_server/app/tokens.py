"""Page and resume tokens: opaque to callers, and bound to what they were made for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence

from reelsplit_server.app.errors import AppError, Kind

_MAC = 12


class Sealer:
    """Makes tokens that only this server's database can have made."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, purpose: str, bound: Sequence[str], values: Sequence[str | int]) -> str:
        """A token that holds ``values``, good only for the same purpose and bounds."""
        data = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(purpose, bound, data) + data).decode().rstrip("=")

    def open(self, purpose: str, bound: Sequence[str], token: str, field: str) -> list[str | int]:
        """The values of a token; raises INVALID_TOKEN where it was not made for this."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            mac, data = raw[:_MAC], raw[_MAC:]
            if hmac.compare_digest(mac, self._mac(purpose, bound, data)):
                values: list[str | int] = json.loads(data)
                return values
        except ValueError:
            pass
        raise AppError(
            Kind.INVALID,
            "INVALID_TOKEN",
            f"{field} was not made by this server for this caller and these fields. Leave it "
            "empty to start over.",
            metadata={"field": field},
        )

    def _mac(self, purpose: str, bound: Sequence[str], data: bytes) -> bytes:
        message = json.dumps([purpose, *bound]).encode() + b"\0" + data
        return hmac.digest(self._key, message, hashlib.sha256)[:_MAC]
