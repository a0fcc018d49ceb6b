"""What the server counts about itself, as Prometheus reads it.

Every layer counts here directly, and so this imports nothing of ours. Labels take only values
that this program itself knows: no ids, names of callers, buckets or addresses.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# --- Jobs ------------------------------------------------------------------------------------

JOBS = Gauge("reelsplit_jobs", "Jobs that are kept, by state.", ["state"], registry=REGISTRY)
JOBS_SUBMITTED = Counter(
    "reelsplit_jobs_submitted", "Jobs that were taken into the queue.", registry=REGISTRY
)
JOBS_ENDED = Counter(
    "reelsplit_jobs_ended",
    "Jobs that ended, by their last state; one that is run again ends again.",
    ["state"],
    registry=REGISTRY,
)
QUEUE_AGE = Gauge(
    "reelsplit_queue_age_seconds",
    "How long the oldest waiting job has waited; 0 where none waits.",
    registry=REGISTRY,
)
JOB_SECONDS = Histogram(
    "reelsplit_job_duration_seconds",
    "From the begin of a job's work to its end, by its last state.",
    ["state"],
    buckets=_LONG,
    registry=REGISTRY,
)

# --- Units of work ---------------------------------------------------------------------------

UNIT_SECONDS = Histogram(
    "reelsplit_unit_duration_seconds",
    "One try of a unit of work, by its kind and by what came of it.",
    ["kind", "outcome"],
    buckets=_LONG,
    registry=REGISTRY,
)
RETRIES = Counter(
    "reelsplit_unit_retries",
    "Units that are tried again after a try that failed.",
    ["kind"],
    registry=REGISTRY,
)
WORKER_DEATHS = Counter(
    "reelsplit_worker_deaths",
    "Worker processes that ended before their unit did, by the cause.",
    ["cause"],
    registry=REGISTRY,
)
WORKERS = Gauge("reelsplit_workers", "Units that can run at the same time.", registry=REGISTRY)
WORKERS_BUSY = Gauge("reelsplit_workers_busy", "Workers that have a unit.", registry=REGISTRY)

# --- What went through -----------------------------------------------------------------------

FRAMES = Counter(
    "reelsplit_frames",
    "Frames of video: analysed, or in published segments copied or encoded.",
    ["work"],
    registry=REGISTRY,
)
BYTES_READ = Counter(
    "reelsplit_source_read_bytes",
    "Bytes that workers took from sources.",
    registry=REGISTRY,
)
BYTES_WRITTEN = Counter(
    "reelsplit_published_bytes",
    "Bytes of what was published: segments and reports.",
    ["kind"],
    registry=REGISTRY,
)
SEGMENTS = Counter(
    "reelsplit_segments",
    "Segments that ended: failed, or published as copied, encoded, or both in parts (mixed).",
    ["outcome"],
    registry=REGISTRY,
)
SEGMENTS_VERIFIED = Counter(
    "reelsplit_segments_verified",
    "Published segments that were read again and checked before.",
    registry=REGISTRY,
)

# --- Store -----------------------------------------------------------------------------------

COMMIT_SECONDS = Histogram(
    "reelsplit_commit_duration_seconds",
    "One transaction of the database, with all the writes that share it.",
    buckets=_QUICK,
    registry=REGISTRY,
)
COMMIT_WRITES = Histogram(
    "reelsplit_commit_writes",
    "Writes that shared one transaction.",
    buckets=_SIZES,
    registry=REGISTRY,
)
COMMITS_FAILED = Counter(
    "reelsplit_commits_failed",
    "Transactions that the database did not take.",
    registry=REGISTRY,
)
STORE_AVAILABLE = Gauge(
    "reelsplit_store_available",
    "1 where the last transaction was taken, 0 where it was not.",
    registry=REGISTRY,
)

# --- Callers ---------------------------------------------------------------------------------

CALLS = Counter(
    "reelsplit_calls",
    "Calls that were answered, by method and by code: the gRPC one, or the HTTP status.",
    ["face", "method", "code"],
    registry=REGISTRY,
)
CALL_SECONDS = Histogram(
    "reelsplit_call_duration_seconds",
    "How long calls took that are answered once, by method.",
    ["face", "method"],
    buckets=_QUICK,
    registry=REGISTRY,
)
WATCHERS = Gauge(
    "reelsplit_watchers", "Watches that are open, by method.", ["method"], registry=REGISTRY
)
WATCHERS_LIMIT = Gauge(
    "reelsplit_watchers_limit", "Watches that may be open at once.", registry=REGISTRY
)

# --- Callbacks -------------------------------------------------------------------------------

CALLBACKS = Counter(
    "reelsplit_callbacks",
    "Tries to deliver a callback: delivered, failed, or given_up with the last one.",
    ["outcome"],
    registry=REGISTRY,
)
CALLBACKS_WAITING = Gauge(
    "reelsplit_callbacks_waiting",
    "Callbacks that are still to be delivered, counted up to 10,000.",
    registry=REGISTRY,
)

# Rates are taken of what is there from the begin on.
for _cause in ("crashed", "killed", "memory", "stalled", "exited"):
    WORKER_DEATHS.labels(_cause)
for _outcome in ("delivered", "failed", "given_up"):
    CALLBACKS.labels(_outcome)
for _outcome in ("copied", "encoded", "mixed", "failed"):
    SEGMENTS.labels(_outcome)
for _work in ("analysed", "copied", "encoded"):
    FRAMES.labels(_work)
for _state in ("SUCCEEDED", "FAILED", "CANCELLED"):
    JOBS_ENDED.labels(_state)
STORE_AVAILABLE.set(1)


def committed(writes: int, seconds: float) -> None:
    """The database has taken a transaction."""
    COMMIT_SECONDS.observe(seconds)
    COMMIT_WRITES.observe(writes)
    STORE_AVAILABLE.set(1)


def not_committed() -> None:
    """The database has not taken a transaction."""
    COMMITS_FAILED.inc()
    STORE_AVAILABLE.set(0)
