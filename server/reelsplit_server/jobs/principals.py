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
    found = known_principal(transaction, name)
    if found is None:
        now = micros(transaction.now)
        transaction.connection.execute(insert(schema.principals).values(name=name, create_time=now))
        found = known_principal(transaction, name)
        assert found is not None
    return found


def known_principal(transaction: Transaction, name: str) -> int | None:
    """The row of a principal that has one. Rows are never deleted."""
    rows = transaction.memory.rows
    if name not in rows:
        found = transaction.connection.execute(_BY_NAME, {"of_name": name}).scalar_one_or_none()
        if found is None:
            return None
        rows[name] = int(found)
    return rows[name]


def principal_name(transaction: Transaction, row: int) -> str:
    """The name of a principal, by its row."""
    names = transaction.memory.principals
    if row not in names:
        names[row] = transaction.connection.execute(_BY_ROW, {"of_row": row}).scalar_one()
    return names[row]
