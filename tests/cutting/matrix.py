"""Cutting the clips of the matrix by this project, and checking what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from reelsplit_server.media.render import CutMode
from tests.cutting.checker import Finding, Told, check, check_tiles
from tests.cutting.film import Film, read_film
from tests.cutting.ranges import Range, ranges, tiles
from tests.cutting.recipes import Recipe
from tests.ffmpeg import FFMPEG
from tests.unit.media.rendering import cut

OUTPUTS = ("mp4", "mkv", "ts", "mov")
OUTPUTS_OF_EDITS = ("mp4", "mov")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One cut of the matrix, and what is wrong with it."""

    recipe: Recipe
    range: Range
    output: str
    finding: Finding

    def __str__(self) -> str:
        first, last = self.range
        what = "; ".join(self.finding.problems) or "right"
        return f"{self.recipe.name} [{first}, {last}) to {self.output}: {what}"


def span(film: Film, first: int, last: int) -> tuple[Fraction, Fraction | None]:
    """A range in seconds from the first presented frame; None is the end."""
    start = film.times[first] - film.times[0]
    return start, None if last >= len(film.times) else film.times[last] - film.times[0]


def cut_and_check(
    recipe: Recipe,
    film: Film,
    chosen: Range,
    output: str,
    folder: Path,
    *,
    mode: CutMode,
    second: bool = True,
) -> Finding:
    """Make one cut and check it. Errors of the cut are findings."""
    first, last = chosen
    out = folder / f"cut.{output}"
    out.unlink(missing_ok=True)
    start, end = span(film, first, last)
    try:
        result = cut(film.path, out, start, end, mode=mode)
    except Exception as error:
        finding = Finding(expected=last - first, missing=last - first)
        finding.problems.append(f"{type(error).__name__}: {error}")
        return finding
    told = None
    if mode is not CutMode.ENCODE:
        told = Told(
            copied=result.copied_frames,
            encoded=result.encoded_frames,
            reason=result.reason,
            encodes=mode is CutMode.AUTO,
        )
    outside = ""
    if mode is CutMode.KEYFRAME:
        asked, first = first, _rank(film, result.start)
        until, last = last, first + result.frame_count
        if first > asked or last < until or result.early_frames != asked - first:
            outside = f"snapped to [{first}, {last}) with {result.early_frames} early"
    finding = check(
        film,
        out,
        first,
        last,
        rate=Fraction(recipe.rate) if recipe.is_constant else None,
        told=told,
        second=second and FFMPEG is not None,
        payloads=recipe.style != "entropy",
        hides=mode is CutMode.EDIT_LIST,
    )
    if outside:
        finding.problems.append(outside)
    return finding


def _rank(film: Film, time: Fraction) -> int:
    """The frame that is shown nearest to a time after the first one."""
    apart = [abs(shown - film.times[0] - time) for shown in film.times]
    return apart.index(min(apart))


def tile(recipe: Recipe, film: Film, output: str, folder: Path, *, mode: CutMode) -> list[str]:
    """Cut a film into neighbours and check what they hold together."""
    paths: list[Path] = []
    for index, (first, last) in enumerate(tiles(film)):
        start, end = span(film, first, last)
        paths.append(folder / f"tile{index}.{output}")
        try:
            cut(film.path, paths[-1], start, end, mode=mode)
        except Exception as error:
            return [f"[{first}, {last}): {type(error).__name__}: {error}"]
    return check_tiles(film, paths)


def run(
    recipe: Recipe, folder: Path, *, mode: CutMode, count: int = 20, second: int | None = None
) -> Iterator[Case]:
    """`count` cuts of one clip, each into the next container in turn; `second`: how many of them
    the second decoder reads too, None all."""
    film = read_film(recipe.make(folder))
    assert film.numbers == list(range(recipe.frames)), f"{recipe.name}: the clip itself is wrong"
    outputs = OUTPUTS_OF_EDITS if mode is CutMode.EDIT_LIST else OUTPUTS
    turn = sum(map(ord, recipe.name))
    for index, chosen in enumerate(ranges(film, count)):
        output = outputs[(turn + index) % len(outputs)]
        finding = cut_and_check(
            recipe,
            film,
            chosen,
            output,
            folder,
            mode=mode,
            second=second is None or index < second,
        )
        yield Case(recipe=recipe, range=chosen, output=output, finding=finding)
