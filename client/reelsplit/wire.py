"""Between the dataclasses of `reelsplit.types` and the protobuf messages of `reelsplit.v1`.

Driven by the descriptors, so that there is no second list of fields: a message and its dataclass
have the same name, and so have their fields; a oneof of messages is one field of the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC
from enum import StrEnum
from fractions import Fraction
from numbers import Rational
from types import ModuleType
from typing import Any, TypeVar, cast

from google.protobuf import unknown_fields
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from reelsplit import types
from reelsplit.types import error, event, job, media, output, segment, spec
from reelsplit.types.record import Record, Seconds
from reelsplit.v1 import (
    error_pb2,
    event_pb2,
    job_pb2,
    media_pb2,
    output_pb2,
    segment_pb2,
    spec_pb2,
)

RecordT = TypeVar("RecordT", bound=Record)
_MODULES: dict[ModuleType, ModuleType] = {
    error: error_pb2,
    event: event_pb2,
    job: job_pb2,
    media: media_pb2,
    output: output_pb2,
    segment: segment_pb2,
    spec: spec_pb2,
}
_NANOS = 10**9

Problem = Callable[[str, str], None]
"""Called with the path of a field and a sentence that says what is wrong with it."""


def to_message(record: Record) -> Message:
    """The protobuf message of a dataclass."""
    message: Message = _message_class(cast(Hashable, type(record)))()
    _write(message, record)
    return message


def _write(message: Message, record: Record) -> None:
    fields = _fields_by_name(message)
    for item in dataclasses.fields(cast(Any, record)):
        value = getattr(record, item.name)
        if value is None:
            continue
        field = fields.get(item.name)
        if field is None:
            # A oneof of messages: the member is told by the type of the value.
            field = _oneof_member(message, item.name, type(value))
        _set(message, field, value)


def from_message(
    cls: type[RecordT], message: Message, problem: Problem | None = None, path: str = ""
) -> RecordT:
    """The dataclass of a protobuf message.

    Enum values that are not known become UNSPECIFIED, and fields that are not known are passed
    over, unless ``problem`` is given to hear of them.
    """
    if problem is not None:
        # Its stub does not say that it can be iterated over.
        for unknown in cast(Any, unknown_fields.UnknownFieldSet(message)):
            problem(path, f"field number {unknown.field_number} is not known to this server")
    fields = _fields_by_name(message)
    values: dict[str, object] = {}
    for item in dataclasses.fields(cast(Any, cls)):
        field = fields.get(item.name)
        if field is None:
            member = message.WhichOneof(item.name)
            field = fields[member] if member else None
        if field is None or (field.has_presence and not message.HasField(field.name)):
            values[item.name] = None
        else:
            here = f"{path}.{field.name}" if path else field.name
            values[item.name] = _get(message, field, problem, here)
    return cls(**values)


def set_duration(target: Duration, value: Seconds) -> None:
    """Write a time in seconds, rounded to the nanosecond."""
    nanos = round(Fraction(value) * _NANOS)
    # Both parts of a negative duration are negative.
    whole, rest = divmod(abs(nanos), _NANOS)
    sign = -1 if nanos < 0 else 1
    target.seconds, target.nanos = sign * whole, sign * rest


def _fields_by_name(message: Message) -> Mapping[str, FieldDescriptor]:
    return cast(Mapping[str, FieldDescriptor], message.DESCRIPTOR.fields_by_name)


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    target: Any = getattr(message, field.name)
    if isinstance(value, Mapping):
        target.update(value)
    elif field.is_repeated:
        target.extend(_scalar(field, item) for item in value)
    elif field.message_type is None:
        try:
            setattr(message, field.name, _scalar(field, value))
        except TypeError:
            # The value may be secret; its type is what is wrong.
            kind = type(value).__name__
            raise TypeError(f"{field.full_name} does not take {kind}") from None
        except ValueError as error:
            raise ValueError(f"{field.full_name}: {error}") from None
    else:
        target.SetInParent()
        _fill(target, value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        # Takes the member's name as well, and nothing that is not one of its members.
        member = enum_class(field.enum_type.name)(value)
        return field.enum_type.values_by_name[enum_prefix(field.enum_type) + member.name].number
    if field.message_type is not None:
        made = _message_class(cast(Hashable, type(value)))() if isinstance(value, Record) else None
        if made is None:
            raise TypeError(f"{field.full_name} does not take {type(value).__name__}")
        _write(made, value)
        return made
    return value


def _fill(target: Any, value: Any) -> None:
    name = target.DESCRIPTOR.full_name
    if name == "google.protobuf.Duration":
        set_duration(target, value)
    elif name == "google.protobuf.Timestamp":
        target.FromDatetime(value)
    elif name == "reelsplit.v1.Rational":
        if not isinstance(value, Rational):
            # 29.97 is not 30000/1001, and nobody could tell which was meant.
            raise TypeError(f"an exact fraction is wanted, not {type(value).__name__}")
        target.numerator, target.denominator = value.numerator, value.denominator
    elif isinstance(value, Record) and _message_class(cast(Hashable, type(value))) is type(target):
        _write(target, value)
    else:
        raise TypeError(f"{name} does not take {type(value).__name__}")


def _get(message: Message, field: FieldDescriptor, problem: Problem | None, path: str) -> Any:
    value: Any = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return tuple(
            _one(field, item, problem, f"{path}[{place}]") for place, item in enumerate(value)
        )
    return _one(field, value, problem, path)


def _one(field: FieldDescriptor, value: Any, problem: Problem | None, path: str) -> Any:
    if field.enum_type is not None:
        return _enum(field, value, problem, path)
    if field.message_type is None:
        return value
    match field.message_type.full_name:
        case "google.protobuf.Duration":
            return Fraction(value.seconds * _NANOS + value.nanos, _NANOS)
        case "google.protobuf.Timestamp":
            return value.ToDatetime(tzinfo=UTC)
        case "reelsplit.v1.Rational":
            if value.denominator == 0:
                if problem is not None:
                    problem(path, "the denominator must not be 0")
                return None
            return Fraction(value.numerator, value.denominator)
        case _:
            return from_message(record_class(field.message_type.name), value, problem, path)


def _enum(field: FieldDescriptor, number: int, problem: Problem | None, path: str) -> Any:
    assert field.enum_type is not None
    cls = enum_class(field.enum_type.name)
    known = field.enum_type.values_by_number.get(number)
    if known is None and problem is not None:
        names = ", ".join(member.name for member in cls if member.name != "UNSPECIFIED")
        problem(path, f"{number} is not a known value; take one of {names}")
    if known is None or number == 0:
        return None if field.has_presence else cls["UNSPECIFIED"]
    return cls[known.name.removeprefix(enum_prefix(field.enum_type))]


def _oneof_member(message: Message, oneof: str, cls: type) -> FieldDescriptor:
    members = message.DESCRIPTOR.oneofs_by_name[oneof].fields
    for field in cast(Sequence[FieldDescriptor], members):
        if field.message_type is not None and field.message_type.name == cls.__name__:
            return field
    raise TypeError(f"{message.DESCRIPTOR.name}.{oneof} does not take {cls.__name__}")


@functools.cache
def enum_prefix(descriptor: EnumDescriptor) -> str:
    """What the names of an enum's values begin with on the wire, such as ``JOB_STATE_``."""
    return descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")


@functools.cache
def record_class(name: str) -> type[Record]:
    """The dataclass of the message of this name."""
    return cast(type[Record], _lookup(name))


@functools.cache
def enum_class(name: str) -> type[StrEnum]:
    """The enum of the contract's enum of this name."""
    return cast(type[StrEnum], _lookup(name))


def _lookup(name: str) -> object:
    for module in _MODULES:
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"{types.__name__} has no {name}")


@functools.cache
def _message_class(cls: type) -> type[Message]:
    for module, generated in _MODULES.items():
        if module.__name__ == cls.__module__:
            return cast(type[Message], getattr(generated, cls.__name__))
    raise TypeError(f"{cls.__name__} is not a message of the contract")
