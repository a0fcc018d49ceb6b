"""What S3 and its relatives call their errors. Opens nothing, and loads no library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NOTHING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
"""There is no such object, as each store says it."""
TAKEN = frozenset({"412", "PreconditionFailed", "FileAlreadyExists"})
"""Something lies there already; the last is OSS's word for it."""
UNKNOWN_CALL = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
"""The store does not know the call, or a header of it."""

BUSY_STATUS = frozenset({429, 500, 502, 503, 504})
BUSY = frozenset(
    {
        "BandwidthLimitExceeded",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
SLOWED = BUSY - {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable"}
UNKNOWN_KEY = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnauthorizedAccess",
        "401",
    }
)
EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "SecurityTokenExpired",
        "TokenRefreshRequired",
    }
)
DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "Forbidden",
        "NotSignedUp",
        "UserDisable",
    }
)
ELSEWHERE = frozenset(
    {
        "301",
        "302",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
        "PermanentRedirect",
        "SecondLevelDomainForbidden",
        "TemporaryRedirect",
    }
)
AGAIN = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "EntityTooSmall",
        "InvalidPart",
        "InvalidPartOrder",
        "NoSuchUpload",
    }
)
"""What only a new upload puts right."""
_REGION = re.compile(r"[a-z0-9-]{2,40}", re.ASCII)


def code_of(error: BaseException) -> str:
    """What the store calls the error: a word, or the status of an answer without a body. Empty
    where no store has answered."""
    return str(said(error).get("Code", ""))


def status_of(error: BaseException) -> int:
    """The status of HTTP that came with an error; 0 where none did."""
    return int(_answer(error).get("HTTPStatusCode") or 0)


def header_of(error: BaseException, name: str) -> str:
    """A header, named in lower case, of the answer that an error came with."""
    return str(_answer(error).get("HTTPHeaders", {}).get(name, ""))


def retry_after(error: BaseException) -> float:
    """The seconds that a store asked to wait; 0 where it did not."""
    text = header_of(error, "retry-after")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def region_in(error: BaseException) -> str | None:
    """The region in which the bucket lies, where an error says that it is another one."""
    if code_of(error) not in ELSEWHERE:
        return None
    region = str(said(error).get("Region") or header_of(error, "x-amz-bucket-region"))
    return region if _REGION.fullmatch(region) else None


def said(error: BaseException) -> Mapping[str, Any]:
    """What the store wrote of an error. It may hold what was signed: never to be shown whole."""
    return _part(error, "Error")


def _answer(error: BaseException) -> Mapping[str, Any]:
    return _part(error, "ResponseMetadata")


def _part(error: BaseException, name: str) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    found = response.get(name) if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}
