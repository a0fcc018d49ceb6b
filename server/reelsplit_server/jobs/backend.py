"""What tells one database system from another: how it is opened, and how transactions begin."""

from __future__ import annotations

import sqlite3

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")
_WRITES = "reelsplit_writes"
# What fails is logged, with what the driver says of it: parameters hold signed locations and the
# addresses of callbacks.
_HIDDEN = True


def engine_of(url: URL) -> Engine:
    """Connections to a database: SQLite in WAL mode with full synchronisation, or PostgreSQL."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    # Found dead before it is used, since those that stand for long are cut on the way.
    return sqlalchemy.create_engine(url, pool_pre_ping=True, hide_parameters=_HIDDEN)


def reading(engine: Engine) -> Engine:
    """Connections whose transactions see one state of the database."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing(engine: Engine) -> Engine:
    """Connections whose transactions write."""
    return engine.execution_options(**{_WRITES: True})


def _sqlite(url: URL) -> Engine:
    arguments = {"check_same_thread": False, "timeout": 5}
    engine = sqlalchemy.create_engine(url, connect_args=arguments, hide_parameters=_HIDDEN)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # Transactions are begun by us, not guessed by the driver.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # One that writes later than at its beginning may find that another wrote before it.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
