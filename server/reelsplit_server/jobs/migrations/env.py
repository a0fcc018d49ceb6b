"""How Alembic runs the migrations: on the connection that the store hands it."""

from __future__ import annotations

from alembic import context

from reelsplit_server.jobs.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot change most of a table in place; Alembic rebuilds it.
    render_as_batch=True,
    # The caller holds the transaction.
    transactional_ddl=False,
)
context.run_migrations()
