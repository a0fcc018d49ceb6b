"""The processes that units are done in, each of which is replaced where another is better."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Sequence

import structlog
from pebble import ProcessExpired, ProcessPool

from reelsplit_server.engine.seam import WorkerDiedError
from reelsplit_server.engine.vitals import Vital
from reelsplit_server.work import entry, process

log = structlog.get_logger(__name__)
_MOST_DONE = 500
"""How often a process is given something to do before another takes its place: what libraries
leak does not add up."""
_MOST_IDLE = 2**30
"""The bytes of memory with which a process is kept that has nothing to do."""
_STARTING = 60.0
"""How long a process may take to be ready, in seconds."""


class Processes:
    """So many processes, each a pool of one with pipes of its own. They are started and ended in
    threads: that takes milliseconds, and seconds where what they are forked from has died."""

    def __init__(self, count: int, arguments: Sequence[object]) -> None:
        """``arguments`` are those of `entry.prepare`, with which each begins."""
        self._count = count
        self._arguments = arguments
        self._free: asyncio.Queue[ProcessPool | None] = asyncio.Queue()
        """None is the place of one that could not be started."""
        self._pools: set[ProcessPool] = set()
        self._done: Counter[ProcessPool] = Counter()
        """How often each was given something to do."""
        # The server forks from a small process of its own, which has loaded the libraries and
        # has neither threads nor gRPC in it.
        self._context = process.WorkerContext()

    async def start(self) -> None:
        """Start all, and wait until they are ready."""
        await asyncio.to_thread(process.begin)
        for pool in await asyncio.gather(*(self._another() for _ in range(self._count))):
            self._free.put_nowait(pool)

    async def take(self) -> ProcessPool:
        """One that has nothing to do, as soon as there is one. Raises `WorkerDiedError` where it
        has to be started and cannot be."""
        pool = await self._free.get()
        try:
            # A process that dies while it is idle breaks its pool.
            if pool is None or not pool.active:
                pool = await self._another(pool)
        except BaseException:
            self._free.put_nowait(None)
            raise
        self._done[pool] += 1
        return pool

    async def give_back(self, pool: ProcessPool, vital: Vital) -> None:
        """One that was taken has nothing more to do, and was like this when it had."""
        kept: ProcessPool | None = pool
        try:
            if not self._may_stay(pool, vital):
                kept = None
                kept = await self._another(pool)
        except WorkerDiedError:
            # Whoever takes the place tries again.
            pass
        finally:
            self._free.put_nowait(kept)

    async def stop(self) -> None:
        """End all, at once. Nothing may be taken or given back meanwhile."""
        pools = list(self._pools)
        await asyncio.to_thread(_tell, pools)
        await asyncio.gather(*(asyncio.to_thread(_end, pool) for pool in pools))

    def _may_stay(self, pool: ProcessPool, vital: Vital) -> bool:
        return (
            pool.active
            and not vital.lost.done()
            and self._done[pool] < _MOST_DONE
            and vital.memory() < _MOST_IDLE
        )

    async def _another(self, before: ProcessPool | None = None) -> ProcessPool:
        """A process that is ready, in the place of one that is ended. Raises `WorkerDiedError`."""
        if before is not None:
            self._forget(before)
            # One that does not answer may not even have noticed that it was given something.
            await asyncio.to_thread(_end, before)
        pool = ProcessPool(
            max_workers=1,
            context=self._context,
            initializer=entry.prepare,
            initargs=self._arguments,
        )
        self._pools.add(pool)
        try:
            # What never comes is waited for here: nothing could end a thread that waits for it.
            ready = await asyncio.to_thread(pool.schedule, entry.ready)
            async with asyncio.timeout(_STARTING):
                await asyncio.wrap_future(ready)
        except Exception as error:
            log.warning("worker_not_started", error=repr(error.__cause__ or error))
            self._forget(pool)
            await asyncio.to_thread(_end, pool)
            raise WorkerDiedError("no process could be started") from error
        return pool

    def _forget(self, pool: ProcessPool) -> None:
        self._pools.discard(pool)
        self._done.pop(pool, None)


def died(error: BaseException | None) -> WorkerDiedError:
    """What became of a worker that ended by itself."""
    killer = None
    if isinstance(error, ProcessExpired) and (error.exitcode or 0) < 0:
        with contextlib.suppress(ValueError):
            killer = signal.Signals(-(error.exitcode or 0)).name
    text = f"killed by {killer}" if killer else str(error or "the worker ended without a word")
    told = WorkerDiedError(text, signal=killer)
    told.__cause__ = error
    return told


def _tell(pools: Sequence[ProcessPool]) -> None:
    for pool in pools:
        pool.stop()  # type: ignore[no-untyped-call]


def _end(pool: ProcessPool) -> None:
    try:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()
    except Exception:
        # One that cannot be ended takes no place from others.
        log.exception("worker_not_ended")
