"""The rows of principals."""

from __future__ import annotations

from sqlalchemy import insert, select

from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.rows import micros


def principal_id(transaction: Transaction, name: str) -> int:
    """The row of a principal, made at its first use."""
    connection, table = transaction.connection, schema.principals
    query = select(table.c.principal_id).where(table.c.name == name)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        now = micros(transaction.now)
        connection.execute(insert(table).values(name=name, create_time=now))
        found = connection.execute(query).scalar_one()
    return int(found)
