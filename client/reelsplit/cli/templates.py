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


def is_uri(text: str) -> bool:
    """Whether it names its scheme, and so is no path."""
    return _SCHEME.match(text) is not None


def stem(source: str) -> str:
    """The name without folders and ending, as `{stem}` takes it."""
    path = unquote(urlsplit(source).path) if is_uri(source) else source.replace(os.sep, "/")
    return PurePosixPath(path).stem


def pair(inputs: Sequence[str], template: str | None) -> list[Job]:
    """The jobs for these inputs. Several inputs must be told apart by `{stem}`."""
    if template is not None and len(inputs) > 1:
        problems = _clashes(inputs, template)
        if problems:
            raise wrong_usage(problems)
    return [Job(name=stem(source), source=source, template=template) for source in inputs]


def local(job: Job) -> Job:
    """The same job with absolute, real paths, as a server of another folder needs them."""
    source = job.source if _is_remote(job.source) else os.path.realpath(_path(job.source))
    template = job.template
    if template is None:
        return dataclasses.replace(job, source=source)
    if stem(source) != job.name:
        # The input is a link: segments are named after what the user typed.
        name = _escape(job.name)
        template = _PLACEHOLDER.sub(lambda m: name if m[0] == "{stem}" else m[0], template)
    if not _is_remote(template):
        folder, rest = split_template(_path(template))
        template = os.path.join(_escape(os.path.realpath(folder or os.curdir)), rest)
    return dataclasses.replace(job, source=source, template=template)


def roots(jobs: Sequence[Job]) -> list[str]:
    """The folders that a server must be allowed to open for these jobs, which are `local`."""
    folders = set[str]()
    for job in jobs:
        if not _is_remote(job.source):
            folders.add(_existing(os.path.dirname(job.source)))
        if job.template is not None and not _is_remote(job.template):
            folders.add(_existing(split_template(job.template)[0]))
    return sorted(folders)


def split_template(template: str) -> tuple[str, str]:
    """The folders before the first placeholder, as a path, and the rest of the template. Braces
    that belong to a name are doubled in a template."""
    fixed = _FIXED.match(template)
    cut = max(template.rfind(slash, 0, fixed.end() if fixed else 0) for slash in {"/", os.sep}) + 1
    return template[:cut].replace("{{", "{").replace("}}", "}"), template[cut:]


def _clashes(inputs: Sequence[str], template: str) -> list[Problem]:
    placeholders = _PLACEHOLDER.findall(template)
    if "{stem}" not in placeholders:
        text = f"{template!r} needs {{stem}}, since there are {len(inputs)} inputs"
        return [Problem(place="TEMPLATE", text=text)]
    if "{job_id}" in placeholders:
        return []
    return [
        Problem(
            place="INPUT",
            text=f"{count} inputs have the stem {name!r}, so their segments would have one name; "
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
