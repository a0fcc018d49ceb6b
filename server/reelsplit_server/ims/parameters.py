"""Reading parameters: text, numbers, switches, lists and JSON, each refused by its name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from reelsplit_server.ims.errors import invalid, missing

_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_SWITCHES = {"true": True, "false": False}
_MOST_WHOLE = 2**53


class Parameters:
    """The parameters of one request. Those that are empty are absent."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, most: int = 1024) -> str | None:
        """A text of at most ``most`` characters."""
        value = self._values.get(name)
        if value is not None and len(value) > most:
            raise invalid(name, f"is longer than {most:,} characters")
        return value

    def required(self, name: str, most: int = 1024) -> str:
        """A text that must be there."""
        value = self.text(name, most)
        if value is None:
            raise missing(name)
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``."""
        value = self.text(name)
        if value is None:
            return None
        if not _WHOLE.fullmatch(value) or not low <= int(value) <= high:
            raise invalid(name, f"is not a whole number from {low} to {high:,}")
        return int(value)

    def switch(self, name: str) -> bool:
        """True or false, in any letters; false where it is absent."""
        value = self.text(name)
        if value is None:
            return False
        if value.lower() not in _SWITCHES:
            raise invalid(name, "is neither true nor false")
        return _SWITCHES[value.lower()]

    def chosen(self, name: str, choices: tuple[str, ...]) -> str | None:
        """One of some words, in any letters."""
        value = self.text(name)
        if value is None:
            return None
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise invalid(name, f"is none of {', '.join(choices)}")

    def time(self, name: str) -> datetime | None:
        """A time in UTC."""
        value = self.text(name)
        if value is None:
            return None
        try:
            if _TIME.fullmatch(value):
                return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
        raise invalid(name, "is not a time as 2026-01-31T12:00:00Z, in UTC")

    def listed(self, name: str, most: int) -> list[str]:
        """What stands between commas, without empty parts and repetitions."""
        parts = (self.text(name, most=2**16) or "").split(",")
        found = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
        if len(found) > most:
            raise invalid(name, f"names {len(found)} things; at most {most} are taken")
        return found

    def object(self, name: str) -> Object | None:
        """A JSON object."""
        text = self._values.get(name)
        if text is None:
            return None
        value = parsed(text, name)
        if not isinstance(value, dict):
            raise invalid(name, "is JSON, but no object; write it as {…}")
        return Object(name, value)


class Object:
    """A JSON object within a parameter. Members that are null or empty texts are absent, numbers
    may be written as texts, and members that nobody asks for are passed over."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self._values = values

    def __bool__(self) -> bool:
        return bool(self._values)

    def at(self, member: str) -> str:
        """The name of a member in messages."""
        return f"{self.name}.{member}"

    def has(self, member: str) -> bool:
        """Whether it is there."""
        return self._values.get(member) not in (None, "")

    def text(self, member: str) -> str | None:
        """A text."""
        if not self.has(member):
            return None
        value = self._values[member]
        if not isinstance(value, str):
            raise invalid(self.at(member), "is no text; write it in quotes")
        return value

    def required(self, member: str) -> str:
        """A text that must be there."""
        value = self.text(member)
        if value is None:
            raise missing(self.at(member))
        return value

    def number(self, member: str) -> int | float | None:
        """A number, which is finite."""
        if not self.has(member):
            return None
        value = self._values[member]
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            value = float(value) if not _WHOLE.fullmatch(value.strip()) else int(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(self.at(member), "is no number")
        if not -_MOST_WHOLE <= value <= _MOST_WHOLE or not math.isfinite(value):
            raise invalid(self.at(member), "is a number beyond all bounds")
        return value

    def whole(self, member: str) -> int | None:
        """A whole number; 1920.0 is one."""
        value = self.number(member)
        if value is None:
            return None
        if value != int(value):
            raise invalid(self.at(member), f"is {value}, which is no whole number")
        return int(value)

    def switch(self, member: str) -> bool:
        """True or false; false where it is absent."""
        if not self.has(member):
            return False
        value = self._values[member]
        if isinstance(value, str):
            value = _SWITCHES.get(value.lower())
        if not isinstance(value, bool):
            raise invalid(self.at(member), "is neither true nor false")
        return value

    def object(self, member: str) -> Object | None:
        """An object within."""
        if not self.has(member):
            return None
        value = self._values[member]
        if not isinstance(value, dict):
            raise invalid(self.at(member), "is no object; write it as {…}")
        return Object(self.at(member), value)

    def objects(self, member: str) -> list[Object] | None:
        """A list of objects."""
        if not self.has(member):
            return None
        value = self._values[member]
        if not isinstance(value, list):
            raise invalid(self.at(member), "is no list; write it as [{…}, {…}]")
        found = []
        for place, item in enumerate(value):
            if not isinstance(item, dict):
                raise invalid(f"{self.at(member)}[{place}]", "is no object; write it as {…}")
            found.append(Object(f"{self.at(member)}[{place}]", item))
        return found


def parsed(text: str, name: str) -> Any:
    """The value of a JSON text; what is none is refused by its name."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        where = f" (character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise invalid(name, f"is not JSON{where}") from None


def _no_json(constant: str) -> None:
    # Python reads NaN and the infinities, which no other parser of JSON takes.
    raise ValueError(constant)
