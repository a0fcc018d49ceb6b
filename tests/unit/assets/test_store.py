"""What is kept of assets."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from reelsplit import Error, Media, MediaState, Output, SegmentState, SourceInfo
from reelsplit_server.assets.records import (
    Again,
    MediaFilter,
    MediaRecord,
    MediaTokenReusedError,
    NoSuchMediaError,
)
from reelsplit_server.assets.store import MediaStore
from reelsplit_server.jobs.rows import micros
from tests.unit.jobs.keeping import Kept, pieces


@pytest.fixture
def assets(keep: Kept) -> MediaStore:
    return MediaStore(keep.database)


async def add(
    assets: MediaStore,
    uri: str = "s3://b/film.mp4",
    token: str = "",
    *,
    principal: str = "me",
    again: Again = Again.ANOTHER,
    details: dict[str, str] | None = None,
    **values: Any,
) -> MediaRecord:
    return await assets.add(principal, token, Media(uri=uri, **values), details or {}, again)


async def test_an_asset_is_kept_as_it_was_registered(keep: Kept, assets: MediaStore) -> None:
    labels = {"show": "news"}
    made = await add(
        assets, title="Film", labels=labels, user_data="{}", details={"Description": "d"}
    )
    media = made.media
    assert len(media.media_id) == 32
    assert set(media.media_id) <= set("0123456789abcdef")
    assert (media.uri, media.title, media.labels) == ("s3://b/film.mp4", "Film", labels)
    assert (media.state, media.owner, media.source) == (MediaState.PENDING, "me", None)
    assert media.create_time == keep.clock.now
    assert made.details == {"Description": "d"}
    assert await assets.get("me", media.media_id) == made
    assert await assets.get(None, media.media_id) == made
    with pytest.raises(NoSuchMediaError):
        await assets.get("you", media.media_id)


async def test_facts_and_failures(keep: Kept, assets: MediaStore) -> None:
    made = (await add(assets, title="t")).media
    keep.clock.turn(timedelta(seconds=5))
    assert (await assets.probing(made.media_id)).media.state is MediaState.PROBING
    source = SourceInfo(container="mp4", size_bytes=7)
    ready = (await assets.probed(made.media_id, source=source)).media
    assert (ready.state, ready.source, ready.title) == (MediaState.READY, source, "t")
    assert ready.update_time == keep.clock.now
    assert ready.create_time == made.create_time
    error = Error(reason="SOURCE_NOT_FOUND", message="m")
    failed = (await assets.probed(made.media_id, error=error)).media
    assert (failed.state, failed.error) == (MediaState.FAILED, error)


async def test_tokens(keep: Kept, assets: MediaStore) -> None:
    first = await add(assets, token="t", title="a")
    assert await add(assets, token="t", title="a") == first
    for other in (
        {"title": "b"},
        {"title": "a", "labels": {"k": "v"}},
        {"title": "a", "uri": "/x"},
    ):
        with pytest.raises(MediaTokenReusedError) as caught:
            await add(assets, token="t", **other)  # type: ignore[arg-type]
        assert caught.value.media_id == first.media.media_id
    mine = await add(assets, token="t", title="a", principal="you")
    assert mine.media.media_id != first.media.media_id
    await assets.delete("me", first.media.media_id)
    with pytest.raises(MediaTokenReusedError):
        await add(assets, token="t", title="a")
    keep.clock.turn(timedelta(hours=25))
    await assets.sweep()
    assert (await add(assets, token="t", title="a")).media.media_id != first.media.media_id


async def test_registering_again(assets: MediaStore) -> None:
    first = await add(assets)
    other = await add(assets)
    assert other.media.media_id != first.media.media_id
    kept = await add(assets, again=Again.KEEP)
    assert kept.media.media_id in (first.media.media_id, other.media.media_id)
    replaced = await add(assets, again=Again.REPLACE)
    for gone in (first, other):
        with pytest.raises(NoSuchMediaError):
            await assets.get("me", gone.media.media_id)
    assert await assets.at("me", ["s3://b/film.mp4"]) == replaced
    theirs = await add(assets, principal="you", again=Again.KEEP)
    assert theirs.media.media_id != replaced.media.media_id


async def test_an_endpoint_is_part_of_a_location(assets: MediaStore) -> None:
    """Two stores may have buckets of one name."""

    async def registered(endpoint: str | None, token: str = "", again: Again = Again.KEEP) -> str:
        wanted = Media(uri="s3://films/a.mp4")
        record = await assets.add("me", token, wanted, {}, again, endpoint)
        assert record.endpoint == endpoint
        return record.media.media_id

    tokens = {None: "", "a": "token", "b": ""}
    ids = {name: await registered(name, token) for name, token in tokens.items()}
    assert len(set(ids.values())) == 3
    for name, media_id in ids.items():
        assert await registered(name) == media_id
        assert (await assets.at("me", ["s3://films/a.mp4"], name)).media.media_id == media_id
    # The token of "a" is not good for "b", and one that is nowhere is found without.
    with pytest.raises(MediaTokenReusedError):
        await registered("c", "token")
    assert (await assets.at("me", ["s3://films/a.mp4"], "c")).media.media_id in ids.values()
    again = await registered("a", again=Again.REPLACE)
    assert again not in ids.values()
    left, _, _ = await assets.find("me", MediaFilter(), None, 10)
    assert {record.media.media_id for record in left} == {ids[None], ids["b"], again}


async def test_lists(keep: Kept, assets: MediaStore) -> None:
    ids = []
    for n in range(5):
        keep.clock.turn(timedelta(seconds=1))
        details = {"BusinessType": "opening"} if n == 2 else {}
        made = await add(assets, f"/v/{n}", labels={"n": str(n % 2)}, details=details)
        ids.append(made.media.media_id)
    await add(assets, principal="you")

    async def found(
        after: tuple[int, str] | None = None, size: int = 10, who: str | None = "me", **chosen: Any
    ) -> tuple[list[int], bool, int]:
        records, more, total = await assets.find(who, MediaFilter(**chosen), after, size)
        return [int(r.media.uri[-1]) for r in records], more, total

    assert await found() == ([4, 3, 2, 1, 0], False, 5)
    assert await found(oldest_first=True, size=2) == ([0, 1], True, 5)
    records, _, _ = await assets.find("me", MediaFilter(), None, 2)
    last = records[-1].media
    assert last.create_time is not None
    assert await found(after=(micros(last.create_time), last.media_id)) == ([2, 1, 0], False, 5)
    assert await found(labels={"n": "1"}) == ([3, 1], False, 2)
    assert await found(details={"BusinessType": ("opening", "general")}) == ([2], False, 1)
    assert (await found(details={"BusinessType": ("general", "general")}))[0] == [4, 3, 1, 0]
    assert await found(media_id=ids[3]) == ([3], False, 1)
    await assets.probing(ids[1])
    assert (await found(states=[MediaState.PROBING]))[0] == [1]
    since = keep.clock.now - timedelta(seconds=1)
    assert (await found(create_time_from=since))[0] == [4, 3]
    assert (await found(create_time_until=since))[0] == [2, 1, 0]
    assert len((await assets.find(None, MediaFilter(), None, 10))[0]) == 6


async def test_callers_take_turns(keep: Kept, assets: MediaStore) -> None:
    mine = [(await add(assets, f"/{n}")).media.media_id for n in range(3)]
    keep.clock.turn(timedelta(seconds=1))
    yours = (await add(assets, principal="you")).media.media_id
    first = await assets.unprobed([])
    assert len(first) == 2
    assert yours in first
    (other,) = set(first) - {yours}
    rest = set(mine) - {other}
    (following,) = await assets.unprobed([other, yours])
    assert following in rest
    await assets.probing(yours)
    assert yours in await assets.unprobed([])
    await assets.probed(yours, source=SourceInfo(container="mp4"))
    assert yours not in await assets.unprobed([])


async def test_published_segments_become_assets(keep: Kept, assets: MediaStore) -> None:
    output = Output(uri_template="s3://b/{index}.mp4", endpoint="e.com", export_as_media=True)
    job = await keep.add(output=output)
    await keep.store.plan(job.job_id, pieces(2))
    _, segment, _ = await keep.store.begin_segment(job.job_id, 0)
    told = dataclasses.replace(segment, uri="s3://b/0.mp4", media_id="f" * 32)
    await keep.store.change_segment(told, SegmentState.PUBLISHED)
    made = await assets.get("me", "f" * 32)
    assert (made.media.uri, made.media.title) == ("s3://b/0.mp4", "0.mp4")
    assert (made.media.job_id, made.endpoint) == (job.job_id, "e.com")
    assert (made.media.state, made.media.owner) == (MediaState.PENDING, "me")
    kept, _ = await keep.store.segment(job.job_id, 0)
    assert kept.media_id == "f" * 32
    _, segment, _ = await keep.store.begin_segment(job.job_id, 1)
    await keep.store.change_segment(segment, SegmentState.PUBLISHED)
    assert (await assets.find("me", MediaFilter(), None, 10))[2] == 1
