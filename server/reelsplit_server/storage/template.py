"""Output templates: where each segment goes, and each report."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import quote

from reelsplit.types.spec import ReportKind

_WIDTH = re.compile(r"0?([1-9][0-9]?)d", re.ASCII)
_MOST_WIDTH = 20
_ESCAPED = ("file:", "http:", "https:")
NAMES = ("index", "start", "end", "stem", "job_id")
REPORT_NAMES = ("kind", "stem", "job_id")
_OF_A_SEGMENT = ("index", "start", "end")
KINDS: Mapping[ReportKind, str] = {
    ReportKind.SHOTS_JSON: "shots.json",
    ReportKind.SHOTS_CSV: "shots.csv",
    ReportKind.EDL: "edl",
    ReportKind.OTIO: "otio",
    ReportKind.HTML: "html",
    ReportKind.SCORES_CSV: "scores.csv",
}
"""What ``{kind}`` stands for."""


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
    names = [name for _, name, _ in _parts(template, NAMES) if name is not None]
    if "index" not in names:
        raise TemplateError("needs {index}, which tells the segments apart")


def check_report(template: str, count: int) -> None:
    """Raise `TemplateError` unless each placeholder is known, and ``{kind}`` is among them where
    ``count`` reports go by this template."""
    names = [name for _, name, _ in _parts(template, REPORT_NAMES) if name is not None]
    if count > 1 and "kind" not in names:
        raise TemplateError("needs {kind}, which tells the reports apart")


def beside(template: str) -> str:
    """The template of the reports that lie beside the segments of a template: in the innermost
    folder that all segments of a job share."""
    made = ""
    for literal, name, _ in _parts(template, NAMES):
        made += literal.replace("{", "{{").replace("}", "}}")
        if name in _OF_A_SEGMENT:
            break
        made += f"{{{name}}}" if name is not None else ""
    return made[: made.rfind("/") + 1] + "{stem}.{kind}"


def expand_report(template: str, kind: ReportKind, stem: str, job_id: str) -> str:
    """The location of one report."""
    made = []
    for literal, name, _ in _parts(template, REPORT_NAMES):
        made.append(literal)
        match name:
            case None:
                pass
            case "kind":
                made.append(KINDS[kind])
            case "stem":
                made.append(_stem(template, stem))
            case "job_id":
                made.append(job_id)
    return "".join(made)


def expand(template: str, values: Values) -> str:
    """The location of one segment."""
    made = []
    for literal, name, width in _parts(template, NAMES):
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
                made.append(_stem(template, values.stem))
            case "job_id":
                made.append(values.job_id)
    return "".join(made)


def _stem(template: str, stem: str) -> str:
    # Where escapes will be read, those of the source's name were read already.
    return quote(stem, safe="") if template.lower().startswith(_ESCAPED) else stem


def _parts(template: str, names: Sequence[str]) -> list[tuple[str, str | None, str]]:
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
        if name not in names:
            known = ", ".join(f"{{{known}}}" for known in names)
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
