"""Cutting any range of any structure into any container gives exactly its frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelsplit_server.media.render import CutMode
from tests.cutting.film import Film, read_film
from tests.cutting.matrix import OUTPUTS, cut_and_check
from tests.cutting.recipes import AUDIO, CONTAINERS, RATES, REORDERINGS, STYLES, Recipe

_FILMS: dict[Recipe, Film] = {}


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    container = draw(st.sampled_from(CONTAINERS))
    return Recipe(
        codec=draw(st.sampled_from(("h264", "h264", "hevc"))),
        is_open=draw(st.booleans()),
        reordering=draw(st.sampled_from(REORDERINGS)),
        gop=draw(st.integers(1, 24)),
        container=container,
        rate=draw(st.sampled_from(RATES)),
        style=draw(st.sampled_from(STYLES)),
        audio=draw(st.sampled_from(AUDIO[container])),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


@settings(
    max_examples=24,
    derandomize=True,
    database=None,
)
@given(recipe=recipes(), data=st.data())
def test_any_range_of_any_structure_is_exact(
    folder: Path, recipe: Recipe, data: st.DataObject
) -> None:
    if recipe not in _FILMS:
        _FILMS.clear()
        _FILMS[recipe] = read_film(recipe.make(folder))
    film = _FILMS[recipe]
    first = data.draw(st.integers(0, recipe.frames - 1), label="first")
    last = data.draw(st.integers(first + 1, recipe.frames), label="last")
    output = data.draw(st.sampled_from(OUTPUTS), label="output")
    finding = cut_and_check(
        recipe, film, (first, last), output, folder, mode=CutMode.AUTO, second=False
    )
    assert finding.problems == []
    assert finding.wrong_frames == 0
