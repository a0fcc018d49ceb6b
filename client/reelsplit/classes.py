"""Which dataclasses, enums and messages belong together: they have the same names."""

from __future__ import annotations

import functools
from enum import StrEnum
from types import ModuleType
from typing import cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from reelsplit import types
from reelsplit.types import error, event, job, media, output, segment, spec
from reelsplit.types.record import Record
from reelsplit.v1 import (
    error_pb2,
    event_pb2,
    job_pb2,
    media_pb2,
    output_pb2,
    segment_pb2,
    spec_pb2,
)

_MODULES: dict[ModuleType, ModuleType] = {
    error: error_pb2,
    event: event_pb2,
    job: job_pb2,
    media: media_pb2,
    output: output_pb2,
    segment: segment_pb2,
    spec: spec_pb2,
}


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
def message_class(cls: type) -> type[Message]:
    """The message of a dataclass of the contract; raises TypeError for any other class."""
    for module, generated in _MODULES.items():
        if module.__name__ == cls.__module__:
            return cast(type[Message], getattr(generated, cls.__name__))
    raise TypeError(f"{cls.__name__} is not a message of the contract")


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map of keys and values."""
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)
