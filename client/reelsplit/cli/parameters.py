"""Parameters of detectors, as typed: ``NAME=VALUE``."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeVar, cast

from reelsplit.cli.failures import Problems
from reelsplit.cli.times import parse_time
from reelsplit.types.record import Record

RecordT = TypeVar("RecordT", bound=Record)
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read(record: RecordT, texts: Sequence[str], problems: Problems) -> RecordT:
    """The record with these fields set; those of a part of it are named ``part.field``."""
    seen = set[str]()
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            problems.add("--detector-option", f"{text!r} is no NAME=VALUE")
        elif name in seen:
            problems.add("--detector-option", f"{name} is given twice")
        else:
            seen.add(name)
            try:
                record = _with(record, name.split("."), value.strip())
            except ValueError as error:
                problems.add("--detector-option", f"{name} {error}")
    return record


def _with(record: RecordT, path: Sequence[str], text: str) -> RecordT:
    hints = typing.get_type_hints(type(record))
    if path[0] not in hints:
        raise ValueError(f"is no parameter; take one of {', '.join(_names(type(record)))}")
    kinds = [kind for kind in typing.get_args(hints[path[0]]) if kind is not type(None)]
    kind = (kinds or [hints[path[0]]])[0]
    value: Any
    if len(path) > 1 or _is_record(kind):
        if len(path) == 1 or not _is_record(kind):
            raise ValueError(f"is no parameter; take one of {', '.join(_names(type(record)))}")
        inner = getattr(record, path[0])
        value = _with(kind() if inner is None else inner, path[1:], text)
    else:
        value = _read(Fraction in kinds, kind, text)
    changed: RecordT = dataclasses.replace(cast(Any, record), **{path[0]: value})
    return changed


def _names(kind: type[Any], before: str = "") -> list[str]:
    """All parameters of a record, those of its parts included."""
    found = []
    for name, hint in typing.get_type_hints(kind).items():
        inner = next((part for part in typing.get_args(hint) if _is_record(part)), None)
        found += _names(inner, f"{name}.") if inner is not None else [f"{before}{name}"]
    return found


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _read(is_time: bool, kind: Any, text: str) -> object:
    if is_time:
        return parse_time(text)
    if kind is bool:
        if text.lower() not in _TRUTHS:
            raise ValueError(f"takes true or false, not {text!r}")
        return _TRUTHS[text.lower()]
    if issubclass(kind, enum.Enum):
        names = [one.name.lower() for one in kind if one.name != "UNSPECIFIED"]
        if text.lower() not in names:
            raise ValueError(f"takes {' or '.join(names)}, not {text!r}")
        return kind[text.upper()]
    try:
        return kind(text)
    except ValueError:
        word = "a whole number" if kind is int else "a number"
        raise ValueError(f"takes {word}, not {text!r}") from None
