"""Bringing the database to the tables of this version, and telling when it is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from feedback.database import Database
from feedback.errors import DatabaseBehind, DatabaseTooNew, DatabaseUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_SECONDS = 60
LOCK = 7303001  # any number that no other program takes an advisory lock with


def migrate(database: Database, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the database to the newest revision: (the one before, the one now).

    Safe to call from several processes at once; raises DatabaseTooNew and then changes nothing.
    """
    with _alone(database) as connection:
        before = _known(connection)
        command.upgrade(_config(connection), revision)
        return before, _revision(connection)


def downgrade(database: Database, revision: str) -> None:
    """Go back to an older revision ("base": no tables). What only newer tables hold is lost."""
    with _alone(database) as connection:
        _known(connection)
        command.downgrade(_config(connection), revision)


def check(database: Database) -> None:
    """Raises DatabaseTooNew or DatabaseBehind unless the database is at this version's revision."""
    with database.bind.connect().execution_options(sqlite_begin="BEGIN") as connection:
        found = _known(connection)
    if found != newest():
        raise DatabaseBehind(found, newest())


def newest() -> str:
    """The newest revision that this version knows."""
    return str(_scripts().get_current_head())


def _known(connection: sa.Connection) -> str | None:
    found = _revision(connection)
    if found is not None and found not in {
        script.revision for script in _scripts().walk_revisions()
    }:
        raise DatabaseTooNew(found, newest())
    return found


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(database: Database) -> Iterator[sa.Connection]:
    """A transaction in which no other process migrates: SQLite's own lock, or one by agreement."""
    with database.bind.begin() as connection:
        backend = connection.dialect.name
        if backend == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        is_mysql = backend in ("mysql", "mariadb")
        if is_mysql and not connection.scalar(
            sa.text("SELECT GET_LOCK(:lock, :wait)"), _named_lock()
        ):
            raise DatabaseUnavailable(
                f"Another process has been migrating {database.url} for {LOCK_SECONDS} s. "
                "Wait for it and try again."
            )
        try:
            yield connection
        finally:
            if is_mysql:
                connection.execute(sa.text("SELECT RELEASE_LOCK(:lock)"), _named_lock())


def _named_lock() -> dict[str, Any]:
    return {"lock": f"redraft-{LOCK}", "wait": LOCK_SECONDS}
