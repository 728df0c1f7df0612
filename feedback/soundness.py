"""Whether a migrated database is as this version needs it: its tables, and what they hold."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from feedback.database import Database
from feedback.tables import Table


def troubles(database: Database) -> list[str]:
    """What is wrong with the database, in words; nothing when it is sound. Changes nothing."""
    with database.reading() as session:
        connection = session.connection()
        return [*_damaged(connection), *_other_tables(connection), *_dangling(connection)]


def _damaged(connection: sa.Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        for (told,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if told != "ok":
                yield f"The file is damaged: {told}. Restore it from a backup."


def _other_tables(connection: sa.Connection) -> Iterator[str]:
    ours = set(Table.metadata.tables)

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name in ours  # the scheduler keeps a table of its own here

    options = {"compare_type": True, "include_name": is_ours}
    context = MigrationContext.configure(connection, opts=options)
    for found in compare_metadata(context, Table.metadata):
        change = found[0] if isinstance(found, list) else found
        yield (
            f"The tables are not those of this version: {_in_words(change)}. Somebody changed them "
            "by hand; restore a backup, or undo it."
        )


def _in_words(change: Any) -> str:
    named = [str(getattr(part, "name", part)) for part in change[1:] if part is not None]
    return " ".join([str(change[0]).replace("_", " "), *named[:4]])


def _dangling(connection: sa.Connection) -> Iterator[str]:
    """Rows that name a row which is not there; foreign keys may have been switched off."""
    for table in Table.metadata.sorted_tables:
        for key in table.foreign_keys:
            parent = key.column.table.alias("parent")
            query = (
                sa.select(sa.func.count())
                .select_from(table.outerjoin(parent, key.parent == parent.c[key.column.name]))
                .where(key.parent.is_not(None), parent.c[key.column.name].is_(None))
            )
            if count := connection.scalar(query):
                yield (
                    f"{count} rows of {table.name} name by {key.parent.name} what is not in "
                    f"{key.column.table.name}. Restore a backup from before they were removed."
                )
