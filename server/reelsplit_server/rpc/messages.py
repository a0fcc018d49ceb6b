"""Reading the parts of requests that are not whole messages of the contract's types."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar, cast

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from reelsplit.types.record import Record
from reelsplit.wire import enum_prefix, to_message

from reelsplit_server.app.errors import Violation, invalid

StateT = TypeVar("StateT", bound=StrEnum)
MessageT = TypeVar("MessageT", bound=Message)


def message(record: Record, kind: type[MessageT]) -> MessageT:
    """The message of a dataclass, as its own type."""
    made = to_message(record)
    assert isinstance(made, kind)
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
