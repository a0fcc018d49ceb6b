"""Tells what the outbox holds: each event until it is confirmed, in order for each job."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from reelsplit_server import metrics, tasks
from reelsplit_server.access.keys import KeyRing
from reelsplit_server.access.vault import VaultError
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.notify.accounts import Accounts, EventNames
from reelsplit_server.notify.delivery import Delivery, DeliveryError
from reelsplit_server.notify.entries import Channel, Entry, Outbox
from reelsplit_server.notify.messages import body, headers

log = structlog.get_logger(__name__)
_AT_ONCE = 64
_AT_ONCE_FOR_ONE = 8
"""Of these for one principal, so that nobody's dead addresses hold up the others."""
_LONGEST_PAUSE = 3600.0
_REST = 0.05
"""Seconds between two looks, in which what happens is taken together."""
_STORE_REST = 5.0
_MEMORY = timedelta(days=30)
"""How long what could not be told is kept."""
_SWEEP = 3600.0
_COUNT = 10.0
"""Seconds between two counts of what waits."""
_MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often an event is tried: ``tries`` times, or until it is ``lasting`` old; with pauses
    that begin at ``pause`` seconds and grow, or stay the same."""

    pause: float = 1.0
    grows: bool = True
    tries: int | None = None
    lasting: timedelta | None = timedelta(days=1)

    def after(self, tries: int, age: timedelta) -> float | None:
        """The pause behind so many tries, in seconds; None where that was the last."""
        if self.tries is not None and tries >= self.tries:
            return None
        if self.lasting is not None and age >= self.lasting:
            return None
        if not self.grows:
            return self.pause
        # Apart from each other, so that a server that comes back is not met by all at once.
        spread = random.uniform(0.9, 1.1)  # noqa: S311
        return min(self.pause * 2.0 ** min(tries - 1, 30), _LONGEST_PAUSE) * spread


DAY = Patience()
QUICK = Patience(grows=False, tries=3, lasting=None)
"""What the original does."""


class Dispatcher:
    """Sends what is due, many channels at a time. ``bell`` is set where something was put into
    the outbox; ``clock`` tells the time in UTC."""

    def __init__(
        self,
        outbox: Outbox,
        delivery: Delivery,
        accounts: Accounts,
        keys: KeyRing,
        *,
        names: EventNames,
        patience: Patience,
        bell: asyncio.Event,
        clock: Callable[[], datetime],
    ) -> None:
        self._outbox = outbox
        self._delivery = delivery
        self._accounts = accounts
        self._keys = keys
        self._names = names
        self._patience = patience
        self._bell = bell
        self._clock = clock
        self._busy: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._shares: Counter[str] = Counter()
        self._loop: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._swept = 0.0

    def start(self) -> None:
        """Begin, also with what an earlier server left."""
        self._loop = asyncio.create_task(self._run())
        self._counting = asyncio.create_task(self._count())

    async def stop(self) -> None:
        """End; what is under way may be confirmed yet, the rest waits for the next server."""
        self._stopping.set()
        self._bell.set()
        await tasks.end(self._counting)
        if self._loop is not None:
            # Not cancelled: it may be about to begin what it has just read.
            await self._loop
        if self._busy:
            await asyncio.wait(self._busy.values())
        await self._delivery.close()

    async def _count(self) -> None:
        while True:
            try:
                metrics.CALLBACKS_WAITING.set(await self._outbox.waiting(_MOST_COUNTED))
            except StoreUnavailableError:
                pass
            except Exception:
                log.exception("callbacks_not_counted")
            await asyncio.sleep(_COUNT)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            try:
                pause = await self._look()
            except StoreUnavailableError:
                pause = 1.0
            except Exception:
                # Nothing may end this loop: callbacks would stop in silence.
                log.exception("callbacks_failed")
                pause = 1.0
            if self._stopping.is_set():
                return
            try:
                await asyncio.wait_for(self._bell.wait(), pause)
            except TimeoutError:
                continue
            await asyncio.sleep(_REST)

    async def _look(self) -> float | None:
        """Begin what is due; answers the seconds until something else will be."""
        if time.monotonic() - self._swept > _SWEEP:
            await self._outbox.sweep(self._clock() - _MEMORY)
            self._swept = time.monotonic()
        while True:
            full = [name for name, count in self._shares.items() if count >= _AT_ONCE_FOR_ONE]
            free = _AT_ONCE - len(self._busy)
            if free <= 0:
                return None
            found = await self._outbox.channels(full, len(self._busy) + free)
            fresh = [c for c in found if (c.job_id, c.url) not in self._busy]
            if not fresh:
                return _SWEEP
            now = self._clock()
            begun = 0
            for channel in fresh:
                if channel.due > now:
                    return min(max(0.0, (channel.due - now).total_seconds()), _SWEEP)
                if self._shares[channel.principal] < _AT_ONCE_FOR_ONE and begun < free:
                    self._begin(channel)
                    begun += 1
            if not begun:
                return _SWEEP

    def _begin(self, channel: Channel) -> None:
        key = channel.job_id, channel.url
        task = asyncio.create_task(self._tell_all(channel))
        self._busy[key] = task
        self._shares[channel.principal] += 1

        def done(task: asyncio.Task[None]) -> None:
            del self._busy[key]
            self._shares[channel.principal] -= 1
            if not self._shares[channel.principal]:
                del self._shares[channel.principal]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("callback_not_kept", job_id=channel.job_id, exc_info=error)
            self._bell.set()

        task.add_done_callback(done)

    async def _tell_all(self, channel: Channel) -> None:
        """Tell what a channel holds, as long as each is confirmed."""
        try:
            while not self._stopping.is_set():
                entry = await self._outbox.first(channel)
                if entry is None or entry.next_time > self._clock() or not await self._tell(entry):
                    return
        except StoreUnavailableError:
            # What was told cannot be forgotten just now: telling it again at once, and again,
            # helps nobody.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _STORE_REST)

    async def _tell(self, entry: Entry) -> bool:
        """Tell one event; answers whether the next one may follow at once."""
        error = await self._try(entry)
        if error is None:
            metrics.CALLBACKS.labels("delivered").inc()
            await self._outbox.told(entry)
            return True
        now = self._clock()
        pause = self._patience.after(entry.tries + 1, now - entry.create_time)
        metrics.CALLBACKS.labels("given_up" if pause is None else "failed").inc()
        if pause is not None:
            await self._outbox.put_off(entry, now + timedelta(seconds=pause), error)
            return False
        await self._outbox.give_up(entry, error)
        log.warning(
            "callback_given_up",
            job_id=entry.event.job_id,
            sequence=entry.event.sequence,
            tries=entry.tries + 1,
            error=error,
        )
        return True

    async def _try(self, entry: Entry) -> str | None:
        """Send an event once; answers why it was not confirmed, or None where it was."""
        try:
            content = body(entry, self._names)
            secret = await self._secret(entry)
            timestamp = int(self._clock().timestamp())
            await self._delivery.post(
                entry.url, headers(entry, content, secret, timestamp), content
            )
        except (DeliveryError, VaultError) as error:
            return str(error)
        except StoreUnavailableError:
            raise
        except Exception:
            # Put off like the others: tried at once again, it would be so for ever.
            log.exception("callback_failed", job_id=entry.event.job_id)
            return "the server met a fault of its own; its log has the details"
        return None

    async def _secret(self, entry: Entry) -> str | None:
        if entry.account:
            return await self._accounts.secret(entry.principal, entry.url)
        key = self._keys.find(entry.key_id) if entry.key_id is not None else None
        return None if key is None else self._keys.secret(key)
