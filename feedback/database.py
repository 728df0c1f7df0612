"""Opening the database, and the two ways into it: to write and to read."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.orm import Session

from feedback.commits import Commits, WaitedTooLong
from feedback.errors import DatabaseUnavailable, Unstorable

BUSY_SECONDS = 30
DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
SUPPORTED = (
    "sqlite:///PATH, postgresql://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME"
)


@dataclass(frozen=True)
class Database:
    """An open database. Safe to share between threads; a child process opens its own."""

    url: str  # without the password
    bind: sa.Engine
    _reader: sa.Engine = field(repr=False)  # the same connections, with other transactions
    _commits: Commits | None = field(default=None, repr=False)  # of SQLite, which has one writer

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that may write: durable at the end of the block, undone on an exception.

        On SQLite the write lock is taken at the start: keep the block short, never hold it while an
        engine generates, never open a second one inside it. Objects stay readable after the block.
        """
        with self._explained(), self._writing() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session over one unchanging view of the data; it neither waits nor writes."""
        with (
            self._explained(),
            Session(self._reader, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    def close(self) -> None:
        """Close the pooled connections."""
        self.bind.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        if self._commits is None:
            with Session(self.bind, expire_on_commit=False) as session:
                yield session
                session.commit()
            return
        try:
            with self._commits.session(BUSY_SECONDS) as session:
                yield session
        except WaitedTooLong as error:
            raise DatabaseUnavailable(
                f"Waited {BUSY_SECONDS} s to write to {self.url}: another session of this process "
                "has not ended. "
                "Nothing was written; try again."
            ) from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise Unstorable(
                f"The database cannot store a value: {_cause(error)}. Nothing was saved. Change "
                "the value and try again."
            ) from error
        except (OperationalError, InterfaceError, sqlite3.OperationalError) as error:
            raise DatabaseUnavailable(
                f"The database {self.url} failed: {_cause(error)}. The change was not saved. "
                "Check that it is running, writable and not full, then try again."
            ) from error


def open_database(url: str) -> Database:
    """Connect and prove that it can be written; raises DatabaseUnavailable. Makes no tables."""
    parsed = _parse(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite:
        _check_folder(parsed)
    shown = parsed.render_as_string(hide_password=True)
    try:
        bind = sa.create_engine(parsed, **_engine_options(parsed.get_backend_name()))
    except ImportError as error:
        raise DatabaseUnavailable(
            f"{shown} needs a driver that is not installed ({error}). Install it and try again."
        ) from error
    _listen(bind)
    try:
        with (
            bind.begin() as connection
        ):  # on SQLite BEGIN IMMEDIATE: fails where the file cannot be written
            connection.execute(sa.text("SELECT 1"))
    except (DBAPIError, sqlite3.Error) as error:
        bind.dispose()
        raise DatabaseUnavailable(_unavailable(parsed, shown, error)) from error
    reader = bind.execution_options(**_reading_options(bind.dialect.name))
    return Database(shown, bind, reader, Commits(bind) if is_sqlite else None)


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        raise DatabaseUnavailable(
            f"REDRAFT_DATABASE_URL cannot be read. It looks like {SUPPORTED}."
        ) from error
    if parsed.drivername in DRIVERS:
        parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
    if parsed.get_backend_name() not in DRIVERS:
        raise DatabaseUnavailable(
            f"Redraft cannot keep its record in {parsed.get_backend_name()!r}. Use {SUPPORTED}."
        )
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    return parsed


def _check_folder(parsed: sa.URL) -> None:
    if parsed.database in (None, "", ":memory:"):
        raise DatabaseUnavailable(
            "An SQLite database in memory is lost on exit and not shared. Use sqlite:///PATH with "
            "a file."
        )
    folder = Path(str(parsed.database)).parent
    if not os.path.isdir(folder):  # Path.is_dir raises where it may not look
        raise DatabaseUnavailable(
            f"The folder {folder} of the database does not exist. Make it, or set REDRAFT_HOME or "
            "REDRAFT_DATABASE_URL to another."
        )


def _engine_options(backend: str) -> dict[str, Any]:
    # What people wrote are parameters: an error that ends in a log must not say them.
    options: dict[str, Any] = {"pool_size": 10, "max_overflow": 30, "hide_parameters": True}
    if backend == "sqlite":
        return options | {"connect_args": {"timeout": BUSY_SECONDS}}
    # MariaDB's default would show a transaction only what was there at its first read, also after
    # waiting for a lock.
    return options | {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}


def _reading_options(backend: str) -> dict[str, Any]:
    return (
        {"sqlite_begin": "BEGIN"} if backend == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    )


def _listen(bind: sa.Engine) -> None:
    if bind.dialect.name == "sqlite":
        sa.event.listen(bind, "connect", _connect_sqlite)
        sa.event.listen(bind, "begin", _begin_sqlite)
    elif bind.dialect.name in ("mysql", "mariadb"):
        sa.event.listen(bind, "connect", _connect_mysql)


def _connect_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # Python's module must not begin transactions by itself
    connection.execute("PRAGMA foreign_keys = ON")
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "PRAGMA synchronous = FULL"
    )  # a commit has reached the disk before it is acknowledged
    connection.execute("PRAGMA secure_delete = ON")  # what was erased is not left in free pages
    connection.create_function(
        "lower", 1, _lower, deterministic=True
    )  # SQLite's own knows ASCII only


def _lower(value: str | None) -> str | None:
    return None if value is None else str(value).lower()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes later can otherwise fail with "database
    # is locked" at once.
    connection.exec_driver_sql(
        connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE")
    )


def _connect_mysql(connection: Any, record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
        )  # refuse rather than truncate


def _cause(error: Exception) -> str:
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    return " ".join(text.split()).rstrip(".")


def _unavailable(parsed: sa.URL, shown: str, error: Exception) -> str:
    if parsed.get_backend_name() == "sqlite":
        return (
            f"The database file {parsed.database} cannot be written: {_cause(error)}. Give this "
            "user write access to the file "
            "and its folder, or set REDRAFT_HOME or REDRAFT_DATABASE_URL to another."
        )
    advice = "Start the server or correct REDRAFT_DATABASE_URL."
    return f"No connection to {shown}: {_cause(error)}. {advice}"
