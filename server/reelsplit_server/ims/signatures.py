"""The two signature schemes of the dialect. Pure: who has which secret is known elsewhere."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from reelsplit_server.ims.errors import ImsError, invalid, missing
from reelsplit_server.ims.received import Pairs, Received, parameters

_ACS3 = "ACS3-HMAC-SHA256"
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_FIELDS = re.compile(r"Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([^,\s]+)")
_NEEDED = (
    *("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date"),
    *("x-acs-signature-nonce", "x-acs-version"),
)
_TOKEN = "x-acs-security-token"  # noqa: S105
_MOST_NONCE = 128
_MOST_KEY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who a request says that it comes from, what it is for, and how that is proved."""

    key_id: str
    nonce: str
    time: datetime
    action: str
    version: str
    security_token: str | None
    _text: bytes
    _signature: str
    _is_v1: bool

    def is_signed_with(self, secret: str) -> bool:
        """Whether the request was signed with a secret; takes the same time in both cases."""
        if self._is_v1:
            made = hmac.digest(f"{secret}&".encode(), self._text, hashlib.sha1)
            expected = base64.b64encode(made)
        else:
            expected = hmac.digest(secret.encode(), self._text, hashlib.sha256).hex().encode()
        # As texts: one signature has one spelling.
        return hmac.compare_digest(expected, self._signature.encode())


def claim(received: Received) -> Claim:
    """What a request claims; raises `ImsError` where that cannot be read. Nothing is proved yet."""
    authorization = received.headers.get("authorization", "")
    scheme, _, rest = authorization.partition(" ")
    if scheme == _ACS3:
        return _acs3(received, rest)
    if authorization:
        raise ImsError(
            400,
            "InvalidSignatureMethod",
            f"Authorization has a scheme that is not taken; sign with {_ACS3}, or with HMAC-SHA1 "
            "in the query.",
        )
    return _v1(received)


def escaped(text: str) -> str:
    """Percent-encoded as signatures are made of: all but letters, digits and ``-_.~``."""
    return quote(text, safe="-_.~")


def canonical(pairs: Pairs) -> str:
    """Parameters sorted and encoded."""
    # One after the other, since a value may be long: encoding is most of the work of a check.
    return "&".join(f"{escaped(name)}={escaped(value)}" for name, value in sorted(pairs))


def _acs3(received: Received, rest: str) -> Claim:
    fields = _FIELDS.fullmatch(rest.strip())
    if fields is None:
        raise mismatch("Authorization is not Credential=…,SignedHeaders=…,Signature=…")
    key_id, signed_text, signature = fields.groups()
    signed = signed_text.split(";")
    headers = received.headers
    for name in _NEEDED:
        if not headers.get(name):
            # Without an action there is nothing to answer; without the rest nothing is proved.
            code = "MissingAction" if name == "x-acs-action" else "MissingParameter"
            raise ImsError(400, code, f"The header {name} is required.")
        if name not in signed:
            raise mismatch(f"the header {name} is not among the signed ones")
    if _TOKEN in headers and _TOKEN not in signed:
        raise mismatch(f"the header {_TOKEN} is not among the signed ones")
    if absent := [name for name in signed if name not in headers]:
        raise mismatch(f"the signed header {absent[0][:64]} is missing")
    if len(set(signed)) != len(signed):
        raise mismatch("a header is named twice among the signed ones")
    content = headers["x-acs-content-sha256"]
    if not hmac.compare_digest(
        hashlib.sha256(received.body).hexdigest().encode(), content.encode()
    ):
        raise mismatch("x-acs-content-sha256 is not the hash of the body")
    named = headers.get("x-acs-accesskey-id")
    if named is not None and named != key_id:
        raise mismatch("x-acs-accesskey-id and Credential differ")
    lines = "".join(f"{name}:{headers[name]}\n" for name in signed)
    # A prefix in an endpoint's path is no part of what is signed.
    request = "\n".join(
        (received.method, "/", canonical(received.query), lines, signed_text, content)
    )
    digest = hashlib.sha256(_bytes(request)).hexdigest()
    return Claim(
        key_id=_key(key_id),
        nonce=_nonce(headers["x-acs-signature-nonce"]),
        time=_time(headers["x-acs-date"], "x-acs-date"),
        action=headers["x-acs-action"],
        version=headers["x-acs-version"],
        security_token=headers.get(_TOKEN),
        _text=f"{_ACS3}\n{digest}".encode(),
        _signature=signature,
        _is_v1=False,
    )


def _v1(received: Received) -> Claim:
    given = parameters(received)
    if "Action" not in given:
        if "x-acs-action" not in received.headers:
            raise ImsError(400, "MissingAction", "Action is required.")
        raise missing("Authorization", "or Action and Signature are required: sign the request")
    for name in ("AccessKeyId", "Signature", "SignatureNonce", "Timestamp", "Version"):
        if name not in given:
            raise missing(name)
    method, version = given.get("SignatureMethod", ""), given.get("SignatureVersion", "")
    if method != "HMAC-SHA1" or version != "1.0" or given.get("SignatureType"):
        raise ImsError(
            400,
            "InvalidSignatureMethod",
            "SignatureMethod must be HMAC-SHA1, SignatureVersion 1.0 and SignatureType absent; "
            f"or sign with {_ACS3} in the header Authorization.",
        )
    pairs = [pair for pair in (*received.query, *received.form) if pair[0] != "Signature"]
    text = f"{received.method}&{escaped('/')}&{escaped(canonical(pairs))}"
    return Claim(
        key_id=_key(given["AccessKeyId"]),
        nonce=_nonce(given["SignatureNonce"]),
        time=_time(given["Timestamp"], "Timestamp"),
        action=given["Action"],
        version=given["Version"],
        security_token=given.get("SecurityToken"),
        _text=text.encode(),
        _signature=given["Signature"],
        _is_v1=True,
    )


def mismatch(
    why: str = "the signature is not that of this request and this key's secret",
) -> ImsError:
    """The signature proves nothing."""
    return ImsError(
        400,
        "SignatureDoesNotMatch",
        f"The request is not signed as it should be: {why}. Check the secret, and that nothing "
        "between client and server changes requests.",
    )


def _key(text: str) -> str:
    if len(text) > _MOST_KEY:
        raise invalid("The access key id", f"is longer than {_MOST_KEY} characters")
    return text


def _nonce(text: str) -> str:
    if len(text) > _MOST_NONCE:
        raise invalid("The signature nonce", f"is longer than {_MOST_NONCE} characters")
    return text


def _time(text: str, name: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found is not None:
        year, month, day, hour, minute, second = map(int, found.groups())
        with contextlib.suppress(ValueError):
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    raise ImsError(
        400,
        "InvalidTimeStamp.Format",
        f"{name} is not a time as 2026-01-31T12:00:00Z, in UTC.",
    )


def _bytes(text: str) -> bytes:
    # Headers were read as Latin-1, and hold what bytes they like; the rest is ASCII.
    return text.encode("latin-1")
