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
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pebble import ProcessExpired, ProcessPool

from reelsplit_server.engine.desk import Desk, Desks, told
from reelsplit_server.engine.seam import OnReport, WorkerDiedError
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Refused, SourceGrant
from reelsplit_server.storage.stores import Stores
from reelsplit_server.work import entry
from reelsplit_server.work.asks import ANSWERS, SAID, Answer, Ask
from reelsplit_server.work.units import Failed, Outcome, PlanDone, Render, Target, Unit

log = structlog.get_logger(__name__)
_LINE = 16 * 2**20
"""The longest report, in bytes."""
_FINISHING = 10.0
"""How long a stopped unit is waited for whose segment is appearing just then, in seconds."""
_MOST_PATH = 100
"""A socket's path may have some hundred bytes, and no more."""
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH")


@dataclass(slots=True)
class _Run:
    """A unit under way: who hears its reports, and how it ended as far as it said."""

    secret: str
    desk: Desk
    on_report: OnReport
    outcome: Outcome | None = None
    failure: BaseException | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    listener: asyncio.Task[None] | None = None
    asking: bool = False

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

    def __init__(self, workers: int, folder: Path, stores: Stores) -> None:
        """``folder`` is private to this server, and gets the socket. ``stores`` is used by the
        server itself, never by a worker."""
        self._workers = workers
        self._desks = Desks(stores, workers)
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
        await self._desks.close()
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
            desk = self._desks.desk(unit, on_report)
            try:
                grant = await desk.open()
                return await self._run(pool, unit, grant, desk, on_report, timeout)
            except StorageError as error:
                return Failed(error=told(error), transient=error.transient)
            finally:
                await desk.close()
        finally:
            self._free.put_nowait(pool)

    async def remove(self, targets: Sequence[Target]) -> int:
        """Delete what a job published; see `reelsplit_server.engine.seam.Engine.remove`."""
        return await self._desks.remove(targets)

    async def abandon(self, units: Sequence[Render]) -> None:
        """Give up what a server that is gone was uploading; see `seam.Engine.abandon`."""
        await self._desks.abandon(units)

    async def _run(
        self,
        pool: ProcessPool,
        unit: Unit,
        grant: SourceGrant,
        desk: Desk,
        on_report: OnReport,
        timeout: float | None,
    ) -> Outcome:
        name, secret = secrets.token_hex(8), secrets.token_hex(16)
        run = self._runs[name] = _Run(secret, desk, on_report)
        arguments = (unit, grant, str(self._socket), name, secret)
        future = pool.schedule(entry.execute, args=arguments, timeout=timeout or None)
        ended = asyncio.wrap_future(future)
        # Looked at below, and not again when it ends after that.
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())
        failure: BaseException | None = None
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError as error:
            if desk.finishing:
                await asyncio.wait([ended], timeout=_FINISHING)
            desk.given_up = True
            future.cancel()  # type: ignore[no-untyped-call]
            if run.asking and run.listener is not None:
                # Stores may take long to answer; what was reported is kept to its end.
                run.listener.cancel()
            failure = error
        except TimeoutError as error:
            desk.given_up = not desk.finishing
            failure = error
        except (ProcessExpired, BrokenProcessPool) as error:
            failure = WorkerDiedError(str(error))
        finally:
            await run.gone()
            del self._runs[name]
        if desk.published is not None:
            return desk.published
        if isinstance(failure, asyncio.CancelledError | TimeoutError):
            raise failure
        if run.outcome is not None:
            return run.outcome
        if run.failure is not None:
            raise run.failure
        raise failure or WorkerDiedError("the worker ended without a word")

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
            run.listener = asyncio.current_task()
            run.connected.set()
            while line := await reader.readline():
                said = SAID.validate_json(line)
                if isinstance(said, Ask):
                    answer = await self._answer(run, said)
                    writer.write(ANSWERS.dump_json(answer) + b"\n")
                    await writer.drain()
                    continue
                if isinstance(said, PlanDone | Failed):
                    run.outcome = said
                await run.on_report(said)
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

    async def _answer(self, run: _Run, ask: Ask) -> Answer:
        run.asking = True
        try:
            return await run.desk.answer(ask)
        except StorageError as error:
            return Refused(
                reason=error.reason,
                message=error.message,
                metadata=error.metadata,
                transient=error.transient,
            )
        finally:
            run.asking = False


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
