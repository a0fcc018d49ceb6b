"""What a callback says, and how it is signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC
from fractions import Fraction

from reelsplit.types.event import JobEvent, JobStateChanged, SegmentChanged
from reelsplit.types.job import JobState
from reelsplit_server.access.principals import user_id
from reelsplit_server.notify.accounts import EventNames
from reelsplit_server.notify.entries import Entry

TIMESTAMP, SIGNATURE = "X-ICE-TIMESTAMP", "X-ICE-SIGNATURE"
"""The headers of the original: seconds since 1970, and the MD5 of address, time and key."""
BODY_SIGNATURE = "X-Reelsplit-Signature"
"""``sha256=`` and the HMAC-SHA256, under the same key, of the time, a dot and the body."""
EVENT_ID = "X-Reelsplit-Event-Id"
"""The same for each repetition of one event."""


def event_id(event: JobEvent) -> str:
    """The name of an event; no two have the same."""
    return f"{event.job_id}-{event.sequence}"


def body(entry: Entry, names: EventNames) -> bytes:
    """The JSON of a callback: the same bytes at each try."""
    event = entry.event
    assert event.event_time is not None
    message: dict[str, object] = {
        "JobId": event.job_id,
        "UserData": entry.user_data or "",
        "EventId": event_id(event),
    }
    match event.event:
        case JobStateChanged() as changed:
            name = names.job
            message |= _end(changed)
        case SegmentChanged() as changed:
            name = names.segment
            message |= _segment(changed)
        case other:
            raise TypeError(f"{type(other).__name__} is not told to callers")
    return json.dumps(
        {
            "EventType": name,
            "UserId": user_id(entry.principal),
            "EventTime": event.event_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "MessageBody": message,
        },
        separators=(",", ":"),
    ).encode()


def headers(entry: Entry, content: bytes, secret: str | None, timestamp: int) -> dict[str, str]:
    """The headers of a callback; without a secret it is not signed."""
    made = {
        "Content-Type": "application/json",
        "User-Agent": "reelsplit",
        EVENT_ID: event_id(entry.event),
    }
    if secret is not None:
        covered = f"{entry.url}|{timestamp}|{secret}".encode()
        key, signed = secret.encode(), f"{timestamp}.".encode() + content
        made |= {
            TIMESTAMP: str(timestamp),
            SIGNATURE: hashlib.md5(covered, usedforsecurity=False).hexdigest(),
            BODY_SIGNATURE: "sha256=" + hmac.digest(key, signed, "sha256").hex(),
        }
    return made


def _end(changed: JobStateChanged) -> dict[str, object]:
    told: dict[str, object] = {
        "Status": "Success" if changed.state is JobState.SUCCEEDED else "Failed",
        "State": changed.state.value,
        "Attempt": changed.attempt,
    }
    if changed.state is JobState.CANCELLED:
        told |= {"ErrorCode": "CANCELLED", "ErrorMessage": "The job was cancelled."}
    elif changed.error is not None:
        told |= {"ErrorCode": changed.error.reason, "ErrorMessage": changed.error.message}
    return told


def _segment(changed: SegmentChanged) -> dict[str, object]:
    segment = changed.segment
    assert segment is not None
    told: dict[str, object] = {
        "Status": "Success",
        "Index": segment.index,
        "Uri": segment.uri,
        "SizeBytes": segment.size_bytes,
    }
    if segment.bounds is not None:
        told |= {"Start": _seconds(segment.bounds.start_offset)}
        told |= {"End": _seconds(segment.bounds.end_offset)}
    return told


def _seconds(value: Fraction | float | None) -> float:
    return round(float(value or 0), 6)
