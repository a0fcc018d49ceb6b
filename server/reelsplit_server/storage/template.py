"""Output templates: where each segment goes."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import quote

_WIDTH = re.compile(r"0?([1-9][0-9]?)d", re.ASCII)
_MOST_WIDTH = 20
_ESCAPED = ("file:", "http:", "https:")
NAMES = ("index", "start", "end", "stem", "job_id")


class TemplateError(ValueError):
    """A template that cannot be used; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What stands for the placeholders of one segment; times are seconds."""

    index: int
    start: Fraction
    end: Fraction
    stem: str
    job_id: str


def check(template: str) -> None:
    """Raise `TemplateError` unless each placeholder is known and ``{index}`` is among them."""
    names = [name for _, name, _ in _parts(template) if name is not None]
    if "index" not in names:
        raise TemplateError("needs {index}, which tells the segments apart")


def expand(template: str, values: Values) -> str:
    """The location of one segment."""
    # Where escapes will be read, those of the source's name were read already.
    escaped = template.lower().startswith(_ESCAPED)
    stem = quote(values.stem, safe="") if escaped else values.stem
    made = []
    for literal, name, width in _parts(template):
        made.append(literal)
        match name:
            case None:
                pass
            case "index":
                made.append(format(values.index, width or "d"))
            case "start":
                made.append(_seconds(values.start))
            case "end":
                made.append(_seconds(values.end))
            case "stem":
                made.append(stem)
            case "job_id":
                made.append(values.job_id)
    return "".join(made)


def _parts(template: str) -> list[tuple[str, str | None, str]]:
    """The literal texts, each with the placeholder behind it and the placeholder's width.

    Only the splitting is Python's: its attribute and index access would let a template look into
    objects, so every name is compared with the known ones here.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise TemplateError(f"is malformed: {error}") from None
    parts: list[tuple[str, str | None, str]] = []
    for literal, name, spec, conversion in parsed:
        if name is None:
            parts.append((literal, None, ""))
            continue
        if conversion:
            raise TemplateError(f"holds {{{name}!{conversion}}}; conversions are not taken")
        if name not in NAMES:
            known = ", ".join(f"{{{known}}}" for known in NAMES)
            raise TemplateError(f"holds {{{name}}}, which is none of {known}")
        if spec:
            width = _WIDTH.fullmatch(spec)
            if name != "index" or width is None or int(width[1]) > _MOST_WIDTH:
                raise TemplateError(
                    f"holds {{{name}:{spec}}}; only {{index}} takes a width, "
                    f"such as {{index:04d}}, up to {_MOST_WIDTH}"
                )
        parts.append((literal, name, spec or ""))
    return parts


def _seconds(value: Fraction) -> str:
    return f"{round(value * 1000) / 1000:.3f}"
