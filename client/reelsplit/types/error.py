"""Generated from reelsplit/v1/error.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from reelsplit.types.record import Record


class ErrorReason(enum.StrEnum):
    """ErrorReason lists every stable reason, for failing calls and for failed jobs and
    segments alike.
    """

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    INVALID_FIELD = "INVALID_FIELD"
    """A request field is wrong; the BadRequest detail names each one. Metadata: none."""

    NOT_SUPPORTED = "NOT_SUPPORTED"
    """The request asks for something that this server does not support. Metadata: `feature`."""

    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    """No job of this caller has this id. Metadata: `job_id`."""

    MEDIA_NOT_FOUND = "MEDIA_NOT_FOUND"
    """No media asset of this caller has this id. Metadata: `media_id`."""

    CLIENT_TOKEN_REUSED = "CLIENT_TOKEN_REUSED"
    """The client token was used for a different request. Metadata: `job_id`, the first job's."""

    JOB_STATE = "JOB_STATE"
    """The job's state does not allow the call. Metadata: `job_id`, `state`."""

    INVALID_TOKEN = "INVALID_TOKEN"
    """A page token or resume token was not made by this server, or for another caller or
    filter. Metadata: `field`.
    """

    TOKEN_TOO_OLD = "TOKEN_TOO_OLD"
    """The resume token is older than the events that are kept, or of a later state of a
    database that was put back from a backup since. Metadata: none.
    """

    UNAUTHENTICATED = "UNAUTHENTICATED"
    """The call carries no credentials, or unknown ones. Metadata: none."""

    PERMISSION_DENIED = "PERMISSION_DENIED"
    """The caller may not do this. Metadata: `permission`; `reach` where the caller's key may
    not read or write the places of the job.
    """

    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    """Too many calls are under way. Metadata: `limit`."""

    TOO_MANY_WATCHES = "TOO_MANY_WATCHES"
    """The caller has too many watches open. Metadata: `limit`."""

    TOO_MANY_JOBS = "TOO_MANY_JOBS"
    """Too many jobs are queued. Metadata: `limit`."""

    SHUTTING_DOWN = "SHUTTING_DOWN"
    """The server is shutting down; the same call can be sent again soon. Metadata: none."""

    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    """The server's own storage of jobs failed. Metadata: none."""

    INTERNAL = "INTERNAL"
    """A fault of the server. Metadata: none."""

    TOO_MANY_JOBS_OF_CALLER = "TOO_MANY_JOBS_OF_CALLER"
    """Too many jobs of this caller are queued. Metadata: `limit`."""

    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    """There is nothing at the source's location. Metadata: `uri`."""

    SOURCE_FORBIDDEN = "SOURCE_FORBIDDEN"
    """The server may not read the source. Metadata: `uri`."""

    SOURCE_UNREADABLE = "SOURCE_UNREADABLE"
    """The source cannot be parsed as a video file. Metadata: `detail`."""

    SOURCE_FORMAT_REFUSED = "SOURCE_FORMAT_REFUSED"
    """The source is of a kind that is refused: a playlist or manifest. Metadata: none."""

    SOURCE_NO_VIDEO = "SOURCE_NO_VIDEO"
    """The source holds no video stream. Metadata: `streams`."""

    SOURCE_CHANGED = "SOURCE_CHANGED"
    """The source changed while the job was running. Metadata: `uri`."""

    SOURCE_TOO_LARGE = "SOURCE_TOO_LARGE"
    """The source exceeds a limit of this server. Metadata: `limit`, `value`."""

    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"
    """Reading the source failed. Metadata: `uri`."""

    SOURCE_DAMAGED = "SOURCE_DAMAGED"
    """Nothing of the range could be decoded. Metadata: none."""

    RANGE_OUTSIDE_SOURCE = "RANGE_OUTSIDE_SOURCE"
    """The range, or the part to analyse, holds no frame of the source. Metadata:
    `source_duration`.
    """

    RANGE_OVERLAPS_END = "RANGE_OVERLAPS_END"
    """The range overlaps the end of the source, and strict ranges were asked for. Metadata:
    `source_duration`.
    """

    TOO_MANY_SEGMENTS = "TOO_MANY_SEGMENTS"
    """The plan holds more segments than allowed. Metadata: `limit`."""

    CROP_OUTSIDE_SOURCE = "CROP_OUTSIDE_SOURCE"
    """The crop lies outside of the source's picture. Metadata: `width`, `height`."""

    DETECTOR_REFUSED = "DETECTOR_REFUSED"
    """The detector refuses its settings for this source. Metadata: none."""

    OUTPUT_EXISTS = "OUTPUT_EXISTS"
    """There is already an object at the output's location. Metadata: `uri`."""

    OUTPUT_FORBIDDEN = "OUTPUT_FORBIDDEN"
    """The server may not write to the output's location. Metadata: `uri`."""

    OUTPUT_UNAVAILABLE = "OUTPUT_UNAVAILABLE"
    """Writing the output failed. Metadata: `uri`."""

    DISK_FULL = "DISK_FULL"
    """There is no space left for the output or for working files. Metadata: none."""

    OUTPUT_COLLISION = "OUTPUT_COLLISION"
    """The segment would be written over the source itself. Metadata: `uri`."""

    OUTPUT_TOO_LARGE = "OUTPUT_TOO_LARGE"
    """A file would be larger than this server's limit for one file. Metadata: `limit`, in
    bytes.
    """

    ENCODER_REFUSED = "ENCODER_REFUSED"
    """The encoder refuses the settings for this source. Metadata: `encoder`, `detail`."""

    COPY_IMPOSSIBLE = "COPY_IMPOSSIBLE"
    """The frames cannot be copied into this container. Metadata: `codec`, `container`."""

    CONTAINER_REFUSED = "CONTAINER_REFUSED"
    """The container refuses what would be written into it. Metadata: `detail`."""

    VERIFICATION_FAILED = "VERIFICATION_FAILED"
    """The segment that was written did not pass its check. Metadata: `detail`."""

    WORKER_DIED = "WORKER_DIED"
    """Worker processes died each time they tried this. Metadata: `tries`, and where they were
    killed `signal`, such as `SIGSEGV`.
    """

    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The job or the segment took longer than its timeout. Metadata: `timeout`."""

    SKIPPED_AFTER_FAILURE = "SKIPPED_AFTER_FAILURE"
    """The segment was not tried, since another failed and fail_fast was asked for. Metadata:
    `segment_index`, the one that failed.
    """

    SEGMENTS_FAILED = "SEGMENTS_FAILED"
    """Some segments failed; each carries its own error. Metadata: `failed`, `total`,
    `indexes` (the first hundred).
    """

    CANCELLED = "CANCELLED"
    """The job was cancelled before the segment was published. Metadata: none."""

    WORKER_STALLED = "WORKER_STALLED"
    """Worker processes showed no sign of life for too long each time they tried this.
    Metadata: `tries`, `timeout`.
    """

    WORKER_OUT_OF_MEMORY = "WORKER_OUT_OF_MEMORY"
    """Worker processes took more memory than this server's limit for one each time they tried
    this. Metadata: `tries`, `limit` in bytes.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Error(Record):
    """Error says why a job or one of its segments failed. Calls that fail carry the same
    reasons in the `google.rpc.ErrorInfo` of their status, with the domain `reelsplit`.
    """

    reason: str = ""
    """Output only. A value of ErrorReason without its prefix, for example
    `RANGE_OUTSIDE_SOURCE`. A string, so that a client meets no unknown number when reasons
    are added.
    """

    message: str = ""
    """Output only. One sentence for a person, which says what to do. It never holds
    credentials.
    """

    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Output only. The facts behind the reason; each value of ErrorReason lists its keys."""
