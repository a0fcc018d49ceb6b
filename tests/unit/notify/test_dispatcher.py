"""Callbacks: each event arrives, in order, whatever the receiver does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from reelsplit import JobState
from reelsplit_server.access.principals import user_id
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.notify.accounts import EventCallback
from reelsplit_server.notify.dispatcher import DAY, QUICK, Patience
from tests.patience import PATIENCE
from tests.receiver import Call, Receiver
from tests.unit.notify.telling import NAMES, Telling, telling

SECOND, DAYS = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
async def tell(tmp_path: Path) -> AsyncIterator[Telling]:
    async with telling(tmp_path) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


async def calls(receiver: Receiver, count: int) -> list[Call]:
    for _ in range(3000):
        if len(receiver.calls) >= count:
            return receiver.calls
        await asyncio.sleep(0.02)
    raise AssertionError(f"{len(receiver.calls)} calls")


async def tried(tell: Telling, count: int) -> None:
    """Wait until the first entry was tried so often."""

    async def so_often() -> bool:
        found = await tell.waiting()
        return bool(found) and found[0].tries >= count

    await tell.until(so_often)


# --- What is told ----------------------------------------------------------------------------


async def test_the_end_of_a_job_is_told(tell: Telling, receiver: Receiver) -> None:
    key = await tell.key(secret="testAccessKeySecret")
    job = await tell.job(receiver.url, key_id=key.key.key_id, user_data='{"mine": "\u00e4"}')
    tell.begin()
    await tell.finish(job)
    (call,) = await calls(receiver, 1)
    await tell.done()
    assert call.path == "/hook?token=t"
    assert call.headers["content-type"] == "application/json"
    assert call.json == {
        "EventType": NAMES.job,
        "UserId": user_id("me"),
        "EventTime": "2026-01-01T00:00:00Z",
        "MessageBody": {
            "JobId": job.job_id,
            "UserData": '{"mine": "\u00e4"}',
            "EventId": f"{job.job_id}-3",
            "Status": "Success",
            "State": "SUCCEEDED",
            "Attempt": 1,
        },
    }
    assert call.headers["x-reelsplit-event-id"] == call.event
    timestamp = call.headers["x-ice-timestamp"]
    assert timestamp == str(int(tell.keep.clock.now.timestamp()))
    covered = f"{receiver.url}|{timestamp}|testAccessKeySecret".encode()
    assert call.headers["x-ice-signature"] == hashlib.md5(covered).hexdigest()
    signed = hmac.new(b"testAccessKeySecret", f"{timestamp}.".encode() + call.body, hashlib.sha256)
    assert call.headers["x-reelsplit-signature"] == f"sha256={signed.hexdigest()}"


@pytest.mark.parametrize(
    ("state", "code"), [(JobState.FAILED, "WRONG"), (JobState.CANCELLED, "CANCELLED")]
)
async def test_other_ends_say_why(
    tell: Telling, receiver: Receiver, state: JobState, code: str
) -> None:
    job = await tell.job(receiver.url)
    tell.begin()
    if state is JobState.CANCELLED:
        await tell.keep.store.change_job(job.job_id, JobState.CANCELLING)
    await tell.finish(job, state)
    (call,) = await calls(receiver, 1)
    message = call.json["MessageBody"]
    assert (message["Status"], message["State"], message["ErrorCode"]) == (
        "Failed",
        state.value,
        code,
    )
    # No key submitted it, so nothing signs.
    assert "x-ice-signature" not in call.headers
    assert "x-reelsplit-signature" not in call.headers


async def test_segments_are_told_in_order_and_before_the_end(
    tell: Telling, receiver: Receiver
) -> None:
    job = await tell.job(receiver.url, segments=5)
    for index in (2, 0, 4):
        await tell.publish(job, index)
    tell.begin()
    for index in (1, 3):
        await tell.publish(job, index)
    await tell.keep.store.plan_complete(job.job_id, None, ())  # type: ignore[arg-type]
    await tell.finish(job)
    told = await calls(receiver, 6)
    await tell.done()
    assert [call.json["EventType"] for call in told] == [NAMES.segment] * 5 + [NAMES.job]
    assert [call.json["MessageBody"].get("Index") for call in told] == [2, 0, 4, 1, 3, None]
    assert told[0].json["MessageBody"]["Uri"] == "/v/out/2.mp4"


async def test_segments_are_told_only_where_that_is_asked_for(
    tell: Telling, receiver: Receiver
) -> None:
    job = await tell.job(receiver.url, segments=1)
    await tell.keep.force("UPDATE jobs SET notifies = 1")
    other = await tell.job(None, segments=1)
    for one in (job, other):
        await tell.publish(one, 0)
        await tell.finish(one)
    tell.begin()
    await tell.done()
    assert [call.json["EventType"] for call in receiver.calls] == [NAMES.job]


async def test_a_job_that_is_run_again_ends_again(tell: Telling, receiver: Receiver) -> None:
    job = await tell.job(receiver.url)
    tell.begin()
    await tell.finish(job, JobState.FAILED)
    await calls(receiver, 1)
    await tell.keep.store.retry(job.job_id, "")
    await tell.keep.store.change_job(job.job_id, JobState.RUNNING)
    await tell.finish(job)
    told = await calls(receiver, 2)
    assert [call.json["MessageBody"]["Attempt"] for call in told] == [1, 2]
    assert len({call.event for call in told}) == 2


async def test_what_is_told_outlives_its_job(tell: Telling, receiver: Receiver) -> None:
    job = await tell.job(receiver.url)
    await tell.finish(job)
    await tell.keep.store.delete("me", job.job_id)
    tell.begin()
    (call,) = await calls(receiver, 1)
    assert call.json["MessageBody"]["JobId"] == job.job_id


# --- Account-wide addresses ------------------------------------------------------------------


async def test_all_jobs_of_an_account_are_told(tell: Telling, receiver: Receiver) -> None:
    await tell.accounts.set("me", EventCallback(url=receiver.url, secret="TestKey001"))
    job, other = await tell.job(None, segments=1), await tell.job(None, principal="you")
    tell.begin()
    await tell.publish(job, 0)
    for one in (job, other):
        await tell.finish(one)
    await calls(receiver, 1)
    await tell.done()
    (call,) = receiver.calls
    assert call.json["MessageBody"]["JobId"] == job.job_id
    timestamp = call.headers["x-ice-timestamp"]
    covered = f"{receiver.url}|{timestamp}|TestKey001".encode()
    assert call.headers["x-ice-signature"] == hashlib.md5(covered).hexdigest()
    assert len(receiver.calls) == 1


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ((), [NAMES.job]),
        ((NAMES.job,), [NAMES.job]),
        ((NAMES.segment, NAMES.job), [NAMES.segment, NAMES.job]),
        ((NAMES.segment,), [NAMES.segment]),
        (("ProduceMediaComplete",), []),
    ],
)
async def test_an_account_names_the_events_that_it_wants(
    tell: Telling, receiver: Receiver, wanted: tuple[str, ...], told: list[str]
) -> None:
    await tell.accounts.set("me", EventCallback(url=receiver.url, event_types=wanted))
    kept = await tell.accounts.get("me")
    assert kept == EventCallback(url=receiver.url, event_types=wanted)
    job = await tell.job(None, segments=1)
    await tell.publish(job, 0)
    await tell.finish(job)
    tell.begin()
    await tell.done()
    assert [call.json["EventType"] for call in receiver.calls] == told


async def test_those_who_set_no_address_have_that_of_all(tell: Telling, receiver: Receiver) -> None:
    await tell.accounts.set_default(EventCallback(url=receiver.url + "&all", secret="ours"))
    await tell.accounts.set("me", EventCallback(url=receiver.url + "&me"))
    for principal in ("me", "you"):
        await tell.finish(await tell.job(None, principal=principal))
    tell.begin()
    await tell.done()
    assert {call.path for call in receiver.calls} == {"/hook?token=t&me", "/hook?token=t&all"}
    await tell.accounts.set_default(None)
    await tell.accounts.set("me", None)
    assert await tell.accounts.get("me") is None
    await tell.finish(await tell.job(None))
    assert await tell.waiting() == []


async def test_an_address_is_signed_with_its_own_secret_or_none(
    tell: Telling, receiver: Receiver
) -> None:
    """A secret of the operator's is nothing for an address that a caller has chosen."""
    await tell.accounts.set("me", EventCallback(url=receiver.url, secret="mine"))
    await tell.finish(await tell.job(None))
    await tell.accounts.set_default(EventCallback(url="http://other/", secret="the operator's"))
    await tell.accounts.set("me", None)
    tell.begin()
    (call,) = await calls(receiver, 1)
    assert "x-ice-signature" not in call.headers


async def test_a_fault_of_our_own_is_put_off_like_the_others(
    tell: Telling, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise TypeError("a fault")

    with monkeypatch.context() as within:
        within.setattr("reelsplit_server.notify.dispatcher.body", broken)
        await tell.finish(await tell.job(receiver.url))
        tell.begin()
        await tried(tell, 1)
    (entry,) = await tell.waiting()
    assert (entry.tries, entry.error) == (
        1,
        "the server met a fault of its own; its log has the details",
    )
    tell.turn(2 * SECOND)
    await tell.done()


async def test_an_address_that_is_both_is_told_once(tell: Telling, receiver: Receiver) -> None:
    await tell.accounts.set("me", EventCallback(url=receiver.url))
    await tell.finish(await tell.job(receiver.url))
    tell.begin()
    await tell.done()
    assert len(receiver.calls) == 1


async def test_secrets_of_accounts_are_not_kept_in_the_clear(tell: Telling) -> None:
    await tell.accounts.set("me", EventCallback(url="http://x/", secret="TestKey001"))
    assert await tell.accounts.secret("me", "http://x/") == "TestKey001"
    kept = b"".join(path.read_bytes() for path in tell.keep.path.parent.glob("reelsplit.db*"))
    assert b"http://x/" in kept
    assert b"TestKey001" not in kept
    # Moved to another's row it does not open.
    await tell.keep.force("UPDATE callbacks SET principal = 'you'")
    with pytest.raises(Exception, match="another key"):
        await tell.accounts.secret("you", "http://x/")


# --- Receivers that do not confirm -----------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 404, 302, 307, 201, 204])
async def test_only_200_confirms(tell: Telling, receiver: Receiver, status: int) -> None:
    receiver.headers = {"Location": receiver.url.replace("hook", "elsewhere")}
    receiver.answer = lambda number: 200 if number else status
    tell.begin()
    await tell.finish(await tell.job(receiver.url))
    await tried(tell, 1)
    (entry,) = await tell.waiting()
    assert entry.error == f"the answer was {status}, and only 200 confirms"
    tell.turn(2 * SECOND)
    await tell.done()
    assert [call.path for call in receiver.calls] == ["/hook?token=t"] * 2
    first, second = receiver.calls
    assert first.body == second.body
    assert first.headers["x-reelsplit-event-id"] == second.headers["x-reelsplit-event-id"]


async def test_a_200_that_comes_late_does_not_count(tell: Telling, receiver: Receiver) -> None:
    tell.timeout = 0.2
    receiver.answer = lambda number: 200 if number else 1.0
    tell.begin()
    await tell.finish(await tell.job(receiver.url))
    await tried(tell, 1)
    (entry,) = await tell.waiting()
    assert entry.error == "there was no answer within 0.2 s"
    tell.timeout = 3.0
    tell.turn(2 * SECOND)
    await tell.done()
    # The answer to the first was lost: this event came twice.
    assert len(receiver.calls) == 2
    assert len(set(receiver.events)) == 1


async def test_a_lost_answer_is_a_repetition(tell: Telling, receiver: Receiver) -> None:
    receiver.answer = lambda number: 200 if number else None
    tell.begin()
    await tell.finish(await tell.job(receiver.url))
    await tried(tell, 1)
    tell.turn(2 * SECOND)
    await tell.done()
    assert len(receiver.calls) == 2
    assert len(set(receiver.events)) == 1


async def test_a_receiver_that_is_away_holds_up_its_job_alone(
    tell: Telling, receiver: Receiver
) -> None:
    job, other = await tell.job(receiver.url, segments=3), await tell.job(receiver.url)
    receiver.answer = lambda number: 500 if number == 0 else 200
    tell.begin()
    for index in range(3):
        await tell.publish(job, index)
    await tried(tell, 1)
    await tell.finish(other)
    await calls(receiver, 2)
    assert receiver.calls[1].json["MessageBody"]["JobId"] == other.job_id
    tell.turn(2 * SECOND)
    await tell.done()
    indexes = [call.json["MessageBody"].get("Index") for call in receiver.calls]
    assert indexes == [0, None, 0, 1, 2]


async def test_a_refused_connection_is_tried_again_when_the_receiver_is_back(
    tell: Telling, receiver: Receiver
) -> None:
    receiver.stop()
    tell.begin()
    await tell.finish(await tell.job(receiver.url))
    await tried(tell, 1)
    (entry,) = await tell.waiting()
    assert entry.error == "the address could not be connected to"
    receiver.start()
    tell.turn(2 * SECOND)
    await tell.done()
    assert len(receiver.calls) == 1


async def test_a_restart_loses_nothing_and_repeats_only_what_was_not_confirmed(
    tell: Telling, receiver: Receiver
) -> None:
    job = await tell.job(receiver.url, segments=4)
    tell.begin()
    await tell.publish(job, 0)
    await calls(receiver, 1)
    await tell.done()
    await tell.end()
    for index in (1, 2, 3):
        await tell.publish(job, index)
    await tell.finish(job)
    tell.begin()
    await tell.done()
    assert len(receiver.calls) == 5
    assert len(set(receiver.events)) == 5


async def test_what_is_under_way_at_the_end_is_confirmed_yet(
    tell: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 0.5
    job = await tell.job(receiver.url, segments=2)
    tell.begin()
    await tell.publish(job, 0)
    await tell.publish(job, 1)
    await calls(receiver, 1)
    await tell.end()
    assert len(receiver.calls) == 1
    assert len(await tell.waiting()) == 1


async def test_one_principals_dead_addresses_do_not_hold_up_the_others(
    tell: Telling, receiver: Receiver
) -> None:
    go = asyncio.Event()
    slow = Receiver(lambda _: 200 if go.is_set() else 1.0)
    with slow:
        for _ in range(24):
            await tell.finish(await tell.job(slow.url))
        tell.begin()
        await calls(slow, 8)
        await tell.finish(await tell.job(receiver.url, principal="you"))
        await calls(receiver, 1)
        assert len(slow.calls) < 24
        go.set()
        await tell.done()
        assert len(slow.calls) >= 24


# --- Where callbacks may go ------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "hook.test"])
async def test_an_address_inside_is_never_connected_to(
    tell: Telling, receiver: Receiver, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number, by name, and by a name that leads inside only when it is looked up."""
    real = socket.getaddrinfo

    def look_up(name: str, *args: object, **kwargs: object) -> object:
        return real("127.0.0.1" if name == "hook.test" else name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    tell.networks = ()
    tell.begin()
    await tell.finish(await tell.job(receiver.url.replace("127.0.0.1", host)))
    await tried(tell, 1)
    (entry,) = await tell.waiting()
    assert entry.error is not None
    assert entry.error.startswith("the address may not be called: ")
    assert host == "127.0.0.1" or "127.0.0.1" not in entry.error
    assert receiver.calls == []


async def test_each_try_is_judged_anew(
    tell: Telling, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads to an allowed address first and inside then."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def look_up(name: str, *args: object, **kwargs: object) -> object:
        if name != "hook.test":
            return real(name, *args, **kwargs)  # type: ignore[arg-type]
        asked.append(name)
        return real("127.0.0.1" if len(asked) == 1 else "127.9.9.9", *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    tell.networks = ("127.0.0.1/32",)
    receiver.answer = lambda _: 500
    tell.begin()
    await tell.finish(await tell.job(receiver.url.replace("127.0.0.1", "hook.test")))
    await tried(tell, 1)
    tell.turn(2 * SECOND)
    await tried(tell, 2)
    (entry,) = await tell.waiting()
    assert "does not lead to public addresses alone" in (entry.error or "")
    assert len(receiver.calls) == 1


async def test_a_host_that_is_not_listed_any_more_is_not_called(
    tell: Telling, receiver: Receiver
) -> None:
    tell.hosts = ("hooks.example.com",)
    tell.begin()
    await tell.finish(await tell.job(receiver.url))
    await tried(tell, 1)
    assert receiver.calls == []


async def test_over_tls_the_certificate_must_be_the_addresss_own(
    tell: Telling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    contexts = []
    for name in ("127.0.0.1", "other.example.com"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        contexts.append(context)
    with Receiver(tls=contexts[0]) as good, Receiver(tls=contexts[1]) as wrong:
        await tell.finish(await tell.job(good.url))
        tell.begin()
        await tried(tell, 1)
        assert good.calls == []
        await tell.end()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        tell.begin()
        tell.turn(2 * SECOND)
        await tell.done()
        assert len(good.calls) == 1
        await tell.finish(await tell.job(wrong.url))
        await tried(tell, 1)
        assert wrong.calls == []


# --- Patience --------------------------------------------------------------------------------


def test_pauses_grow_for_a_day() -> None:
    age, pauses = timedelta(), []
    while (pause := DAY.after(len(pauses) + 1, age)) is not None:
        pauses.append(pause)
        age += timedelta(seconds=pause)
    assert 25 <= len(pauses) <= 45
    assert DAYS <= age <= DAYS + timedelta(hours=2)
    assert 0.9 <= pauses[0] <= 1.1
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:12]))
    assert max(pauses) <= 3600 * 1.1


def test_the_original_tries_twice_more_a_second_apart() -> None:
    assert [QUICK.after(n, timedelta()) for n in (1, 2, 3)] == [1.0, 1.0, None]


async def test_what_cannot_be_told_is_kept_as_failed(tell: Telling, receiver: Receiver) -> None:
    tell.patience = QUICK
    receiver.answer = lambda number: 500 if number < 3 else 200
    job = await tell.job(receiver.url, segments=2)
    tell.begin()
    await tell.publish(job, 0)
    await tell.publish(job, 1)
    for count in (1, 2):
        await tried(tell, count)
        tell.turn(1.1 * SECOND)
    await tell.done()
    # The next one is told all the same.
    assert len(receiver.calls) == 4
    (entry,) = await tell.failed()
    assert (entry.tries, entry.failed) == (3, True)
    assert entry.error == "the answer was 500, and only 200 confirms"
    tell.turn(29 * DAYS)
    await tell.outbox.sweep(tell.keep.clock.now - 30 * DAYS)
    assert await tell.failed()
    tell.turn(2 * DAYS)
    await tell.outbox.sweep(tell.keep.clock.now - 30 * DAYS)
    assert not await tell.failed()


async def test_a_day_passes_also_for_those_that_wait_behind(
    tell: Telling, receiver: Receiver
) -> None:
    tell.patience = Patience()
    receiver.answer = lambda _: 500
    job = await tell.job(receiver.url, segments=2)
    tell.begin()
    await tell.publish(job, 0)
    await tell.publish(job, 1)
    await tried(tell, 1)
    tell.turn(25 * timedelta(hours=1))
    await tell.done()
    assert [entry.tries for entry in await tell.failed()] == [2, 1]


async def test_a_database_that_fails_is_no_reason_to_flood_a_receiver(
    tell: Telling, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> None:
        raise StoreUnavailableError("the disk is full")

    receiver.answer = lambda number: 200 if number else 0.5
    tell.begin()
    await tell.finish(await tell.job(receiver.url))
    await calls(receiver, 1)
    with monkeypatch.context() as broken:
        broken.setattr(tell.keep.database, "write", full)
        # Long enough for many calls, and too short for the next one that is meant.
        await asyncio.sleep(1.5)
        assert len(receiver.calls) == 1
    await tell.end()
    tell.begin()
    await tell.done()
    assert len(set(receiver.events)) == 1


async def test_a_fault_does_not_end_the_counting(
    tell: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelsplit_server.notify.dispatcher._COUNT", 0.0)
    counts, again = 0, asyncio.Event()

    async def waiting(_most: int) -> int:
        nonlocal counts
        counts += 1
        if counts == 1:
            raise RuntimeError("a fault")
        again.set()
        return 0

    monkeypatch.setattr(tell.outbox, "waiting", waiting)
    tell.begin()
    await asyncio.wait_for(again.wait(), PATIENCE)
