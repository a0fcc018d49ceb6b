"""Bringing a database to this version's schema."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from reelsplit_server.jobs.backend import writing


class StoreVersionError(Exception):
    """The database was made by another version of this program."""


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a schema, in one transaction; raises `StoreVersionError` where it is of
    a newer version."""
    config, script = _script()
    # What two find that start at once, only one of them does.
    with writing(engine).begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in {r.revision for r in script.walk_revisions()}:
            raise StoreVersionError(
                f"the database is of schema {current}, which a newer version made: start that "
                "version, or give another data folder"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def check_version(engine: Engine) -> None:
    """Raise `StoreVersionError` unless the database has this version's schema."""
    _, script = _script()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != script.get_current_head():
        raise StoreVersionError(
            f"the server that runs on this data folder is of another version, with schema {current}"
        )


def _script() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", "reelsplit_server.jobs:migrations")
    return config, ScriptDirectory.from_config(config)
