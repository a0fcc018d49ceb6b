"""From the errors of the SDK to what the user typed."""

from __future__ import annotations

import re

from reelsplit import errors
from reelsplit.cli.failures import ExitCode, Failure, Problem
from reelsplit.cli.times import format_time
from reelsplit.types.job import Job, JobState
from reelsplit.types.spec import JobSpec, UserDefined

_FLAGS = {
    "mode": "mode",
    "input": "INPUT",
    "output": "TEMPLATE",
    "user_defined": "--ranges",
    "user_defined.strict_ranges": "--strict-ranges",
    "fixed_interval": "--every",
    "shot_detection": "--shots",
    "shot_detection.min_shot_duration": "--min-shot",
    "shot_detection.max_shot_duration": "--max-shot",
    "shot_detection.transition_policy": "--transition",
    "shot_detection.crop": "--crop",
    "shot_detection.downscale": "--downscale",
    "shot_detection.skip_letterbox": "--skip-letterbox",
    "shot_detection.reelsplit.effort": "--effort",
    "shot_detection.reelsplit.sensitivity": "--sensitivity",
    "shot_detection.reelsplit.footage": "--footage",
    "shot_detection.start_offset": "--start",
    "shot_detection.end_offset": "--end",
    **{
        f"shot_detection.{name}": "--detector"
        for name in ("adaptive", "content", "threshold", "hash", "histogram")
    },
    **{
        f"shot_detection.{name}.threshold": "--threshold"
        for name in ("adaptive", "content", "threshold", "hash", "histogram")
    },
    "output.width": "--width",
    "output.height": "--height",
    "output.cut_mode": "--cut",
    "output.overwrite_policy": "--overwrite",
    "output.video.codec": "--codec",
    "output.video.crf": "--crf",
    "output.video.bit_rate": "--bitrate",
    "output.video.preset": "--preset",
    "output.video.gop": "--gop",
    "output.video.frame_rate": "--fps",
    "output.video.profile": "--profile",
    "output.video.pixel_format": "--pixel-format",
    "output.audio.codec": "--audio",
    "output.audio.bit_rate": "--audio-bitrate",
    "reports": "--report",
    "reports.overwrite_policy": "--overwrite",
    "labels": "--label",
    "timeout": "--timeout",
    "fail_fast": "--fail-fast",
    "notify_url": "--notify",
    "notify_segments": "--notify-segments",
    "job_id": "JOB_ID",
}
_RANGE = re.compile(r"user_defined\.ranges\[(\d+)\]")


def flag(field: str, spec: JobSpec | None = None) -> str:
    """The flag that a field of the request came from; the field itself where there is none."""
    path = field.removeprefix("spec.")
    one = _RANGE.match(path)
    if one is not None and spec is not None and isinstance(spec.mode, UserDefined):
        ranges, place = spec.mode.ranges, int(one[1])
        if place < len(ranges):
            start, end = ranges[place].start_offset, ranges[place].end_offset
            return f"range {place} ({format_time(start)}-{format_time(end)})"
    known = path
    while known:
        if known in _FLAGS:
            return _FLAGS[known]
        # `a.b[3].c` is part of `a.b[3]`, that of `a.b`, and that of `a`.
        known = known[: max(known.rfind("."), known.rfind("["), 0)]
    return field


def explain(error: errors.ReelsplitError, spec: JobSpec | None = None) -> Failure:
    """The failure that a failed call leads to."""
    problems: list[Problem] = []
    code = ExitCode.FAILED
    match error:
        case errors.InvalidRequestError():
            code = ExitCode.USAGE
            problems = [
                Problem(place=flag(item.field, spec), text=item.description)
                for item in error.violations
            ]
        case errors.UnavailableError() | errors.DeadlineExceededError():
            code = ExitCode.UNREACHABLE
    message = error.message
    if isinstance(error, errors.UnauthenticatedError):
        message += " (pass --token, or set REELSPLIT_TOKEN)"
    return Failure(code, message, reason=error.reason, problems=problems, metadata=error.metadata)


def job_failure(job: Job) -> Failure | None:
    """The failure that an ended job leads to; None for one that succeeded."""
    if job.state is JobState.SUCCEEDED:
        return None
    word = "was cancelled" if job.state is JobState.CANCELLED else "failed"
    if job.error is None or not job.error.message:
        return Failure(ExitCode.FAILED, f"the job {word}", reason=job.state.value)
    return Failure(
        ExitCode.FAILED,
        job.error.message,
        reason=job.error.reason,
        metadata=job.error.metadata,
    )
