"""The whole matrix: 120 clips, 20 ranges each, in two decoders. Run with ``-m matrix``."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelsplit_server.media.render import CutMode
from tests.cutting.conftest import TOTALS
from tests.cutting.film import read_film
from tests.cutting.matrix import OUTPUTS, run, tile
from tests.cutting.recipes import Recipe, covering
from tests.cutting.totals import Totals

# "long" keeps it out of a run without -m.
pytestmark = [pytest.mark.long, pytest.mark.matrix]

_MODES = {CutMode.AUTO: 20, CutMode.EDIT_LIST: 5, CutMode.KEYFRAME: 5}


@pytest.mark.parametrize("mode", _MODES, ids=str)
@pytest.mark.parametrize("recipe", covering(), ids=lambda recipe: recipe.name)
def test_every_cut_is_right(recipe: Recipe, mode: CutMode, tmp_path: Path) -> None:
    totals = TOTALS.setdefault(f"{recipe.codec} {mode}", Totals())
    wrong: list[str] = []
    for case in run(recipe, tmp_path, mode=mode, count=_MODES[mode]):
        totals.add(case.finding)
        if case.finding.problems:
            wrong.append(str(case))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("recipe", covering(), ids=lambda recipe: recipe.name)
def test_neighbours_hold_everything_once(recipe: Recipe, tmp_path: Path) -> None:
    film = read_film(recipe.make(tmp_path))
    for output in OUTPUTS:
        assert not tile(recipe, film, output, tmp_path, mode=CutMode.AUTO), output
