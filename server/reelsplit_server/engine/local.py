"""The engine of one machine: a pool of processes that are killed and replaced one by one."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import multiprocessing
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pebble import ProcessExpired, ProcessPool

from reelsplit_server.engine.seam import OnReport, WorkerDiedError
from reelsplit_server.work import entry
from reelsplit_server.work.units import (
    REPORTS,
    Failed,
    Outcome,
    PlanDone,
    Published,
    Publishing,
    Removed,
    Unit,
)

log = structlog.get_logger(__name__)
_LINE = 16 * 2**20
"""The longest report, in bytes."""
_MOST_PATH = 100
"""A socket's path may have some hundred bytes, and no more."""
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH")


@dataclass(slots=True)
class _Run:
    """A unit under way: who hears its reports, and how it ended as far as it said."""

    secret: str
    on_report: OnReport
    outcome: Outcome | None = None
    failure: BaseException | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    silent: asyncio.Event = field(default_factory=asyncio.Event)

    async def gone(self) -> None:
        """Wait until all that the worker said is heard. Its connection ends when it does."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.connected.wait(), 5)
            # However long it takes to keep what was reported: the connection has an end.
            await self.silent.wait()


class LocalEngine:
    """Runs units in ``workers`` processes of this machine.

    Each process is a pool of one, with pipes of its own, and has one connection for the unit that
    it does: one that is killed while it speaks disturbs no other.
    """

    def __init__(self, workers: int, folder: Path) -> None:
        """``folder`` is private to this server, and gets the socket."""
        self._workers = workers
        self._runs: dict[str, _Run] = {}
        self._free: asyncio.Queue[ProcessPool] = asyncio.Queue()
        self._pools: set[ProcessPool] = set()
        self._server: asyncio.Server | None = None
        # The server forks from a small process of its own, which has loaded the libraries and
        # has neither threads nor gRPC in it.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["reelsplit_server.work.preload"])
        self._spare: Path | None = None
        if len(os.fsencode(folder)) > _MOST_PATH:
            folder = self._spare = Path(tempfile.mkdtemp(prefix="reelsplit-"))
        self._socket = folder / "s"

    @property
    def slots(self) -> int:
        """How many units run at the same time."""
        return self._workers

    async def start(self) -> None:
        """Start the processes, so that the first unit finds them ready."""
        self._server = await asyncio.start_unix_server(self._listen, self._socket, limit=_LINE)
        for pool in await asyncio.to_thread(self._start_pools):
            self._free.put_nowait(pool)

    def _start_pools(self) -> list[ProcessPool]:
        with _scrubbed_environment():
            pools = [self._new_pool() for _ in range(self._workers)]
            for future in [pool.schedule(entry.ready) for pool in pools]:
                future.result()
        return pools

    def _new_pool(self) -> ProcessPool:
        pool = ProcessPool(max_workers=1, context=self._context, initializer=entry.prepare)
        self._pools.add(pool)
        return pool

    async def stop(self) -> None:
        """End all processes, at once."""
        if self._server is not None:
            self._server.close()
        for pool in self._pools:
            pool.stop()  # type: ignore[no-untyped-call]
        await asyncio.gather(*(asyncio.to_thread(pool.join) for pool in self._pools))
        if self._spare is not None:
            shutil.rmtree(self._spare, ignore_errors=True)

    async def run(self, unit: Unit, on_report: OnReport, *, timeout: float | None) -> Outcome:
        """Do a unit; see `reelsplit_server.engine.seam.Engine.run`."""
        pool = await self._free.get()
        try:
            if not pool.active:
                # A process that dies while it is idle breaks its pool.
                self._pools.discard(pool)
                pool = self._new_pool()
            return await self._run(pool, unit, on_report, timeout)
        finally:
            self._free.put_nowait(pool)

    async def _run(
        self, pool: ProcessPool, unit: Unit, on_report: OnReport, timeout: float | None
    ) -> Outcome:
        name, secret = secrets.token_hex(8), secrets.token_hex(16)
        run = self._runs[name] = _Run(secret, on_report)
        arguments = (unit, str(self._socket), name, secret)
        future = pool.schedule(entry.execute, args=arguments, timeout=timeout or None)
        try:
            await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.cancel()  # type: ignore[no-untyped-call]
            await run.gone()
            raise
        except TimeoutError:
            await run.gone()
            raise
        except (ProcessExpired, BrokenProcessPool) as error:
            await run.gone()
            if run.outcome is None:
                raise WorkerDiedError(str(error)) from error
        else:
            await run.gone()
        finally:
            del self._runs[name]
        if run.failure is not None:
            raise run.failure
        if run.outcome is None:
            raise WorkerDiedError("the worker ended without a word")
        return run.outcome

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        run: _Run | None = None
        try:
            hello = json.loads(await reader.readline())
            run = self._runs.get(hello["unit"])
            if run is None or run.connected.is_set():
                return
            if not hmac.compare_digest(run.secret, hello["secret"]):
                run = None
                return
            run.connected.set()
            while line := await reader.readline():
                report = REPORTS.validate_json(line)
                if isinstance(report, PlanDone | Published | Removed | Failed):
                    run.outcome = report
                await run.on_report(report)
                if isinstance(report, Publishing):
                    writer.write(b"go\n")
                    await writer.drain()
        except (ValueError, KeyError, ConnectionError, asyncio.IncompleteReadError) as error:
            log.warning("worker_report_unreadable", error=str(error))
        except asyncio.CancelledError:
            # The server ends. asyncio's streams log a handler that is cancelled as a fault.
            pass
        except Exception as error:
            if run is not None:
                run.failure = error
        finally:
            if run is not None:
                run.silent.set()
            writer.close()


@contextlib.contextmanager
def _scrubbed_environment() -> Iterator[None]:
    """While the processes start, the environment has nothing in it that is not theirs."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update({name: kept[name] for name in _ENVIRONMENT if name in kept})
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
