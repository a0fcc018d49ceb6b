"""What goes wrong with S3 and its relatives: whether repeating helps, and how it is told."""

from __future__ import annotations

import re

import structlog
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from reelsplit_server.storage.errors import Side, StorageError, exists, failure
from reelsplit_server.storage.s3_codes import (
    AGAIN,
    BUSY,
    BUSY_STATUS,
    DENIED,
    ELSEWHERE,
    EXPIRED,
    NOTHING,
    SLOWED,
    TAKEN,
    UNKNOWN_KEY,
    code_of,
    region_in,
    status_of,
)

log = structlog.get_logger(__name__)

FAILURES = (BotoCoreError, ClientError, ResponseParserError, HTTPError)
"""All that the library raises; some of it derives from nothing else. The last comes through where
an answer breaks off in its body."""
_UNFINDABLE = (
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    UnknownCredentialError,
)
_UNRENEWED = (CredentialRetrievalError, MetadataRetrievalError, TokenRetrievalError)
_BROKEN = (ConnectionError, HTTPClientError, HTTPError)
_PASSING = (*_BROKEN, IncompleteReadError, ResponseParserError, *_UNRENEWED)
_CODE = re.compile(r"[A-Za-z0-9.]{1,60}")
_LATER = (
    "retry the job in a moment. If that does not help, the server's operator checks the store's "
    "endpoint."
)


def helps_to_repeat(error: Exception) -> bool:
    """Whether the same call may pass in a moment."""
    if isinstance(error, ClientError):
        code = code_of(error)
        if code in BUSY:
            return True
        # Errors that stand in the body of an answer 200 are given the status 500.
        refused = UNKNOWN_KEY | EXPIRED | DENIED | ELSEWHERE | AGAIN | NOTHING | TAKEN
        return status_of(error) in BUSY_STATUS and code not in refused
    if isinstance(error, SSLError):
        # A certificate does not get better, and a plain server does not learn TLS.
        return not any(
            word in str(error) for word in ("CERTIFICATE", "WRONG_VERSION", "certificate")
        )
    return isinstance(error, _PASSING)


def told(error: Exception, side: Side, bucket: str, label: str, where: str) -> StorageError:
    """How a caller is told. ``where`` is the store's host; what the store itself wrote is not
    shown, since it may hold what was signed."""
    if isinstance(error, ClientError):
        return _refusal(error, side, bucket, label, where)
    # Its text names files, profiles and addresses, which are for the operator alone.
    log.warning("s3_failed", uri=label, error=f"{type(error).__name__}: {error}"[:1000])
    if isinstance(error, _UNFINDABLE):
        text = (
            f"The server has no credentials for {where}; its operator sets them, or says that the "
            "store is read without any."
        )
        return failure(side, "FORBIDDEN", label, text)
    if isinstance(error, _UNRENEWED):
        text = (
            f"The server could not get its credentials for {where} renewed; retry the job in a "
            "moment."
        )
        return failure(side, "FORBIDDEN", label, text, transient=True)
    if isinstance(error, ParamValidationError):
        text = f"{bucket!r} and this key cannot be names of a bucket and an object at {where}."
        return failure(side, "NOT_FOUND" if side == "source" else "UNAVAILABLE", label, text)
    if isinstance(error, SSLError) and not helps_to_repeat(error):
        text = (
            f"{where} showed no certificate that this server trusts; its operator checks the "
            "endpoint and the CA of the store."
        )
        return failure(side, "UNAVAILABLE", label, text)
    if isinstance(error, ReadTimeoutError):
        text = f"{where} did not answer in time; {_LATER}"
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    if isinstance(error, _BROKEN):
        text = f"{where} cannot be reached; {_LATER}"
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    if helps_to_repeat(error):
        text = f"{where} gave an answer that cannot be read; {_LATER}"
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    text = (
        f"{where} cannot be used with these settings ({type(error).__name__}); the server's "
        "operator checks the store's endpoint, region and credentials."
    )
    return failure(side, "UNAVAILABLE", label, text)


def _refusal(error: ClientError, side: Side, bucket: str, label: str, where: str) -> StorageError:
    code = code_of(error)
    shown = code if _CODE.fullmatch(code) else "an unknown error"
    if code not in NOTHING:
        log.warning("s3_refused", uri=label, code=shown, status=status_of(error))
    if helps_to_repeat(error):
        slowed = code in SLOWED or status_of(error) == 429
        what = "asks for fewer requests" if slowed else "fails for the moment"
        text = f"{where} {what} ({shown}); retry the job later."
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    if code == "NoSuchBucket":
        text = f"There is no bucket {bucket} at {where}."
        return failure(side, "NOT_FOUND" if side == "source" else "UNAVAILABLE", label, text)
    if code in NOTHING and side == "source":
        return failure(side, "NOT_FOUND", label, "There is no such object.")
    if code in TAKEN and side == "output":
        return exists(label)
    if code in AGAIN:
        text = f"{where} no longer has the upload whole ({shown}); retry the job."
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    if code == "InvalidBucketName":
        text = f"{bucket!r} cannot be the name of a bucket at {where}."
        return failure(side, "NOT_FOUND" if side == "source" else "UNAVAILABLE", label, text)
    if code == "InvalidObjectState":
        return archived(label)
    if code == "RequestTimeTooSkewed":
        text = f"The clocks of this server and of {where} differ too much; set them right."
        return failure(side, "FORBIDDEN", label, text)
    if code in EXPIRED:
        text = f"The server's credentials for {where} have expired; its operator renews them."
        return failure(side, "FORBIDDEN", label, text)
    if code in ELSEWHERE:
        return failure(side, "UNAVAILABLE", label, _moved(error, bucket, where))
    if code in UNKNOWN_KEY:
        text = (
            f"{where} does not know the server's credentials ({shown}); its operator checks the "
            "access key, its secret and the region of the store."
        )
        return failure(side, "FORBIDDEN", label, text)
    if code in DENIED or status_of(error) in (401, 403):
        verb, rights = {
            "source": ("read", "s3:GetObject and s3:ListBucket"),
            "output": (
                "write",
                "s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload, "
                "s3:ListBucket, s3:ListBucketMultipartUploads and s3:ListMultipartUploadParts",
            ),
        }[side]
        text = (
            f"The server may not {verb} there ({shown}); in the bucket {bucket} it needs {rights}."
        )
        return failure(side, "FORBIDDEN", label, text)
    text = f"{where} refused the request with {shown} (status {status_of(error)})."
    return failure(side, "UNAVAILABLE", label, text)


def archived(label: str) -> StorageError:
    """The source has to be brought back from an archive first."""
    text = "It is archived, and cannot be read; restore it in its store, then retry the job."
    return failure("source", "UNAVAILABLE", label, text)


def _moved(error: ClientError, bucket: str, where: str) -> str:
    region = region_in(error)
    if region is None:
        return (
            f"{where} sends requests for the bucket {bucket} elsewhere; the server's operator "
            "checks the endpoint and the region of the store."
        )
    return (
        f"The bucket {bucket} lies in the region {region}, and is not to be had at {where}; the "
        "server's operator changes the region or the endpoint of the store."
    )
