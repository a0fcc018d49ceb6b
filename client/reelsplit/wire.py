"""Between the dataclasses of `reelsplit.types` and the protobuf messages of `reelsplit.v1`.

Driven by the descriptors, so that there is no second list of fields: a message and its dataclass
have the same name, and so have their fields; a oneof of messages is one field of the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC
from fractions import Fraction
from numbers import Rational
from typing import Any, TypeVar, cast

from google.protobuf import unknown_fields
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from reelsplit.classes import enum_class, enum_prefix, is_map, message_class, record_class
from reelsplit.types.record import Record, Seconds

RecordT = TypeVar("RecordT", bound=Record)
_NANOS = 10**9

Problem = Callable[[str, str], None]
"""Called with the path of a field and a sentence that says what is wrong with it."""


def to_message(record: Record) -> Message:
    """The protobuf message of a dataclass."""
    message: Message = message_class(cast(Hashable, type(record)))()
    _write(message, record)
    return message


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
    unset, readers = _readers(cast(Hashable, cls))
    values = {name: make() for name, make in unset}
    # Most fields of most messages are not set, and are not asked for one by one.
    for field, value in message.ListFields():
        name, read = readers[field.number]
        here = "" if problem is None else f"{path}.{field.name}" if path else field.name
        values[name] = read(value, problem, here)
    return cls(**values)


def set_duration(target: Duration, value: Seconds) -> None:
    """Write a time in seconds, rounded to the nanosecond."""
    exact = value if isinstance(value, Fraction) else Fraction(value)
    numerator, denominator = exact.numerator, exact.denominator
    # Most times are whole nanoseconds, and arithmetic of fractions is slow.
    exactly = _NANOS % denominator == 0
    nanos = numerator * (_NANOS // denominator) if exactly else round(exact * _NANOS)
    # Both parts of a negative duration are negative.
    whole, rest = divmod(abs(nanos), _NANOS)
    sign = -1 if nanos < 0 else 1
    target.seconds, target.nanos = sign * whole, sign * rest


# How each field is written and read is looked up once for each class: descriptors are slow to ask,
# and events, segments and jobs are converted all the time.

_Put = Callable[[Any, Any], None]
"""Writes a value into a message."""
_Take = Callable[[Any, Problem | None, str], Any]
"""Reads the value of a field whose path is given."""


def _write(message: Message, record: Record) -> None:
    values, puts = _writers(cast(Hashable, type(record)))
    for value, put in zip(values(record), puts, strict=True):
        if value is not None:
            put(message, value)


@functools.cache
def _writers(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], Sequence[_Put]]:
    """What takes all values out of a dataclass, and what writes each of them."""
    descriptor = message_class(cls).DESCRIPTOR
    fields = cast(Mapping[str, FieldDescriptor], descriptor.fields_by_name)
    names = [item.name for item in dataclasses.fields(cls)]
    puts = [
        _writer(fields[name]) if name in fields else _oneof_writer(descriptor, name)
        for name in names
    ]
    if len(names) > 1:
        return operator.attrgetter(*names), puts
    # It would give no tuple.
    return lambda record: tuple([getattr(record, name) for name in names]), puts


def _writer(field: FieldDescriptor) -> _Put:
    name, scalar = field.name, _scalar(field)
    if is_map(field):
        return lambda message, value: getattr(message, name).update(value)
    if field.is_repeated:
        return lambda message, value: getattr(message, name).extend(map(scalar, value))
    if field.message_type is not None:
        fill = _filler(field.message_type.full_name, field.message_type.name)

        def write_message(message: Any, value: Any) -> None:
            target = getattr(message, name)
            target.SetInParent()
            fill(target, value)

        return write_message

    def write_scalar(message: Any, value: Any) -> None:
        try:
            setattr(message, name, scalar(value))
        except TypeError:
            # The value may be secret; its type is what is wrong.
            kind = type(value).__name__
            raise TypeError(f"{field.full_name} does not take {kind}") from None
        except ValueError as error:
            raise ValueError(f"{field.full_name}: {error}") from None

    return write_scalar


def _oneof_writer(descriptor: Any, oneof: str) -> _Put:
    """Of a oneof of messages, whose member is told by the type of the value."""
    members = cast(Sequence[FieldDescriptor], descriptor.oneofs_by_name[oneof].fields)
    by_type = {field.message_type.name: _writer(field) for field in members if field.message_type}

    def write(message: Any, value: Any) -> None:
        put = by_type.get(type(value).__name__)
        if put is None:
            raise TypeError(f"{descriptor.name}.{oneof} does not take {type(value).__name__}")
        put(message, value)

    return write


def _scalar(field: FieldDescriptor) -> Callable[[Any], Any]:
    """What gives the value of a field, or of one of its items, as protobuf takes it."""
    if field.enum_type is not None:
        cls, values = enum_class(field.enum_type.name), field.enum_type.values_by_name
        prefix = enum_prefix(field.enum_type)
        numbers = {
            member: values[prefix + member.name].number
            for member in cls
            if prefix + member.name in values
        }
        # Takes the member's name as well, and nothing that is not one of its members.
        return lambda value: numbers[cls(value)]
    if field.message_type is not None:

        def convert(value: Any) -> Message:
            made = (
                message_class(cast(Hashable, type(value)))() if isinstance(value, Record) else None
            )
            if made is None:
                raise TypeError(f"{field.full_name} does not take {type(value).__name__}")
            _write(made, value)
            return made

        return convert
    return lambda value: value


def _filler(full_name: str, name: str) -> _Put:
    match full_name:
        case "google.protobuf.Duration":
            return set_duration
        case "google.protobuf.Timestamp":
            return lambda target, value: target.FromDatetime(value)
        case "reelsplit.v1.Rational":
            return _fill_rational

    def fill(target: Any, value: Any) -> None:
        if not isinstance(value, Record) or message_class(cast(Hashable, type(value))) is not type(
            target
        ):
            raise TypeError(f"{full_name} does not take {type(value).__name__}")
        _write(target, value)

    return fill


def _fill_rational(target: Any, value: Any) -> None:
    if not isinstance(value, Rational):
        # 29.97 is not 30000/1001, and nobody could tell which was meant.
        raise TypeError(f"an exact fraction is wanted, not {type(value).__name__}")
    target.numerator, target.denominator = value.numerator, value.denominator


_Unset = Sequence[tuple[str, Callable[[], Any]]]
"""The fields of a dataclass, and what each is while it is not set."""


@functools.cache
def _readers(cls: Any) -> tuple[_Unset, Mapping[int, tuple[str, _Take]]]:
    """What a dataclass is of an empty message, and what reads the fields that are set: by their
    numbers, each with the name that it has in the dataclass."""
    names = [item.name for item in dataclasses.fields(cls)]
    fields = cast(Sequence[FieldDescriptor], message_class(cls).DESCRIPTOR.fields)
    unset: dict[str, Callable[[], Any]] = dict.fromkeys(names, lambda: None)
    readers = {}
    for field in fields:
        oneof = field.containing_oneof
        name = oneof.name if oneof is not None and oneof.name in unset else field.name
        readers[field.number] = name, _reader(field)
        unset[name] = _unset(field)
    return list(unset.items()), readers


def _unset(field: FieldDescriptor) -> Callable[[], Any]:
    if is_map(field):
        return dict
    if field.is_repeated:
        return tuple
    if field.has_presence:
        return lambda: None
    value = field.default_value
    if field.enum_type is not None:
        value = enum_class(field.enum_type.name)["UNSPECIFIED"]
    return lambda: value


def _reader(field: FieldDescriptor) -> _Take:
    """Reads the value of a field that is set."""
    if is_map(field):
        return lambda value, problem, path: dict(value)
    one = _item_reader(field)
    if not field.is_repeated:
        return one

    def read_all(items: Any, problem: Problem | None, path: str) -> Any:
        if problem is None:
            return tuple([one(item, None, "") for item in items])
        return tuple([one(item, problem, f"{path}[{place}]") for place, item in enumerate(items)])

    return read_all


def _item_reader(field: FieldDescriptor) -> _Take:
    if field.enum_type is not None:
        return _enum_reader(field)
    if field.message_type is None:
        return lambda value, problem, path: value
    match field.message_type.full_name:
        case "google.protobuf.Duration":
            return lambda value, problem, path: Fraction(
                value.seconds * _NANOS + value.nanos, _NANOS
            )
        case "google.protobuf.Timestamp":
            return lambda value, problem, path: value.ToDatetime(tzinfo=UTC)
        case "reelsplit.v1.Rational":
            return _read_rational
    kind = record_class(field.message_type.name)
    return lambda value, problem, path: from_message(kind, value, problem, path)


def _read_rational(value: Any, problem: Problem | None, path: str) -> Fraction | None:
    if value.denominator == 0:
        if problem is not None:
            problem(path, "the denominator must not be 0")
        return None
    return Fraction(value.numerator, value.denominator)


def _enum_reader(field: FieldDescriptor) -> _Take:
    assert field.enum_type is not None
    cls, prefix = enum_class(field.enum_type.name), enum_prefix(field.enum_type)
    unset = None if field.has_presence else cls["UNSPECIFIED"]
    members = {
        number: cls[known.name.removeprefix(prefix)] if number else unset
        for number, known in field.enum_type.values_by_number.items()
    }

    def read(number: int, problem: Problem | None, path: str) -> Any:
        if number not in members and problem is not None:
            names = ", ".join(member.name for member in cls if member.name != "UNSPECIFIED")
            problem(path, f"{number} is not a known value; take one of {names}")
        return members.get(number, unset)

    return read
