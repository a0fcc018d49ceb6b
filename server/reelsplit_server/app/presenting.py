"""Jobs as callers see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar, cast

from reelsplit.types.job import Job, JobPhase, JobProgress, JobState
from reelsplit.types.record import Record
from reelsplit.types.spec import Input, JobSpec
from reelsplit_server.jobs.records import JobRecord, Standing
from reelsplit_server.storage.location import public

RecordT = TypeVar("RecordT", bound=Record)


def present(record: JobRecord, live: JobProgress | None) -> Job:
    """A job with its progress; ``live`` is what its meter said last, if it is being worked on."""
    return Job(
        job_id=record.job_id,
        state=record.state,
        spec=_as_named(_without_secrets(record.spec), record.media_id),
        error=record.error,
        source=record.source,
        progress=snapshot(record, live),
        notices=record.notices,
        reports=[replace(report, uri=public(report.uri)) for report in record.reports],
        attempt=record.attempt,
        owner=record.principal,
        create_time=record.create_time,
        start_time=record.start_time,
        end_time=record.end_time,
        expire_time=record.expire_time,
    )


def snapshot(record: Standing, live: JobProgress | None) -> JobProgress:
    """How far a job is, from its meter or, when nothing runs, from the store."""
    if live is not None and not record.ended:
        return replace(
            live,
            percent=max(live.percent, record.percent),
            segment_count=record.segment_count,
            published_count=record.published_count,
            failed_count=record.failed_count,
        )
    if record.ended:
        phase = JobPhase.DONE
    elif record.state is JobState.PENDING:
        phase = JobPhase.QUEUED
    else:
        phase = JobPhase.CUTTING if record.plan_complete else JobPhase.ANALYSING
    return JobProgress(
        percent=record.percent,
        phase=phase,
        analysed_fraction=1.0 if record.plan_complete else 0.0,
        segment_count=record.segment_count,
        published_count=record.published_count,
        failed_count=record.failed_count,
        plan_complete=record.plan_complete,
    )


def _without_secrets(spec: JobSpec) -> JobSpec:
    output, reports = spec.output, spec.reports
    if output is not None:
        output = _changed(
            output,
            uri_template=public(output.uri_template),
            endpoint=_public(output.endpoint),
        )
    if reports is not None:
        reports = _changed(
            reports,
            uri_template=_public(reports.uri_template),
            endpoint=_public(reports.endpoint),
            targets=tuple(
                _changed(target, uri_template=public(target.uri_template))
                for target in reports.targets
            ),
        )
    return _changed(
        spec,
        input=_changed(
            spec.input, uri=_public(spec.input.uri), endpoint=_public(spec.input.endpoint)
        ),
        output=output,
        reports=reports,
        notify_url=_public(spec.notify_url),
    )


def _changed(record: RecordT, **values: object) -> RecordT:
    """The record with other values; most hold no secret, and copies of all take long."""
    if all(getattr(record, name) == value for name, value in values.items()):
        return record
    made: RecordT = replace(cast(Any, record), **values)
    return made


def _as_named(spec: JobSpec, media_id: str | None) -> JobSpec:
    """With the input as the caller named it, where that was by the id of an asset."""
    return spec if media_id is None else replace(spec, input=Input(media_id=media_id))


def _public(text: str | None) -> str | None:
    return None if text is None else public(text)
