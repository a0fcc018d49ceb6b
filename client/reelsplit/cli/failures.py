"""How the command fails: what is told on stderr, what `--json` says, and the exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import NoReturn, TypeVar

T = TypeVar("T")


class ExitCode(IntEnum):
    """What the command answers to its caller."""

    DONE = 0
    FAILED = 1
    """The job failed, or the server refused the call."""
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class Finished(Exception):
    """Ends the command when all is said. Not typer's own, so that its parser's ends differ."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with what the user typed."""

    place: str
    """The flag or argument, or the field of the request where no flag fits."""
    text: str


class Failure(Exception):
    """Ends the command with an exit code and a few readable lines."""

    def __init__(
        self,
        code: ExitCode,
        message: str,
        *,
        reason: str = "",
        problems: Sequence[Problem] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.problems = tuple(problems)
        self.metadata = dict(metadata or {})

    def lines(self) -> list[str]:
        """What a person reads."""
        if not self.problems:
            return [self.message]
        if len(self.problems) == 1:
            return [_line(self.problems[0])]
        return [self.message, *(f"  {_line(problem)}" for problem in self.problems)]

    def as_json(self) -> dict[str, object]:
        """What a program reads."""
        answer: dict[str, object] = {"reason": self.reason, "message": self.message}
        if self.metadata:
            answer["metadata"] = self.metadata
        if self.problems:
            answer["fields"] = [
                {"field": problem.place, "description": problem.text} for problem in self.problems
            ]
        return answer


def usage(place: str, text: str) -> NoReturn:
    """Refuse one flag or argument."""
    raise wrong_usage([Problem(place=place, text=text)])


def wrong_usage(problems: Sequence[Problem]) -> Failure:
    """The failure that names all of `problems`."""
    several = f"{len(problems)} options are wrong:"
    message = _line(problems[0]) if len(problems) == 1 else several
    return Failure(ExitCode.USAGE, message, reason="INVALID_FIELD", problems=problems)


class Problems:
    """Collects what is wrong, so that everything is told at once."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, place: str, text: str) -> None:
        self._found.append(Problem(place=place, text=text))

    def read(self, place: str, parse: Callable[[str], T], text: str | None) -> T | None:
        """The parsed text; None where there is none, or where it is wrong."""
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.add(place, str(error))
            return None

    def check(self) -> None:
        """Raise if anything was found."""
        if self._found:
            raise wrong_usage(self._found)


def printable(text: str) -> str:
    """The text without what could steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _line(problem: Problem) -> str:
    return f"{problem.place}: {problem.text}" if problem.place else problem.text
