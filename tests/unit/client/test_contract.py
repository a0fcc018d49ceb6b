"""The dataclasses against the contract, and the way between them and the wire."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any, cast

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

import reelsplit
from reelsplit import CutMode, Input, Output, TimeRange, VideoCodec, VideoEncoding, wire
from reelsplit.types.record import Record
from reelsplit.v1 import (
    error_pb2,
    event_pb2,
    job_pb2,
    job_service_pb2,
    media_pb2,
    media_service_pb2,
    output_pb2,
    segment_pb2,
    spec_pb2,
)

FILES = [
    module.DESCRIPTOR
    for module in (
        *(error_pb2, event_pb2, job_pb2, job_service_pb2, media_pb2, media_service_pb2),
        *(output_pb2, segment_pb2, spec_pb2),
    )
]
MESSAGES = {
    name: descriptor
    for file in FILES
    for name, descriptor in file.message_types_by_name.items()
    # Rationals are fractions; requests and responses are the methods of the clients.
    if name != "Rational" and not name.endswith(("Request", "Response"))
}
ENUMS = {name: enum for file in FILES for name, enum in file.enum_types_by_name.items()}


def is_merged(field: FieldDescriptor) -> bool:
    """Whether a field is a member of a oneof of messages, which is one field in Python."""
    oneof = field.containing_oneof
    return oneof is not None and all(member.message_type for member in oneof.fields)


def python_name(field: FieldDescriptor) -> str:
    oneof = field.containing_oneof
    return oneof.name if oneof is not None and is_merged(field) else field.name


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_has_its_dataclass(name: str) -> None:
    cls = getattr(reelsplit, name)
    assert name in reelsplit.__all__
    assert issubclass(cls, Record)
    assert not hasattr(cls, "__dict__") or "__slots__" in vars(cls)
    expected = [python_name(field) for field in MESSAGES[name].fields]
    assert [field.name for field in dataclasses.fields(cls)] == list(dict.fromkeys(expected))


@pytest.mark.parametrize("name", ENUMS)
def test_every_enum_has_its_members(name: str) -> None:
    cls = getattr(reelsplit, name)
    assert name in reelsplit.__all__
    assert issubclass(cls, StrEnum)
    prefix = wire.enum_prefix(ENUMS[name])
    assert [prefix + member.name for member in cls] == [value.name for value in ENUMS[name].values]
    assert all(member.value == member.name for member in cls)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_rpc_has_its_method(file: Any) -> None:
    names = {
        "SubmitJob": "submit",
        "GetJob": "get",
        "ListJobs": "list",
        "CancelJob": "cancel",
        "DeleteJob": "delete",
        "RetryJob": "retry",
        "ListSegments": "segments",
        "WatchJob": "watch",
        "WatchJobs": "watch_jobs",
        "RegisterMedia": "register_media",
        "GetMedia": "get_media",
        "ListMedia": "list_media",
        "DeleteMedia": "delete_media",
    }
    for service in file.services_by_name.values():
        for method in service.methods:
            assert hasattr(reelsplit.Client, names[method.name])


_INT = {FieldDescriptor.CPPTYPE_INT32: 31, FieldDescriptor.CPPTYPE_INT64: 63}
_TEXT = st.text(max_size=8)
_TIME = st.integers(-(10**18), 10**18).map(lambda nanos: Fraction(nanos, 10**9))
_WHOLE = st.integers(-(2**62), 2**62)


def one(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """A value of a field, as one element where it is repeated."""
    if field.enum_type is not None:
        members = list(getattr(reelsplit, field.enum_type.name))
        # An optional enum that is unspecified is the same as one that is absent.
        return st.sampled_from(members[1:] if field.has_presence else members)
    if field.message_type is not None:
        match field.message_type.full_name:
            case "google.protobuf.Duration":
                return _TIME
            case "google.protobuf.Timestamp":
                return st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC))
            case "reelsplit.v1.Rational":
                return st.builds(Fraction, _WHOLE, _WHOLE.filter(bool))
            case _:
                return records(field.message_type)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return _TEXT
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return st.floats(allow_nan=False)
        case number:
            return st.integers(-(2 ** _INT[number]), 2 ** _INT[number] - 1)


def value(field: FieldDescriptor, required: bool) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.dictionaries(_TEXT, _TEXT, max_size=3)
    if field.is_repeated:
        return st.lists(one(field), max_size=3).map(tuple)
    return one(field) if required or not field.has_presence else st.none() | one(field)


@st.composite
def records(draw: st.DrawFn, message: Descriptor) -> Record:
    cls: type[Record] = getattr(reelsplit, message.name)
    required = {
        field.name
        for field in dataclasses.fields(cast(Any, cls))
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    values: dict[str, Any] = {}
    for field in message.fields:
        oneof = field.containing_oneof
        if oneof is None or len(oneof.fields) == 1:
            values[field.name] = draw(value(field, field.name in required))
        elif field is oneof.fields[0]:
            choices = [*oneof.fields] if oneof.name in required else [None, *oneof.fields]
            member = draw(st.sampled_from(choices))
            if member is not None:
                values[python_name(member)] = draw(one(member))
    return cls(**values)


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_message_survives_the_wire(name: str, data: st.DataObject) -> None:
    record = data.draw(records(MESSAGES[name]))
    message = wire.to_message(record)
    assert wire.from_message(type(record), message) == record
    again = type(message).FromString(message.SerializeToString())
    assert wire.from_message(type(record), again) == record


def test_times_are_rounded_to_the_nanosecond() -> None:
    made = TimeRange(start_offset=Fraction(1, 3), end_offset=0.1)
    assert made.start_offset == Fraction(333_333_333, 10**9)
    assert made.end_offset == Fraction(1, 10)


@pytest.mark.parametrize("time", [math.nan, math.inf])
def test_times_that_are_none_are_refused(time: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        TimeRange(start_offset=0, end_offset=time)


def test_enum_members_can_be_named() -> None:
    made: Any = Output(uri_template="{index}.mp4", cut_mode="KEYFRAME")  # type: ignore[arg-type]
    message: Any = wire.to_message(made)
    assert message.cut_mode == output_pb2.CUT_MODE_KEYFRAME


@pytest.mark.parametrize("wrong", ["keyframes", VideoCodec.AV1])
def test_members_of_nothing_or_of_another_enum_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=CutMode.__name__):
        wire.to_message(Output(uri_template="{index}.mp4", cut_mode=wrong))


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (Input(uri=3), TypeError, r"Input\.uri does not take int"),  # type: ignore[arg-type]
        (Output(uri_template="a", width=2**40), ValueError, r"Output\.width: "),
        (VideoEncoding(frame_rate=29.97), TypeError, "exact fraction"),  # type: ignore[arg-type]
    ],
)
def test_values_that_cannot_be_sent_are_named(
    wrong: Record, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        wire.to_message(wrong)


def test_what_is_unknown_is_passed_over_or_told() -> None:
    message = output_pb2.Output(uri_template="{index}.mp4", cut_mode=99)  # type: ignore[arg-type]
    message.MergeFromString(b"\xf8\x07\x01")
    assert wire.from_message(Output, message) == Output(uri_template="{index}.mp4")
    told: dict[str, str] = {}
    wire.from_message(Output, message, told.__setitem__, "spec.output")
    assert told["spec.output"] == "field number 127 is not known to this server"
    assert told["spec.output.cut_mode"].startswith("99 is not a known value; take one of AUTO, ")


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Input(uri="a").uri = "b"  # type: ignore[misc]
