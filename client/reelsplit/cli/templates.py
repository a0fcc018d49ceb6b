"""Paths and templates as typed, made ready for a server."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from reelsplit.cli.failures import Problem, wrong_usage
from reelsplit.cli.report_paths import STANDARD, Report

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?=//)|file:")

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
_FIXED = re.compile(r"(?:[^{]|\{\{)*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One input and where its segments go."""

    name: str
    """What the user knows it by: the name of the file, without its ending."""
    source: str
    template: str | None
    reports: tuple[Report, ...] = ()


def is_uri(text: str) -> bool:
    """Whether it names its scheme, and so is no path."""
    return _SCHEME.match(text) is not None


def stem(source: str) -> str:
    """The name without folders and ending, as `{stem}` takes it."""
    path = unquote(urlsplit(source).path) if is_uri(source) else source.replace(os.sep, "/")
    return PurePosixPath(path).stem


def pair(inputs: Sequence[str], template: str | None, reports: Sequence[Report] = ()) -> list[Job]:
    """The jobs for these inputs. Several inputs must be told apart by `{stem}`."""
    if len(inputs) > 1:
        problems = _clashes("TEMPLATE", inputs, template) if template is not None else []
        for report in reports:
            if report.template is not None:
                problems += _clashes("--report", inputs, report.template)
        if problems:
            raise wrong_usage(list(dict.fromkeys(problems)))
    return [
        Job(name=stem(source), source=source, template=template, reports=tuple(reports))
        for source in inputs
    ]


def local(job: Job) -> Job:
    """The same job with absolute, real paths, as a server of another folder needs them."""
    source = job.source if _is_remote(job.source) else os.path.realpath(_path(job.source))
    # Where the input is a link, files are named after what the user typed.
    name = _escape(job.name) if stem(source) != job.name else None
    reports = []
    for report in job.reports:
        template = report.template
        if template is None and (job.template is None or name is not None):
            template = _beside(job.template) if job.template is not None else STANDARD
        if template is not None and not _is_remote(template) and os.path.isdir(_path(template)):
            template = os.path.join(template, STANDARD)
        if template is not None:
            template = _absolute(template, name)
        reports.append(dataclasses.replace(report, template=template))
    return dataclasses.replace(
        job,
        source=source,
        template=_absolute(job.template, name) if job.template is not None else None,
        reports=tuple(reports),
    )


def _absolute(template: str, name: str | None) -> str:
    """An absolute template, with a name for `{stem}` where one is given."""
    if name is not None:
        template = _PLACEHOLDER.sub(lambda m: name if m[0] == "{stem}" else m[0], template)
    if _is_remote(template):
        return template
    folder, rest = split_template(_path(template))
    return os.path.join(_escape(os.path.realpath(folder or os.curdir)), rest)


def roots(jobs: Sequence[Job]) -> list[str]:
    """The folders that a server must be allowed to open for these jobs, which are `local`."""
    folders = set[str]()
    for job in jobs:
        if not _is_remote(job.source):
            folders.add(_existing(os.path.dirname(job.source)))
        for template in (job.template, *(report.template for report in job.reports)):
            if template is not None and not _is_remote(template):
                folders.add(_existing(split_template(template)[0]))
    return sorted(folders)


def split_template(template: str) -> tuple[str, str]:
    """The folders before the first placeholder, as a path, and the rest of the template. Braces
    that belong to a name are doubled in a template."""
    fixed = _FIXED.match(template)
    cut = max(template.rfind(slash, 0, fixed.end() if fixed else 0) for slash in {"/", os.sep}) + 1
    return template[:cut].replace("{{", "{").replace("}}", "}"), template[cut:]


def _beside(template: str) -> str:
    """The template of reports in the innermost folder that all segments share."""
    names = (
        found.start()
        for found in _PLACEHOLDER.finditer(template)
        if found[0].startswith(("{index", "{start", "{end"))
    )
    return template[: template.rfind("/", 0, next(names, len(template))) + 1] + STANDARD


def _clashes(place: str, inputs: Sequence[str], template: str) -> list[Problem]:
    placeholders = _PLACEHOLDER.findall(template)
    if place == "--report" and "{job_id}" in placeholders:
        return []
    if "{stem}" not in placeholders:
        text = f"{template!r} needs {{stem}}, since there are {len(inputs)} inputs"
        return [Problem(place=place, text=text)]
    if "{job_id}" in placeholders:
        return []
    return [
        Problem(
            place="INPUT",
            text=f"{count} inputs have the stem {name!r}, so their files would have one name; "
            "split them apart, or add {job_id} to the template",
        )
        for name, count in Counter(map(stem, inputs)).items()
        if count > 1
    ]


def _is_remote(text: str) -> bool:
    return is_uri(text) and not text.lower().startswith("file:")


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _path(text: str) -> str:
    return unquote(urlsplit(text).path) if is_uri(text) else text


def _existing(folder: str) -> str:
    path = Path(folder)
    while not path.is_dir():
        path = path.parent
    return str(path)
