from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.jobs.keeping import Kept, kept


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without jobs, made once: migrations take longer than a history."""

    async def make() -> Path:
        folder = tmp_path_factory.mktemp("empty")
        async with kept(folder):
            pass
        return folder

    return asyncio.run(make())


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(tmp_path) as made:
        yield made
