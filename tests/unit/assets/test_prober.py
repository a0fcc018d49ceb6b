"""How assets come to their facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from reelsplit import Error, Media, MediaState, SourceInfo
from reelsplit_server.assets.prober import ProbeLimits, Prober
from reelsplit_server.assets.records import Again
from reelsplit_server.assets.store import MediaStore
from reelsplit_server.engine import seam
from reelsplit_server.metrics import REGISTRY
from tests.patience import PATIENCE
from tests.unit.jobs.engines import SOURCE, ScriptedEngine
from tests.unit.jobs.keeping import Kept

DONE = seam.PlanDone(source=SOURCE)
GONE = seam.Failed(error=Error(reason="SOURCE_NOT_FOUND", message="m"), transient=False)
SHAKY = seam.Failed(error=Error(reason="SOURCE_UNAVAILABLE", message="m"), transient=True)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr("reelsplit_server.assets.prober._MOST_PAUSE", 0.01)
    monkeypatch.setattr("reelsplit_server.assets.prober._OUTAGE", 0.01)


class Bench:
    """A prober on an engine that does as a script says."""

    def __init__(self, keep: Kept, at_once: int = 1) -> None:
        self.assets = MediaStore(keep.database)
        self.engine = ScriptedEngine()
        self.opened: list[str | None] = []
        self.outcomes: dict[str, Callable[[], Any]] = {}
        self.engine.script = self.script
        limits = ProbeLimits(
            scratch=Path("/nonexistent"), tries=3, most_pixels=100, at_once=at_once
        )
        self.prober = Prober(self.assets, self.engine, limits)

    async def script(self, unit: seam.Unit, on_report: seam.OnReport) -> Any:
        assert isinstance(unit, seam.Probe)
        uri = unit.source.uri or ""
        self.opened.append(uri)
        await on_report(seam.Account(stages=[], read=1000))
        result = self.outcomes.get(uri, lambda: DONE)()
        return await result if asyncio.iscoroutine(result) else result

    async def add(self, uri: str, principal: str = "me") -> str:
        record = await self.assets.add(principal, "", Media(uri=uri), {}, Again.ANOTHER)
        self.prober.wake()
        return record.media.media_id

    async def ended(self, media_id: str) -> Media:
        async with asyncio.timeout(PATIENCE):
            while True:
                media = (await self.assets.get(None, media_id)).media
                if media.state in (MediaState.READY, MediaState.FAILED):
                    return media
                await asyncio.sleep(0.01)


@pytest.fixture
async def bench(keep: Kept) -> AsyncIterator[Bench]:
    made = Bench(keep)
    made.prober.start()
    yield made
    await made.prober.stop()


async def test_assets_get_their_facts(bench: Bench) -> None:
    media = await bench.ended(await bench.add("/a"))
    assert (media.state, media.source) == (MediaState.READY, SOURCE)


async def test_what_cannot_be_opened_says_why(bench: Bench) -> None:
    bench.outcomes["/a"] = lambda: GONE
    media = await bench.ended(await bench.add("/a"))
    assert (media.state, media.error) == (MediaState.FAILED, GONE.error)
    assert bench.opened == ["/a"]


@pytest.mark.parametrize("error", [SHAKY, seam.WorkerDiedError("x")])
async def test_what_fails_in_passing_is_tried_again(bench: Bench, error: Any) -> None:
    def outcome() -> Any:
        if len(bench.opened) > 2:
            return DONE
        if isinstance(error, Exception):
            raise error
        return error

    bench.outcomes["/a"] = outcome
    media = await bench.ended(await bench.add("/a"))
    assert media.state is MediaState.READY
    assert bench.opened == ["/a"] * 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SHAKY, "SOURCE_UNAVAILABLE"),
        (seam.WorkerDiedError("x"), "WORKER_DIED"),
        (TimeoutError(), "DEADLINE_EXCEEDED"),
        (RuntimeError("x"), "INTERNAL"),
    ],
)
async def test_it_is_not_tried_for_ever(bench: Bench, error: Any, reason: str) -> None:
    def outcome() -> Any:
        if isinstance(error, Exception):
            raise error
        return error

    bench.outcomes["/a"] = outcome
    media = await bench.ended(await bench.add("/a"))
    assert media.error is not None
    assert media.error.reason == reason
    assert len(bench.opened) == (1 if reason in ("DEADLINE_EXCEEDED", "INTERNAL") else 3)
    assert (await bench.ended(await bench.add("/b"))).state is MediaState.READY


async def test_what_a_probe_takes_is_counted(bench: Bench) -> None:
    def counted() -> list[float]:
        names: dict[str, dict[str, str]] = {
            "reelsplit_source_read_bytes_total": {},
            "reelsplit_worker_deaths_total": {"cause": "stalled"},
            "reelsplit_unit_retries_total": {"kind": "probe"},
        }
        return [REGISTRY.get_sample_value(*each) or 0.0 for each in names.items()]

    def outcome() -> Any:
        if len(bench.opened) < 3:
            raise seam.WorkerDiedError("x", end=seam.End.STALLED)
        return DONE

    before = counted()
    bench.outcomes["/a"] = outcome
    await bench.ended(await bench.add("/a"))
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [3 * 1000, 2, 2]


async def test_facts_that_cannot_be_kept_are_a_fault(bench: Bench) -> None:
    wrong: Any = SourceInfo(container="mp4", size_bytes=2**70)
    bench.outcomes["/a"] = lambda: seam.PlanDone(source=wrong)
    media = await bench.ended(await bench.add("/a"))
    assert media.error is not None
    assert media.error.reason == "INTERNAL"


async def test_an_asset_may_be_deleted_while_it_is_opened(bench: Bench) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait() -> Any:
        entered.set()
        await leave.wait()
        return DONE

    bench.outcomes["/a"] = wait
    media_id = await bench.add("/a")
    await asyncio.wait_for(entered.wait(), PATIENCE)
    await bench.assets.delete("me", media_id)
    leave.set()
    assert (await bench.ended(await bench.add("/b"))).state is MediaState.READY


async def test_one_caller_does_not_hold_up_another(bench: Bench) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait() -> Any:
        entered.set()
        await leave.wait()
        return DONE

    bench.outcomes["/first"] = wait
    await bench.add("/first")
    await asyncio.wait_for(entered.wait(), PATIENCE)
    mine = [await bench.add(f"/{n}") for n in range(5)]
    yours = await bench.add("/yours", "you")
    leave.set()
    for media_id in (*mine, yours):
        await bench.ended(media_id)
    assert bench.opened.index("/yours") <= 2


async def test_a_source_that_hangs_holds_up_its_own_caller_alone(keep: Kept) -> None:
    bench = Bench(keep, at_once=2)
    leave = asyncio.Event()

    async def hang() -> Any:
        await leave.wait()
        return DONE

    bench.outcomes["/hangs"] = hang
    bench.prober.start()
    hanging = await bench.add("/hangs")
    behind = await bench.add("/behind")
    for number in range(5):
        assert (await bench.ended(await bench.add(f"/{number}", "you"))).state is MediaState.READY
    assert bench.opened == ["/hangs", *(f"/{number}" for number in range(5))]
    leave.set()
    for media_id in (hanging, behind):
        assert (await bench.ended(media_id)).state is MediaState.READY
    await bench.prober.stop()


async def test_so_many_are_opened_at_once(keep: Kept) -> None:
    bench = Bench(keep, at_once=3)
    inside, most = 0, 0

    async def wait() -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        inside -= 1
        return DONE

    added = []
    for number in range(12):
        bench.outcomes[f"/{number}"] = wait
        added.append(await bench.add(f"/{number}", f"caller {number}"))
    bench.prober.start()
    for media_id in added:
        await bench.ended(media_id)
    assert most == 3
    assert sorted(bench.opened) == sorted(f"/{number}" for number in range(12))
    await bench.prober.stop()


async def test_the_next_server_opens_what_the_last_did_not(keep: Kept) -> None:
    bench = Bench(keep)
    entered = asyncio.Event()

    async def hang() -> Any:
        entered.set()
        await asyncio.sleep(60)

    bench.outcomes["/a"] = hang
    media_id = await bench.add("/a")
    bench.prober.start()
    await asyncio.wait_for(entered.wait(), PATIENCE)
    await bench.prober.stop()
    assert (await bench.assets.get("me", media_id)).media.state is MediaState.PROBING
    again = Bench(keep)
    again.prober.start()
    assert (await again.ended(media_id)).state is MediaState.READY
    await again.prober.stop()
