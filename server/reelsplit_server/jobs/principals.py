"""The rows of principals."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select

from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.rows import micros

_columns = schema.principals.c
_BY_NAME = select(_columns.principal_id).where(_columns.name == bindparam("of_name"))
_BY_ROW = select(_columns.name).where(_columns.principal_id == bindparam("of_row"))


def principal_id(transaction: Transaction, name: str) -> int:
    """The row of a principal, made at its first use."""
    connection, place = transaction.connection, {"of_name": name}
    found = connection.execute(_BY_NAME, place).scalar_one_or_none()
    if found is None:
        now = micros(transaction.now)
        connection.execute(insert(schema.principals).values(name=name, create_time=now))
        found = connection.execute(_BY_NAME, place).scalar_one()
    return int(found)


def principal_name(transaction: Transaction, row: int) -> str:
    """The name of a principal, by its row."""
    names = transaction.memory.principals
    if row not in names:
        names[row] = transaction.connection.execute(_BY_ROW, {"of_row": row}).scalar_one()
    return names[row]
