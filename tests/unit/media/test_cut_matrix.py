"""A slice of the matrix (tests/cutting): 12 of its 120 clips, 6 of their ranges each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reelsplit_server.media.render import CutMode
from tests.cutting.film import Film, read_film
from tests.cutting.matrix import OUTPUTS, run, tile
from tests.cutting.recipes import Recipe, covering
from tests.cutting.totals import Totals, table

RECIPES = covering(12)
"""The greedy set's first: those that hold the most pairs."""

TILED = {"mp4": RECIPES[4], "mov": RECIPES[0], "mkv": RECIPES[1], "ts": RECIPES[2]}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="module")
def totals() -> Iterator[dict[str, Totals]]:
    rows: dict[str, Totals] = {}
    yield rows
    print(f"\n{table(rows)}")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_cuts_are_exact_and_copy_all_they_can(
    recipe: Recipe, clips: Path, totals: dict[str, Totals]
) -> None:
    wrong = []
    for index, case in enumerate(run(recipe, clips, mode=CutMode.AUTO, count=6, second=2)):
        totals.setdefault(recipe.codec, Totals()).add(case.finding)
        if case.finding.problems:
            wrong.append(f"{index}: {case}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode", [CutMode.EDIT_LIST, CutMode.KEYFRAME], ids=str)
@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[2], RECIPES[4]], ids=lambda r: r.name)
def test_nothing_is_encoded_where_nothing_may_be(
    recipe: Recipe, clips: Path, mode: CutMode
) -> None:
    wrong = [
        str(case)
        for case in run(recipe, clips, mode=mode, count=4, second=1)
        if case.finding.problems
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("output", OUTPUTS)
def test_neighbours_hold_everything_once(output: str, clips: Path, tmp_path: Path) -> None:
    recipe = TILED[output]
    film: Film = read_film(recipe.make(clips))
    assert tile(recipe, film, output, tmp_path, mode=CutMode.AUTO) == []
