"""The same schema, migrations and statements on PostgreSQL: the store's own tests, once more."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL

from reelsplit_server.jobs.backend import engine_of
from reelsplit_server.jobs.database import migrate
from reelsplit_server.jobs.schema import metadata
from tests.postgres import missing, postgres
from tests.unit.jobs import test_database, test_store
from tests.unit.jobs.keeping import Kept, kept_at
from tests.unit.jobs.older import make_older
from tests.unit.jobs.test_migrating import look
from tests.unit.jobs.test_store import five

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
_numbers = itertools.count()
__all__ = ["five"]
for _module in (test_store, test_database):
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and "keep" in inspect.signature(_test).parameters:
            globals().setdefault(_name, _test)
# They ask for SQLite's own settings and files.
del test_what_is_committed_is_on_the_disk  # type: ignore[name-defined] # noqa: F821
del test_what_readers_share_outlives_writers_that_fail  # type: ignore[name-defined] # noqa: F821


@pytest.fixture(scope="module")
def cluster() -> Iterator[sqlalchemy.Engine]:
    """A cluster with one database that was brought to this version's schema."""
    with postgres() as url:
        template = engine_of(url.set(database="template1"))
        migrate(template)
        template.dispose()
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        yield engine
        engine.dispose()


@pytest.fixture
def place(cluster: sqlalchemy.Engine) -> URL:
    """A new database, which was brought to this version's schema."""
    name = f"t{next(_numbers)}"
    with cluster.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return cluster.url.set(database=name)


@pytest.fixture
async def keep(place: URL) -> AsyncIterator[Kept]:
    async with kept_at(place) as made:
        yield made


def test_the_migrations_make_exactly_the_schema(place: URL) -> None:
    engine = engine_of(place)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


async def test_a_database_of_the_first_version_goes_on(
    cluster: sqlalchemy.Engine, place: URL
) -> None:
    empty = f"{place.database}_empty"
    with cluster.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {empty} TEMPLATE template0")
    make_older(place.set(database=empty), "0001")
    async with kept_at(place.set(database=empty)) as keep:
        # PostgreSQL does not see the rows that were numbered by hand.
        await keep.force("SELECT setval('principals_principal_id_seq', 1)")
        await look(keep)


async def test_jobs_outlive_the_connections(place: URL) -> None:
    async with kept_at(place) as keep:
        job = await keep.add("token")
    async with kept_at(place) as keep:
        assert await keep.store.get("me", job.job_id) == job
        assert await keep.add("token") == job
        assert [queued.job_id for queued in await keep.store.queued()] == [job.job_id]
