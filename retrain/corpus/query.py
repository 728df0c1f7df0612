"""The rows of a SQL query, each a document, from any database that SQLAlchemy reaches."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from retrain.corpus.document import Block, Document
from retrain.corpus.stage import CorpusError, Trouble

AT_ONCE = 500  # rows


@dataclass(frozen=True)
class Query:
    """A query, and the database that it is for."""

    url: str
    sql: str

    @property
    def name(self) -> str:
        """The database, without what opens it."""
        try:
            return make_url(self.url).render_as_string(hide_password=True)
        except ArgumentError as error:
            raise CorpusError(
                "--sql is no URL of a database. Write it as SQLAlchemy does: sqlite:///tickets.db, "
                "postgresql://user:password@host/name."
            ) from error

    def read(self) -> Iterator[Document | Trouble]:
        """Each row's columns as a record. Nothing is written to the database.

        Raises CorpusError in the database's words.
        """
        name, rows = self.name, 0
        try:
            engine = create_engine(self.url)
            with engine.connect().execution_options(stream_results=True) as connection:
                found = connection.execute(text(self.sql))
                if not found.returns_rows:
                    raise CorpusError("the query returns no rows at all; write a SELECT.")
                for row in found.yield_per(AT_ONCE).mappings():
                    rows += 1
                    told = {k: str(v) for k, v in row.items() if v is not None and str(v).strip()}
                    blocks = [Block("record", f"{key}: {value}") for key, value in told.items()]
                    yield Document(blocks, part=f"row {rows}")
                connection.rollback()
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise CorpusError(
                f"{name} needs a driver that is not installed ({error}). For PostgreSQL: pip "
                "install 'redraft[postgresql]'."
            ) from error
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error)
            raise CorpusError(
                f"the database says: {said}. Correct the query or the URL."
            ) from error
        if not rows:
            yield Trouble("the query returned no row. Look at its conditions.")
