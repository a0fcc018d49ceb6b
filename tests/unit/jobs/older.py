"""Databases as earlier versions left them."""

from __future__ import annotations

from sqlalchemy import URL, text

from reelsplit import JobEvent, JobState, JobStateChanged, Segment
from reelsplit.wire import to_message
from reelsplit_server.jobs.backend import engine_of
from reelsplit_server.jobs.database import migrate
from reelsplit_server.jobs.rows import micros
from tests.unit.jobs.keeping import SPEC, Clock

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
RUNNING, DONE = "a" * 32, "b" * 32
"""Two jobs: one that was being worked on, with two segments, and one that has ended."""


def make_older(place: URL, revision: str) -> None:
    """A database of a revision, with rows in the columns that all revisions have."""
    engine = engine_of(place)
    migrate(engine, revision)
    now = micros(Clock().now)
    spec = to_message(SPEC).SerializeToString()
    with engine.begin() as connection:

        def put(table: str, **values: object) -> None:
            names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)

        put("principals", principal_id=1, name="me", create_time=now)
        put("properties", name="token_key", value=b"key")
        for job_id, state, percent in ((RUNNING, "RUNNING", 25.0), (DONE, "SUCCEEDED", 100.0)):
            put(
                "jobs",
                job_id=job_id,
                principal_id=1,
                state=state,
                spec=spec,
                priority=0,
                attempt=1,
                percent=percent,
                plan_complete=state == "SUCCEEDED",
                segment_count=2,
                published_count=2 if state == "SUCCEEDED" else 1,
                failed_count=0,
                facts=b"",
                last_sequence=2,
                create_time=now,
                start_time=now,
            )
            for index in range(2):
                ended = state == "SUCCEEDED" or index == 0
                put(
                    "segments",
                    job_id=job_id,
                    idx=index,
                    state="PUBLISHED" if ended else "RUNNING",
                    data=to_message(Segment(uri=f"/v/out/{index}.mp4")).SerializeToString(),
                )
            for number, after in enumerate((JobState.PENDING, JobState.RUNNING), 1):
                event = JobEvent(
                    job_id=job_id,
                    sequence=number,
                    event_time=Clock().now,
                    event=JobStateChanged(state=after),
                )
                data = to_message(event).SerializeToString()
                put("events", job_id=job_id, sequence=number, data=data)
        put("tokens", principal_id=1, client_token="t", job_id=RUNNING, request=spec)
    engine.dispose()
