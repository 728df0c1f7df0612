"""Writes that share a commit: none is acknowledged before it is on the disk."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import sqlalchemy as sa
from feedback_databases import fresh_database

from feedback import users
from feedback.commits import Line, WaitedTooLong
from feedback.database import Database
from feedback.errors import Conflict, DatabaseUnavailable
from feedback.tables import User

WRITERS = 12


@pytest.fixture
def database() -> Iterator[Database]:
    yield from fresh_database("sqlite")


@contextmanager
def one_inside(database: Database) -> Iterator[threading.Event]:
    """A writer that stays in its block until the event is set."""
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with database.session() as session:
            users.add_user(session, "first")
            inside.set()
            assert leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(write)
        assert inside.wait(30)
        yield leave
        leave.set()
        done.result(30)


def in_line(database: Database, count: int) -> None:
    """Wait until so many writers wait for their turn."""
    line = database._commits._line  # type: ignore[union-attr]
    while len(line._waiting) < count:
        threading.Event().wait(0.005)


def names(database: Database) -> set[str]:
    with database.reading() as session:
        return {user.name for user in users.list_users(session)}


def add(database: Database, name: str) -> set[str]:
    """Write, and return what a reader sees as soon as that counts as written."""
    with database.session() as session:
        users.add_user(session, name)
    return names(database)


def test_writers_that_wait_share_one_commit_and_return_after_it(database: Database) -> None:
    commits: list[int] = []
    sa.event.listen(database.bind, "commit", lambda _: commits.append(1))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(WRITERS))
        leave = stack.enter_context(one_inside(database))
        written = [pool.submit(add, database, f"w{number}") for number in range(WRITERS)]
        in_line(database, WRITERS)
        leave.set()
        for number, done in enumerate(written):
            assert f"w{number}" in done.result(30)
    assert len(commits) <= 2


def test_a_write_that_fails_is_undone_alone(database: Database) -> None:
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3))
        leave = stack.enter_context(one_inside(database))
        written = [pool.submit(add, database, name) for name in ("before", "first", "after")]
        in_line(database, 3)
        leave.set()
        with pytest.raises(Conflict):
            written[1].result(30)
        assert "before" in written[0].result(30) and "after" in written[2].result(30)


def test_a_commit_that_fails_is_told_to_everyone_in_it(database: Database) -> None:
    before = names(database)

    def full(_: sa.Connection) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("database or disk is full"))

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3))
        with pytest.raises(DatabaseUnavailable), one_inside(database) as leave:
            written = [pool.submit(add, database, f"w{number}") for number in range(3)]
            in_line(database, 3)
            sa.event.listen(database.bind, "commit", full)
            leave.set()
        for done in written:
            with pytest.raises(DatabaseUnavailable, match="disk is full. The change was not saved"):
                done.result(30)
    sa.event.remove(database.bind, "commit", full)
    assert names(database) == before
    assert "again" in add(database, "again")


def test_a_full_disk_is_told_to_all_whose_writes_went_with_the_transaction(
    database: Database,
) -> None:
    before = names(database)

    def breaks() -> None:
        with database.session() as session:
            pages = session.scalar(sa.text("PRAGMA page_count"))
            session.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
            session.add(User(id="usr_long", name="x" * 100_000, role="user"))

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3))
        with pytest.raises(DatabaseUnavailable), one_inside(database) as leave:
            early = pool.submit(add, database, "early")
            in_line(database, 1)
            broken = pool.submit(breaks)
            in_line(database, 2)
            late = pool.submit(add, database, "late")
            in_line(database, 3)
            leave.set()
        for lost in (broken, early):
            with pytest.raises(DatabaseUnavailable, match="full. The change was not saved"):
                lost.result(30)
        assert late.result(30) == before | {"late"}


def test_the_line_is_in_order_and_an_end_to_patience_leaves_it() -> None:
    line, order = Line(), []

    def stand(number: int) -> None:
        with line.turn(30):
            order.append(number)

    with ThreadPoolExecutor(8) as pool:
        with line.turn():
            for number in range(8):
                pool.submit(stand, number)
                while len(line._waiting) <= number:
                    threading.Event().wait(0.005)
            with pytest.raises(WaitedTooLong), line.turn(0.01):
                raise AssertionError("it is not our turn")
    assert order == list(range(8))
