"""Reading the parts of requests that are not whole messages of the contract's types."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar, cast

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from reelsplit.classes import enum_prefix
from reelsplit.types.job import Job
from reelsplit.types.record import Record
from reelsplit.types.spec import JobSpec, UserDefined
from reelsplit.v1 import job_pb2, spec_pb2
from reelsplit.wire import to_message
from reelsplit_server.app.errors import Violation, invalid

_MANY = 200
_MOST_SPECS = 64
_specs: dict[str, spec_pb2.JobSpec] = {}
StateT = TypeVar("StateT", bound=StrEnum)
MessageT = TypeVar("MessageT", bound=Message)


def message(record: Record, kind: type[MessageT]) -> MessageT:
    """The message of a dataclass, as its own type."""
    made = to_message(record)
    assert isinstance(made, kind)
    return made


def is_large(spec: Message | JobSpec | None) -> bool:
    """Whether a spec takes so long to convert that other calls would wait for it."""
    if isinstance(spec, JobSpec):
        return isinstance(spec.mode, UserDefined) and len(spec.mode.ranges) > _MANY
    return spec is not None and spec.ByteSize() > _MANY * 16


async def job_message(job: Job) -> job_pb2.Job:
    """The message of a job. Specs never change, so those asked for lately are kept."""
    spec = _specs.pop(job.job_id, None)
    if spec is None and job.spec is not None:
        kind = spec_pb2.JobSpec
        if is_large(job.spec):
            spec = await asyncio.to_thread(message, job.spec, kind)
        else:
            spec = message(job.spec, kind)
    made = message(dataclasses.replace(job, spec=None), job_pb2.Job)
    if spec is not None:
        _specs[job.job_id] = spec
        while len(_specs) > _MOST_SPECS:
            del _specs[next(iter(_specs))]
        made.spec.CopyFrom(spec)
    return made


def states(
    kind: type[StateT],
    descriptor: EnumDescriptor,
    numbers: Iterable[int],
    violations: list[Violation],
) -> list[StateT]:
    """The states that a filter names; unknown ones are violations."""
    found = []
    for place, number in enumerate(numbers):
        known = descriptor.values_by_number.get(number)
        if known is None or number == 0:
            description = f"is {number}, which is not a known state"
            violations.append(Violation(field=f"states[{place}]", description=description))
        else:
            found.append(kind[known.name.removeprefix(enum_prefix(descriptor))])
    return found


def time(request: Message, name: str) -> datetime | None:
    """A timestamp field, or None where it is not set."""
    if not request.HasField(name):
        return None
    try:
        return cast(Timestamp, getattr(request, name)).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid([Violation(field=name, description="is no valid time")]) from None
