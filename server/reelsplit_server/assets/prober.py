"""Finds the facts of assets: a unit of work for each, a few at a time beside those of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from reelsplit.types.error import Error
from reelsplit.types.event import SegmentChanged
from reelsplit.types.job import SourceInfo
from reelsplit.types.spec import Input
from reelsplit_server import metrics, tasks
from reelsplit_server.assets.records import MediaRecord, NoSuchMediaError
from reelsplit_server.assets.store import MediaStore
from reelsplit_server.engine import seam
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.failures import internal, too_late, worker_died
from reelsplit_server.jobs.observed import count_death, count_read
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.records import StoredEvent

log = structlog.get_logger(__name__)
_PAUSE, _MOST_PAUSE = 0.5, 30.0
_OUTAGE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLimits:
    """``tries`` counts the first; ``timeout`` is in seconds, for one try; ``at_once`` is how many
    assets are opened at the same time, of different callers."""

    scratch: Path
    tries: int
    most_pixels: int
    timeout: float = 300.0
    at_once: int = 1


class Prober:
    """Opens assets in the order of their registration, those of all callers in turn, and one of a
    caller at a time: a source that hangs holds up its own. One that fails in passing is tried
    again behind the others; what a server that ends has not opened, the next one does."""

    def __init__(self, store: MediaStore, engine: seam.Engine, limits: ProbeLimits) -> None:
        self._store = store
        self._engine = engine
        self._limits = limits
        self._patience = Patience()
        self._wake = asyncio.Event()
        self._tries: dict[str, int] = {}
        self._due: dict[str, float] = {}
        """When an asset is tried again, on the loop's clock."""
        self._turn: deque[str] = deque()
        """What is still to be opened in this turn: one asset of each caller."""
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """End at once; what is being opened is opened again by the next server."""
        self._patience.end()
        await tasks.end(self._task, *self._busy.values())

    def wake(self) -> None:
        """There may be an asset whose facts are not known."""
        self._wake.set()

    def committed(self, events: Sequence[StoredEvent]) -> None:
        """Hear what was committed: segments that became assets."""
        for item in events:
            change = item.event.event
            if isinstance(change, SegmentChanged) and change.segment and change.segment.media_id:
                self.wake()
                return

    async def _forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self._round()
            except StoreUnavailableError:
                pause = _OUTAGE
            except Exception:
                # Nothing may end this loop: no asset would be opened any more, in silence.
                log.exception("probing_failed")
                pause = _OUTAGE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _round(self) -> float | None:
        """Begin as many assets as may be opened at once; answers the seconds after which there is
        more to do, where that is known. Each that ends wakes the next round."""
        now = asyncio.get_running_loop().time()
        if len(self._busy) >= self._limits.at_once:
            return None
        if not self._turn:
            resting = [media_id for media_id, due in self._due.items() if due > now]
            self._turn.extend(await self._store.unprobed(resting, list(self._busy)))
            if not self._turn and not self._busy:
                for media_id in self._due.keys() - set(resting):
                    # Deleted while it rested.
                    self._forget(media_id)
        while self._turn and len(self._busy) < self._limits.at_once:
            self._begin(self._turn.popleft())
        later = [due for due in self._due.values() if due > now]
        return min(later) - now if later else None

    def _begin(self, media_id: str) -> None:
        task = self._busy[media_id] = asyncio.create_task(self._open(media_id))

        def done(_: asyncio.Task[None]) -> None:
            del self._busy[media_id]
            self._wake.set()

        task.add_done_callback(done)

    async def _open(self, media_id: str) -> None:
        try:
            await self._probe(await self._store.probing(media_id))
        except NoSuchMediaError:
            self._forget(media_id)
        except StoreUnavailableError:
            await asyncio.sleep(_OUTAGE)
        except Exception:
            log.exception("probing_failed", media_id=media_id)
            await asyncio.sleep(_OUTAGE)

    def _forget(self, media_id: str) -> None:
        self._tries.pop(media_id, None)
        self._due.pop(media_id, None)

    async def _probe(self, record: MediaRecord) -> None:
        media = record.media
        folder = self._limits.scratch / f"media-{media.media_id}"
        unit = seam.Probe(
            job_id=media.media_id,
            source=Input(uri=media.uri, endpoint=record.endpoint),
            pin=None,
            folder=folder,
            most_pixels=self._limits.most_pixels,
        )
        tries = self._tries.get(media.media_id, 0) + 1
        try:
            outcome = await self._run(unit, tries)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        match outcome:
            case seam.Failed(error=error, transient=transient):
                if transient and tries < self._limits.tries:
                    pause = min(_MOST_PAUSE, _PAUSE * 2.0**tries)
                    metrics.RETRIES.labels("probe").inc()
                    self._tries[media.media_id] = tries
                    self._due[media.media_id] = asyncio.get_running_loop().time() + pause
                    return
                await self._keep(media.media_id, error=error)
            case seam.PlanDone(source=source):
                await self._keep(media.media_id, source=source)
        self._forget(media.media_id)
        log.info("media_probed", media_id=media.media_id, failed=isinstance(outcome, seam.Failed))

    async def _keep(
        self, media_id: str, *, source: SourceInfo | None = None, error: Error | None = None
    ) -> None:
        write = functools.partial(self._store.probed, media_id, source=source, error=error)
        try:
            await self._patience.kept(write)
        except (StoreUnavailableError, NoSuchMediaError):
            raise
        except Exception as fault:
            # A worker that was taken over may tell what cannot be kept.
            log.exception("probe_not_kept", media_id=media_id)
            await self._store.probed(media_id, error=internal(fault))

    async def _run(self, unit: seam.Probe, tries: int) -> seam.Outcome:
        try:
            return await self._engine.run(unit, _hear, timeout=self._limits.timeout)
        except seam.WorkerDiedError as error:
            count_death(error)
            log.warning("worker_died", media_id=unit.job_id, tries=tries, error=str(error))
            return seam.Failed(error=worker_died(error, tries), transient=True)
        except TimeoutError:
            late = too_late("probe", self._limits.timeout)
            return seam.Failed(error=late, transient=False)
        except StoreUnavailableError:
            raise
        except Exception as error:
            log.exception("probe_failed", media_id=unit.job_id)
            failed: Error = internal(error)
            return seam.Failed(error=failed, transient=False)


async def _hear(report: seam.Report) -> None:
    # Of what an asset is, only the end of its probe tells anything.
    if isinstance(report, seam.Account):
        count_read(report)
