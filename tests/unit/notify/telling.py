"""A real store, a real dispatcher on it, and the time in the test's hand."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelsplit import Error, JobState, SegmentState
from reelsplit_server.access.key_store import KeyTable
from reelsplit_server.access.keys import KeyRing, NewKey, make_key
from reelsplit_server.access.outbound import Outbound
from reelsplit_server.access.permissions import ORDINARY
from reelsplit_server.access.reach import EVERYTHING
from reelsplit_server.access.vault import Vault
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.notify.accounts import Accounts, EventNames
from reelsplit_server.notify.delivery import Delivery
from reelsplit_server.notify.dispatcher import DAY, Dispatcher, Patience
from reelsplit_server.notify.entries import Entry, Outbox
from tests.unit.jobs.keeping import Kept, kept, pieces

NAMES = EventNames(job="JobEnded", segment="SegmentOut")
VAULT = Vault(b"v" * 32)


@dataclasses.dataclass
class Telling:
    """What the tests work with. `begin` starts a dispatcher, `end` stops it."""

    keep: Kept
    outbox: Outbox
    accounts: Accounts
    keys: KeyRing
    bell: asyncio.Event
    patience: Patience = DAY
    timeout: float = 3.0
    networks: Sequence[str] = ("127.0.0.0/8",)
    hosts: Sequence[str] = ("*",)
    dispatcher: Dispatcher | None = None

    def begin(self) -> None:
        guard = Outbound(hosts=self.hosts, networks=self.networks)
        self.dispatcher = Dispatcher(
            self.outbox,
            Delivery(guard, self.timeout),
            self.accounts,
            self.keys,
            names=NAMES,
            patience=self.patience,
            bell=self.bell,
            clock=lambda: self.keep.clock.now,
        )
        self.dispatcher.start()

    async def end(self) -> None:
        assert self.dispatcher is not None
        await self.dispatcher.stop()
        self.dispatcher = None

    def turn(self, by: timedelta) -> None:
        """Let time pass, and whoever waits look at it."""
        self.keep.clock.turn(by)
        self.bell.set()

    async def key(self, principal: str = "me", secret: str | None = None) -> NewKey:
        made = make_key(
            VAULT,
            principal=principal,
            permissions=ORDINARY,
            reach=EVERYTHING,
            create_time=datetime(2026, 1, 1, tzinfo=UTC),
            secret=secret,
        )
        await KeyTable(self.keep.database).add(made.key)
        await self.keys.load()
        return made

    async def job(
        self,
        url: str | None,
        *,
        principal: str = "me",
        key_id: str | None = None,
        segments: int = 0,
        **values: object,
    ) -> JobRecord:
        """A job that runs."""
        from tests.unit.jobs.keeping import SPEC

        spec = dataclasses.replace(
            SPEC,
            notify_url=url,
            notify_segments=bool(segments),
            **values,  # type: ignore[arg-type]
        )
        record = await self.keep.store.add(
            principal, "", spec, spec, most_waiting=10_000, key_id=key_id
        )
        await self.keep.store.change_job(record.job_id, JobState.RUNNING)
        if segments:
            await self.keep.store.plan(record.job_id, pieces(segments))
        return record

    async def publish(self, job: JobRecord, index: int) -> None:
        _, segment, _ = await self.keep.store.begin_segment(job.job_id, index)
        made = dataclasses.replace(segment, uri=f"/v/out/{index}.mp4", size_bytes=index + 1)
        await self.keep.store.change_segment(made, SegmentState.PUBLISHED)
        self.bell.set()

    async def finish(self, job: JobRecord, state: JobState = JobState.SUCCEEDED) -> None:
        error = Error(reason="WRONG", message="It is.") if state is JobState.FAILED else None
        await self.keep.store.change_job(job.job_id, state, error=error, expire=timedelta(days=30))
        self.bell.set()

    async def waiting(self) -> Sequence[Entry]:
        return await self.outbox.listed(failed=False)

    async def failed(self) -> Sequence[Entry]:
        return await self.outbox.listed(failed=True)

    async def until(self, what: object) -> None:
        """Wait until an awaitable condition holds."""
        for _ in range(3000):
            if await what():  # type: ignore[operator]
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it took too long")

    async def done(self) -> None:
        """Wait until nothing is left to tell."""

        async def empty() -> bool:
            return not await self.waiting()

        await self.until(empty)


@asynccontextmanager
async def telling(folder: Path) -> AsyncIterator[Telling]:
    """Everything but a dispatcher that runs."""
    async with kept(folder) as keep:
        keys = KeyRing(KeyTable(keep.database), VAULT)
        accounts = Accounts(keep.database, VAULT, NAMES)
        made = Telling(keep, Outbox(keep.database), accounts, keys, asyncio.Event())
        try:
            yield made
        finally:
            if made.dispatcher is not None:
                await made.end()
