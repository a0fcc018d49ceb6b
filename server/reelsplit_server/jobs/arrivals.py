"""Jobs as they are submitted: those that come at the same time are kept by the same statements."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message
from sqlalchemy import Connection, bindparam, insert, select, tuple_

from reelsplit.types.event import JobStateChanged
from reelsplit.types.job import JobState
from reelsplit.types.spec import JobSpec
from reelsplit.v1 import spec_pb2
from reelsplit_server.jobs import changes, outbox, schema, waiting
from reelsplit_server.jobs.database import Database, StoreUnavailableError, Transaction
from reelsplit_server.jobs.ids import new_id
from reelsplit_server.jobs.principals import known_principal, principal_id
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError, load_job, micros, spec_of

_MOST = 256
"""Jobs that are kept together."""
# Rows that are given back go in with one statement for many. Each statement costs the writing
# thread a wait for the interpreter, which a busy server has little of.
_PUT_JOBS = insert(schema.jobs).returning(schema.jobs.c.job_id)
_PUT_TOKENS = insert(schema.tokens).returning(schema.tokens.c.job_id)
_PUT_LABELS = insert(schema.job_labels)
_tokens = schema.tokens.c
_PLACE = tuple_(_tokens.principal_id, _tokens.client_token)
_FIRST = select(_tokens.principal_id, _tokens.client_token, _tokens.job_id, _tokens.request)
_KNOWN = _FIRST.where(_PLACE.in_(bindparam("of_places", expanding=True)))
# Most arrive alone, and a list takes SQLAlchemy long to write out.
_KNOWN_ONE = _FIRST.where(
    _tokens.principal_id == bindparam("of_principal"), _tokens.client_token == bindparam("of_token")
)


class TokenReusedError(Exception):
    """The client token belongs to a job with another request."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A job that is to be made, unless its client token made one: the request as it was ``sent``,
    the resolved spec, and the same as it is ``kept``. ``most_waiting`` jobs may wait, and
    ``most_of_one`` of its principal."""

    principal: str
    client_token: str
    sent: Message
    kept: bytes
    spec: JobSpec
    key_id: str | None
    media_id: str | None
    trace_parent: str | None
    most_waiting: int
    most_of_one: int | None


Answer = JobRecord | TokenReusedError | waiting.QueueFullError
_Waiting = tuple[Arrival, asyncio.Future[JobRecord]]


class Arrivals:
    """Keeps what arrives. While some are being kept, the next gather."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathered: list[_Waiting] = []
        self._keeping: asyncio.Task[None] | None = None

    async def add(self, arrival: Arrival) -> JobRecord:
        """Keep a job, or answer the one that its client token made; returns when that is durable.
        Raises `TokenReusedError` and `QueueFullError`."""
        future: asyncio.Future[JobRecord] = asyncio.get_running_loop().create_future()
        self._gathered.append((arrival, future))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_all())
        # A caller that goes away does not take its job back.
        return await asyncio.shield(future)

    async def _keep_all(self) -> None:
        try:
            while self._gathered:
                some, self._gathered = self._gathered[:_MOST], self._gathered[_MOST:]
                if not await self._keep(some):
                    # One of them spoils it for the others, so each is kept alone.
                    for one in some:
                        await self._keep([one])
        finally:
            self._keeping = None

    async def _keep(self, some: Sequence[_Waiting]) -> bool:
        """Keep some, and tell what came of each; false where nothing did, because of one of
        them."""
        arrivals = [arrival for arrival, _ in some]
        answers: Sequence[JobRecord | Exception]
        try:
            answers = await self._database.write(lambda t: _answers(t, arrivals))
        except StoreUnavailableError as error:
            answers = [error] * len(some)
        except Exception as error:
            if len(some) > 1:
                return False
            answers = [error]
        for (_, future), answer in zip(some, answers, strict=True):
            if future.cancelled():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return True


def _answers(transaction: Transaction, arrivals: Sequence[Arrival]) -> list[Answer]:
    """What each of them is answered, in their order. A refusal is answered and not raised, since
    the others are kept all the same."""
    connection = transaction.connection
    owners = {
        name: row
        for name in {arrival.principal for arrival in arrivals}
        if (row := known_principal(transaction, name)) is not None
    }
    known = _known(connection, owners, arrivals)
    first: dict[tuple[str, str], tuple[Arrival, JobRecord]] = {}
    answers: list[Answer] = []
    made: list[tuple[Arrival, JobRecord]] = []
    for arrival in arrivals:
        principal, place = arrival.principal, (arrival.principal, arrival.client_token)
        if place in first:
            before, record = first[place]
            same = before.sent == arrival.sent
            answers.append(record if same else TokenReusedError(record.job_id))
        elif place in known:
            answers.append(_same_or_reused(connection, *known[place], arrival.sent))
        elif full := waiting.refusal(
            transaction, principal, arrival.most_waiting, arrival.most_of_one
        ):
            answers.append(full)
        else:
            record = _record(transaction, arrival)
            answers.append(record)
            made.append((arrival, record))
            if arrival.client_token:
                first[place] = arrival, record
            if principal not in owners:
                owners[principal] = principal_id(transaction, principal)
            waiting.moved(transaction, principal, None, JobState.PENDING)
    if made:
        _put(transaction, made, owners)
    return answers


def _known(
    connection: Connection, owners: Mapping[str, int], arrivals: Sequence[Arrival]
) -> dict[tuple[str, str], tuple[str, bytes]]:
    """The jobs and requests of the principals' client tokens that were used before."""
    places = {
        (owners[arrival.principal], arrival.client_token): arrival.principal
        for arrival in arrivals
        if arrival.client_token and arrival.principal in owners
    }
    if not places:
        return {}
    if len(places) == 1:
        ((owner, token),) = places
        found = connection.execute(_KNOWN_ONE, {"of_principal": owner, "of_token": token})
    else:
        found = connection.execute(_KNOWN, {"of_places": list(places)})
    return {
        (places[owner, token], token): (job_id, request) for owner, token, job_id, request in found
    }


def first_job(connection: Connection, job_id: str, request: bytes, sent: Message) -> JobRecord:
    """The job that a client token made with a request; raises `TokenReusedError` where that was
    another than the one that was ``sent`` now, or where the job was deleted: the token may not
    make another for a day."""
    # Compared as messages, since the order of a map's bytes is not fixed.
    if spec_pb2.JobSpec.FromString(request) != sent:
        raise TokenReusedError(job_id)
    try:
        return load_job(connection, job_id)
    except NoSuchJobError:
        raise TokenReusedError(job_id) from None


def _same_or_reused(
    connection: Connection, job_id: str, request: bytes, sent: Message
) -> JobRecord | TokenReusedError:
    try:
        return first_job(connection, job_id, request, sent)
    except TokenReusedError as error:
        return error


def _record(transaction: Transaction, arrival: Arrival) -> JobRecord:
    return JobRecord(
        job_id=new_id(),
        principal=arrival.principal,
        state=JobState.PENDING,
        # As it comes back from the database: times are exact to the nanosecond.
        spec=spec_of(arrival.kept),
        create_time=transaction.now,
        media_id=arrival.media_id,
        last_sequence=1,
        key_id=arrival.key_id,
        trace_parent=arrival.trace_parent,
    )


def _put(
    transaction: Transaction,
    made: Sequence[tuple[Arrival, JobRecord]],
    owners: Mapping[str, int],
) -> None:
    connection = transaction.connection
    jobs = [_row(arrival, record, owners[record.principal]) for arrival, record in made]
    connection.execute(_PUT_JOBS, jobs)
    labels = [
        {"job_id": record.job_id, "key": key, "value": value}
        for arrival, record in made
        for key, value in arrival.spec.labels.items()
    ]
    if labels:
        connection.execute(_PUT_LABELS, labels)
    tokens = [
        {
            "principal_id": owners[record.principal],
            "client_token": arrival.client_token,
            "job_id": record.job_id,
            "request": arrival.sent.SerializeToString(),
        }
        for arrival, record in made
        if arrival.client_token
    ]
    if tokens:
        connection.execute(_PUT_TOKENS, tokens)
    event = JobStateChanged(state=JobState.PENDING, attempt=1)
    changes.put_events(
        transaction, [(record.job_id, record.principal, 1, event) for _, record in made]
    )


def _row(arrival: Arrival, record: JobRecord, owner: int) -> dict[str, object]:
    return {
        "job_id": record.job_id,
        "principal_id": owner,
        "state": record.state.value,
        "spec": arrival.kept,
        "priority": arrival.spec.priority or 0,
        "attempt": record.attempt,
        "percent": record.percent,
        "plan_complete": False,
        "segment_count": 0,
        "published_count": 0,
        "failed_count": 0,
        "facts": b"",
        "last_sequence": record.last_sequence,
        "key_id": arrival.key_id,
        "notifies": outbox.wanted(arrival.spec),
        "media_id": arrival.media_id,
        "trace_parent": arrival.trace_parent,
        "create_time": micros(record.create_time),
    }
