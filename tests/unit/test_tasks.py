"""Tasks that are ended."""

from __future__ import annotations

import asyncio

import pytest

from reelsplit_server import tasks


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_all_have_ended_however_they_do() -> None:
    last = asyncio.Event()

    async def slow() -> None:
        try:
            await _forever()
        except asyncio.CancelledError:
            # A few steps later.
            for _ in range(5):
                await asyncio.sleep(0)
            last.set()

    async def fails() -> None:
        try:
            await _forever()
        finally:
            raise LookupError("ours")

    made = [asyncio.create_task(work()) for work in (_forever, slow, fails)]
    done = asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0)
    await tasks.end(None, *made, done)
    assert last.is_set()
    assert [task.cancelled() for task in made] == [True, False, False]
    with pytest.raises(LookupError):
        made[2].result()
    await tasks.end(None)
    await tasks.end()


async def test_whoever_waits_may_be_cancelled() -> None:
    going = asyncio.Event()

    async def stubborn() -> None:
        while not going.is_set():
            try:
                await going.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(tasks.end(task))
    await asyncio.sleep(0)
    waiting.cancel()
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await task
