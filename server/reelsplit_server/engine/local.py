"""The engine of one machine: a pool of processes that are killed and replaced one by one."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import shutil
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pebble import ProcessPool

from reelsplit_server import tasks
from reelsplit_server.engine import leftovers
from reelsplit_server.engine.desk import Desk
from reelsplit_server.engine.desks import Desks, told
from reelsplit_server.engine.party import Party
from reelsplit_server.engine.processes import Processes, died
from reelsplit_server.engine.run import PARTING, Run
from reelsplit_server.engine.seam import OnReport, WorkerDiedError
from reelsplit_server.engine.vitals import Vital, Vitals, WorkerLimits
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import SourceGrant
from reelsplit_server.storage.stores import Stores
from reelsplit_server.work import entry
from reelsplit_server.work.asks import ANSWERS, SAID
from reelsplit_server.work.entry import Call
from reelsplit_server.work.units import Failed, Outcome, Published, Target, Unit

log = structlog.get_logger(__name__)
_LINE = 4 * 2**20
"""The longest report, in bytes."""
_MOST_PATH = 100
"""A socket's path may have some hundred bytes, and no more."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker was given to do."""

    pool: ProcessPool
    future: Future[None]
    ended: asyncio.Future[None]
    """Done when the worker has done with it, or is gone."""
    vital: Vital


class LocalEngine:
    """Runs units in ``workers`` processes of this machine.

    Each has pipes of its own, and one connection for the unit that it does: one that is killed
    while it speaks disturbs no other.
    """

    def __init__(
        self,
        workers: int,
        folder: Path,
        stores: Stores,
        limits: WorkerLimits | None = None,
        *,
        logs: tuple[str, str] = ("info", "json"),
    ) -> None:
        """``folder`` is private to this server, and gets the socket. ``stores`` is used by the
        server itself, never by a worker. ``limits`` are those of each worker;
        ``logs`` the level and the format of what it logs."""
        self._workers = workers
        limits = limits or WorkerLimits()
        self._vitals = Vitals(limits)
        self._processes = Processes(workers, [limits.file_size, *logs])
        self._desks = Desks(stores, workers)
        self._runs: dict[str, Run] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._spare = leftovers.prepare(
            folder.with_name(leftovers.RECORD), own=len(os.fsencode(folder)) > _MOST_PATH
        )
        self._socket = (self._spare or folder) / "s"

    @property
    def slots(self) -> int:
        """How many units run at the same time."""
        return self._workers

    async def start(self) -> None:
        """Start the processes, so that the first unit finds them ready."""
        self._server = await asyncio.start_unix_server(self._listen, self._socket, limit=_LINE)
        await self._processes.start()
        self._vitals.start()

    async def stop(self) -> None:
        """End all processes, at once."""
        if self._server is not None:
            self._server.close()
        await self._vitals.stop()
        # First, since they may start new ones.
        await tasks.end(*self._releasing)
        await self._processes.stop()
        await self._desks.close()
        if self._spare is not None:
            shutil.rmtree(self._spare, ignore_errors=True)

    async def run(
        self,
        unit: Unit,
        on_report: OnReport,
        *,
        timeout: float | None,
        party: Party | None = None,
        place: int = 0,
    ) -> Outcome:
        """Do a unit; see `reelsplit_server.engine.seam.Engine.run`."""
        party = party or Party()
        try:
            return await self._run(unit, on_report, timeout, party, place)
        finally:
            begun = party.leave(place)
            if begun is not None:
                task = asyncio.create_task(self._release(begun))
                self._releasing.add(task)
                task.add_done_callback(self._releasing.discard)

    async def _release(self, begun: asyncio.Task[_Work]) -> None:
        try:
            work = await begun
        except WorkerDiedError:
            # There was no process for it.
            return
        # One that has hung up, or was hung up on, has nothing more to do.
        await _first(work.ended, timeout=PARTING)
        work.future.cancel()
        self._vitals.leave(work.vital)
        await self._processes.give_back(work.pool, work.vital)

    async def _begin(self, calls: Sequence[Call]) -> _Work:
        """Give a worker something to do. Raises `WorkerDiedError` where there is none."""
        pool = await self._processes.take()
        vital = self._vitals.watch()
        for call in calls:
            if (run := self._runs.get(call.name)) is not None:
                run.vital = vital
        path = str(self._socket)
        try:
            if len(calls) == 1:
                (call,) = calls
                arguments = (call.unit, call.grant, path, call.name, call.secret)
                future = pool.schedule(entry.execute, args=arguments)
            else:
                future = pool.schedule(entry.execute_all, args=(calls, path))
        except Exception as error:
            # It has died just now.
            self._vitals.leave(vital)
            await self._processes.give_back(pool, vital)
            raise WorkerDiedError("the worker died before it began") from error
        ended = asyncio.wrap_future(future)
        # Looked at later, and not again when it ends after that.
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())
        return _Work(pool=pool, future=future, ended=ended, vital=vital)

    async def _run(
        self,
        unit: Unit,
        on_report: OnReport,
        timeout: float | None,
        party: Party,
        place: int,
    ) -> Outcome:
        loop = asyncio.get_running_loop()
        desk = Desk(self._desks, unit, on_report)
        # Why the unit is to end before its end.
        stop: asyncio.Future[BaseException] = loop.create_future()

        def stopped(why: BaseException) -> None:
            if not stop.done():
                stop.set_result(why)
                desk.given_up = not desk.finishing

        timer = loop.call_later(timeout, stopped, TimeoutError()) if timeout else None
        # Not cancelled itself, however often the caller is: what it has begun it brings to an end.
        work = asyncio.create_task(self._do(unit, desk, on_report, stop, party, place))
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
                stopped(error)
        if timer is not None:
            timer.cancel()
        if cancelled is not None and (
            work.cancelled() or work.exception() or not isinstance(work.result(), Published)
        ):
            raise cancelled
        return work.result()

    async def _do(
        self,
        unit: Unit,
        desk: Desk,
        on_report: OnReport,
        stop: asyncio.Future[BaseException],
        party: Party,
        place: int,
    ) -> Outcome:
        try:
            opening = asyncio.create_task(desk.open())
            await _first(opening, stop)
            if stop.done():
                await tasks.end(opening)
                raise stop.result()
            return await self._serve(unit, opening.result(), desk, on_report, stop, party, place)
        except StorageError as error:
            return Failed(error=told(error), transient=error.transient)
        finally:
            await desk.close()

    async def _serve(
        self,
        unit: Unit,
        grant: SourceGrant,
        desk: Desk,
        on_report: OnReport,
        stop: asyncio.Future[BaseException],
        party: Party,
        place: int,
    ) -> Outcome:
        name, secret = secrets.token_hex(8), secrets.token_hex(16)
        silent = asyncio.get_running_loop().create_future()
        run = self._runs[name] = Run(secret, unit, desk, on_report, silent)
        call = Call(unit=unit, grant=grant, name=name, secret=secret)
        joining = asyncio.create_task(party.join(place, call, self._begin))
        await _first(joining, stop)
        try:
            if not joining.done():
                await tasks.end(joining)
                raise stop.result()
            work: _Work = joining.result()
        except BaseException:
            del self._runs[name]
            raise
        ended, lost = work.ended, work.vital.lost
        await _first(ended, silent, stop, lost)
        if desk.published is None and run.outcome is None:
            # One that has hung up without a word may just be dying.
            await _first(ended, stop, lost, timeout=PARTING)
        del self._runs[name]
        lived = not ended.done()
        if stop.done() or lost.done():
            await run.give_up()
            work.future.cancel()
        # One that hangs is not waited for.
        hanging = asyncio.create_task(run.hang_up(0.0 if lost.done() else PARTING))
        if run.writer is not None:
            await _first(silent, stop)
            if stop.done():
                await run.give_up()
            await silent
        await hanging
        if desk.published is not None:
            return desk.published
        if stop.done():
            raise stop.result()
        if run.outcome is not None:
            return run.outcome
        if run.failure is not None:
            raise run.failure
        if lost.done():
            raise lost.result()
        raise died(None if lived else ended.exception())

    async def remove(self, targets: Sequence[Target]) -> int:
        """Delete what a job published; see `reelsplit_server.engine.seam.Engine.remove`."""
        return await self._desks.remove(targets)

    def abandon(self, units: Sequence[Unit]) -> Awaitable[object]:
        """Clear up what a server that is gone left; see `seam.Engine.abandon`."""
        return self._desks.abandon(units)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        run: Run | None = None
        try:
            run = self._greeted(json.loads(await reader.readline()))
            if run is None:
                return
            run.writer = writer
            assert run.vital is not None
            run.vital.met(writer.get_extra_info("socket"))
            writer.write(b"\n")
            while line := await reader.readline():
                # Others have their turn, also where a worker talks without a pause.
                await asyncio.sleep(0)
                if run.desk.given_up:
                    continue
                with run.vital.heard():
                    answer = await run.hear(SAID.validate_json(line))
                    if answer is not None:
                        writer.write(ANSWERS.dump_json(answer) + b"\n")
                        await writer.drain()
        except (ValueError, KeyError, ConnectionError, asyncio.IncompleteReadError) as error:
            log.warning("worker_report_unreadable", error=str(error)[:500])
        except asyncio.CancelledError:
            # The server ends. asyncio's streams log a handler that is cancelled as a fault.
            pass
        except Exception as error:
            if run is not None:
                run.failure = error
        finally:
            if run is not None:
                run.silent.set_result(None)
            writer.close()

    def _greeted(self, hello: Mapping[str, str]) -> Run | None:
        """The unit of a worker that says who it is."""
        run = self._runs.get(hello["unit"])
        if run is None or run.writer is not None:
            return None
        return run if hmac.compare_digest(run.secret.encode(), hello["secret"].encode()) else None


async def _first(*awaited: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one is done, or for so many seconds."""
    await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
