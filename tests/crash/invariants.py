"""What must hold at the end, whatever happened in between: one function for each promise."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress

from reelsplit import (
    JobEvent,
    JobProgress,
    JobState,
    JobStateChanged,
    NotFoundError,
    Segment,
    SegmentChanged,
    SegmentState,
)
from reelsplit.watching import TERMINAL
from tests.crash.launching import QuickServer
from tests.crash.load import WATCHED, Load, Tracked
from tests.crash.places import checksum, numbers
from tests.server import wait_for


def check_all(load: Load, server: QuickServer) -> None:
    """All of them; the server runs, and the load has finished."""
    every_job_ended_right(load)
    each_submission_made_one_job(load)
    watchers_saw_what_is_kept(load)
    watchers_of_all_saw_what_is_kept(load)
    percent_never_went_back(load)
    each_segment_was_published_once(load)
    no_object_was_replaced_or_is_half(load)
    nothing_else_lies_in_the_stores(load)
    each_export_is_one_asset(load)
    nothing_of_dead_servers_is_left(server)
    the_database_is_sound(server)
    no_server_met_a_fault(server)


def every_job_ended_right(load: Load) -> None:
    """Each job whose submission was answered is there, and ended as it should."""
    for job in load.jobs:
        client = load.clients[job.principal]
        try:
            kept = client.get(job.job_id)
        except NotFoundError:
            assert job.wanted.kind in ("deleted", "fleeting"), f"{job.label} is lost"
            continue
        assert job.wanted.stopped != "delete", f"{job.label} was deleted, and is {kept.state}"
        states = {job.wanted.state}
        if job.wanted.stopped:
            assert all(a.state in {*TERMINAL, JobState.CANCELLING} for a in job.answers), job.label
            states.add(JobState.CANCELLED)
        assert kept.state in states, f"{job.label} is {kept.state}: {kept.error}"
        assert kept.progress is not None
        assert (kept.progress.percent == 100) == (kept.state is JobState.SUCCEEDED), job.label
        segments = list(client.segments(job.job_id))
        assert [segment.index for segment in segments] == list(range(len(segments))), job.label
        for segment in segments:
            _ended_right(job, kept.state, segment)
        if kept.state is not JobState.CANCELLED:
            assert len(segments) == len(job.wanted.frames) + len(job.wanted.failed), job.label
            assert len(kept.reports) == job.wanted.reports, job.label


def _ended_right(job: Tracked, state: JobState, segment: Segment) -> None:
    told = f"segment {segment.index} of {job.label} is {segment.state}: {segment.error}"
    if segment.index in job.wanted.failed:
        assert segment.state is SegmentState.FAILED, told
        assert segment.error is not None
        assert segment.error.reason == job.wanted.failed[segment.index], told
    elif state is JobState.CANCELLED:
        assert segment.state in (SegmentState.PUBLISHED, SegmentState.PLANNED), told
    else:
        assert segment.state is SegmentState.PUBLISHED, told


def each_submission_made_one_job(load: Load) -> None:
    """However often it was sent: no job is there that nobody was told of, and none twice."""
    for principal, client in load.clients.items():
        told = {job.name: job.job_id for job in load.jobs if job.principal == principal}
        listed = [
            (job.spec.labels["name"], job.job_id) for job in client.list() if job.spec is not None
        ]
        twice = [name for name, count in Counter(n for n, _ in listed).items() if count > 1]
        assert not twice, f"submitted once, and there are more: {twice}"
        for name, job_id in listed:
            assert told.get(name) == job_id, f"{job_id} was made for {name}: {told.get(name)}"


def watchers_saw_what_is_kept(load: Load) -> None:
    """One who watched a job all the time was told each event once, in order, without a gap."""
    for job in load.jobs:
        seen = [event for event in job.events if event.sequence]
        _has_no_gap(job.label, seen)
        try:
            kept = list(load.clients[job.principal].watch(job.job_id, progress=False))
        except NotFoundError:
            continue
        assert seen == kept, f"the watcher of {job.label} saw other events than are kept"


def watchers_of_all_saw_what_is_kept(load: Load) -> None:
    """The same for those who watched all jobs of a caller."""
    for principal in WATCHED:
        own = [job for job in load.jobs if job.principal == principal]
        told = {event.job_id for event in load.all[principal] if event.job_id}
        assert told <= {job.job_id for job in own}, f"{principal} was told of jobs of others"
        for job in own:
            seen = [e for e in load.all[principal] if e.job_id == job.job_id and e.sequence]
            _has_no_gap(job.label, seen)
            kept = [event for event in job.events if event.sequence]
            assert [_bare(e) for e in seen] == [_bare(e) for e in kept], (
                f"the watcher of all jobs saw other events of {job.label} than are kept"
            )


def _has_no_gap(label: str, events: Sequence[JobEvent]) -> None:
    found = [event.sequence for event in events]
    assert found == list(range(1, len(found) + 1)), f"{label}: the events told are {found}"


def _bare(event: JobEvent) -> tuple[int, object]:
    """Without the token, which is another for each way of watching."""
    return event.sequence, event.event


def percent_never_went_back(load: Load) -> None:
    """Over all restarts and retries, and 100 came with success only."""
    streams = [(job.label, job.events) for job in load.jobs]
    for principal in WATCHED:
        by_job: dict[str, list[JobEvent]] = {}
        for event in load.all[principal]:
            by_job.setdefault(event.job_id, []).append(event)
        streams += [(f"{job_id}, watched with all", told) for job_id, told in by_job.items()]
    for label, events in streams:
        before = 0.0
        for event in events:
            if not isinstance(event.event, JobProgress | JobStateChanged):
                continue
            percent = event.event.percent
            assert percent >= before, f"{label} went back from {before} to {percent}"
            succeeded = (
                isinstance(event.event, JobStateChanged) and event.event.state is JobState.SUCCEEDED
            )
            assert percent < 100 or succeeded or before == 100, f"{label} was at 100 % too early"
            before = percent


def each_segment_was_published_once(load: Load) -> None:
    """One PUBLISHED event for each segment that is published, and none behind it."""
    for job in load.jobs:
        told: dict[int, list[SegmentState]] = {}
        for event in job.events:
            if isinstance(event.event, SegmentChanged) and event.event.segment is not None:
                segment = event.event.segment
                told.setdefault(segment.index, []).append(segment.state)
        for index, states in told.items():
            published = states.count(SegmentState.PUBLISHED)
            assert published <= 1, f"segment {index} of {job.label} was published {states}"
            assert not published or states[-1] is SegmentState.PUBLISHED, (
                f"segment {index} of {job.label} was published, and then {states}"
            )


def no_object_was_replaced_or_is_half(load: Load) -> None:
    """What was told as published lies there since, whole and with the right frames."""
    for job in load.jobs:
        place = load.place(job)
        for uri, (index, segment) in _published(load, job).items():
            data = place.read(uri)
            assert numbers(data) == list(job.wanted.frames[index]), f"{uri} of {job.label}"
            assert segment is None or (
                (segment.checksum, segment.size_bytes) == (checksum(data), len(data))
            ), f"{uri} of {job.label} is not what was published"
            stamp = job.stamps.get(index)
            assert stamp is None or place.stamp(uri) == stamp, f"{uri} of {job.label} was replaced"


def nothing_else_lies_in_the_stores(load: Load) -> None:
    """No half file, no temporary one, no upload; nothing of what was deleted or never listed."""
    wanted: dict[str, set[str]] = {place.folder: set() for place in load.places}
    for job in load.jobs:
        found = wanted[load.place(job).folder]
        found |= set(_published(load, job))
        if job.wanted.reports and job.wanted.stopped != "delete":
            reports = load.clients[job.principal].get(job.job_id).reports
            found |= {report.uri for report in reports}
            for report in reports:
                data = load.place(job).read(report.uri)
                assert report.checksum == checksum(data), f"{report.uri} of {job.label}"
    for place in load.places:
        names = wanted[place.folder]
        # Behind what a dead server left it is cleared up soon, not at once.
        with suppress(AssertionError):
            wait_for(lambda place=place, names=names: place.everything() <= names)
        left, missing = place.everything() - names, names - place.everything()
        assert not left, f"these lie there, and nothing lists them: {left}"
        assert not missing, f"these are listed, and do not lie there: {missing}"
        wait_for(lambda place=place: not place.uploads())


def _published(load: Load, job: Tracked) -> dict[str, tuple[int, Segment | None]]:
    """What a job has published, by location: index and segment, where that is still known."""
    if job.wanted.stopped == "delete":
        return {}
    try:
        published = [SegmentState.PUBLISHED]
        kept = load.clients[job.principal].segments(job.job_id, states=published)
        return {segment.uri: (segment.index, segment) for segment in kept}
    except NotFoundError:
        assert job.wanted.spec.output is not None
        template = job.wanted.spec.output.uri_template
        return {template.replace("{index}", str(i)): (i, None) for i in job.wanted.frames}


def each_export_is_one_asset(load: Load) -> None:
    """A segment that was exported is a media asset, and one only."""
    for principal, client in load.clients.items():
        exported = {
            uri: segment.media_id
            for job in load.jobs
            if job.principal == principal and job.wanted.kind == "exports"
            for uri, (_, segment) in _published(load, job).items()
            if segment is not None
        }
        assert all(exported.values()), f"exported without an asset: {exported}"
        assets = Counter((media.uri, media.media_id) for media in client.list_media())
        assert assets == Counter(exported.items()), f"the assets of {principal} are {assets}"


def nothing_of_dead_servers_is_left(server: QuickServer) -> None:
    """No process, no working file, no temporary one."""
    wait_for(lambda: not server.stray())
    scratch = server.folder / "data" / "scratch"
    # What stays is the socket of the server that runs.
    wait_for(lambda: [path.name for path in scratch.iterdir()] == ["s"])
    left = sorted(path.name for path in server.temporary.iterdir())
    assert len(left) <= 1, f"left by dead servers: {left}"


def the_database_is_sound(server: QuickServer) -> None:
    """As SQLite itself sees it."""
    path = server.folder / "data" / "reelsplit.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def no_server_met_a_fault(server: QuickServer) -> None:
    """None was logged. Lines may be half where a server was killed that wrote one."""
    for line in server.log.splitlines():
        assert "Traceback" not in line, line
        assert '"level": "error"' not in line, line
