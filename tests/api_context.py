"""The API in one process, over a record of its own: what its tests open and close."""

from collections.abc import Iterator
from contextlib import contextmanager

from feedback.database import open_database
from feedback.migrate import migrate
from serve.api.context import Context, open_context
from serve.settings import Settings


@contextmanager
def open_here(settings: Settings) -> Iterator[Context]:
    """What the API works with, on a migrated record."""
    database = open_database(settings.database_url)
    migrate(database)
    database.close()
    context = open_context(settings)
    yield context
    context.database.close()
