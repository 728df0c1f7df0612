"""Writes to SQLite that wait for the disk together.

A commit waits for the disk, and only one writer is let in at a time: many small commits would wait
in a row. Here each write is a savepoint in a transaction that those who wait in line share; whoever
comes round in that line first commits it for all. A write ends once it is on the disk, as ever.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session


class WaitedTooLong(Exception):
    """A turn to write did not come."""


class Line:
    """A lock that is handed on in the order in which it was asked for."""

    def __init__(self) -> None:
        self._state, self._held = Lock(), False
        self._waiting: deque[Lock] = deque()

    @contextmanager
    def turn(self, seconds: float = -1) -> Iterator[None]:
        """Raises WaitedTooLong after so many seconds; negative: never."""
        self._take(seconds)
        try:
            yield
        finally:
            self._give()

    def _take(self, seconds: float) -> None:
        with self._state:
            if not self._held:
                self._held = True
                return
            place = Lock()
            place.acquire()
            self._waiting.append(place)
        if place.acquire(timeout=seconds):
            return
        with self._state:
            if place in self._waiting:
                self._waiting.remove(place)
                raise WaitedTooLong

    def _give(self) -> None:
        with self._state:
            if self._waiting:
                self._waiting.popleft().release()  # still held, by the next one
            else:
                self._held = False


class Batch:
    """One transaction of several writes."""

    def __init__(self, bind: sa.Engine) -> None:
        self.connection = bind.connect()
        self.ended = False
        self._error: BaseException | None = None
        try:
            self.connection.begin()
        except BaseException:
            self.connection.close()
            raise

    @property
    def is_whole(self) -> bool:
        """False when SQLite undid all of it: it may, when the disk is full or breaks."""
        driver = self.connection.connection.driver_connection
        return isinstance(driver, sqlite3.Connection) and driver.in_transaction

    def end(self, error: BaseException | None = None) -> None:
        """Commit, or give up for the reason of `error`; `check` tells every write of it."""
        self.ended = True
        try:
            if error is None:
                self.connection.commit()
        except BaseException as failed:
            error = failed
        if error is not None:
            self.connection.invalidate()  # whatever is left of the transaction goes with it
        self.connection.close()
        self._error = error

    def check(self) -> None:
        """Raises what kept it from the disk."""
        if self._error is not None:
            raise self._error


class Commits:
    """The one way to write to an SQLite database from this process."""

    def __init__(self, bind: sa.Engine) -> None:
        self._bind, self._line = bind, Line()
        self._batch: Batch | None = None

    @contextmanager
    def session(self, seconds: float) -> Iterator[Session]:
        """A session that is on the disk at the end of the block, undone on an exception.

        Raises WaitedTooLong when its turn does not come within so many seconds.
        """
        batch = None
        try:
            with self._line.turn(seconds):
                batch = self._batch = self._batch or Batch(self._bind)
                with self._block(batch) as session:
                    yield session
        except BaseException:
            if batch is not None:
                self._end(batch)
            raise
        self._end(batch)
        batch.check()

    @contextmanager
    def _block(self, batch: Batch) -> Iterator[Session]:
        with Session(
            batch.connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            try:
                yield session
                session.commit()
            except BaseException as error:
                if batch.is_whole:
                    raise
                first = _first(error)
                self._close(batch, first)
                raise first from None

    def _end(self, batch: Batch) -> None:
        # Behind all who were in line already: their writes are in the batch by now.
        with self._line.turn():
            if not batch.ended:
                self._close(batch)

    def _close(self, batch: Batch, error: BaseException | None = None) -> None:
        self._batch = None
        batch.end(error)


def _first(error: BaseException) -> BaseException:
    """What broke a transaction: behind it come complaints that its savepoints are gone."""
    first, at = error, error.__context__
    while at is not None:
        first, at = at if isinstance(at, DBAPIError) else first, at.__context__
    return first
