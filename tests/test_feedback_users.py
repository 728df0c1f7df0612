"""People, roles and keys."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, fresh_database

from feedback import moments, users
from feedback.database import Database
from feedback.errors import Conflict, Invalid, NotFound
from feedback.tables import ApiKey


@pytest.fixture(scope="module", params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


def test_the_local_user_is_made_once_by_many_at_once(database: Database) -> None:
    def ask(_: int) -> tuple[str, str, str]:
        with database.session() as session:
            user = users.local_user(session)
            return user.id, user.name, user.role

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(16)))
    assert [(name, role) for _, name, role in found] == [("local", "admin")]


def test_people_are_added_listed_and_given_roles(database: Database) -> None:
    with database.session() as session:
        users.add_user(session, " zoë 🦊 ")
        users.add_user(session, "bob", "reviewer")
        assert users.set_role(session, "zoë 🦊", "admin").role == "admin"
    with database.reading() as session:
        listed = {user.name: user.role for user in users.list_users(session)}
        assert listed.items() >= {"bob": "reviewer", "zoë 🦊": "admin"}.items()
        assert sorted(listed) == [user.name for user in users.list_users(session)]


def test_what_is_wrong_with_a_user_is_told(database: Database) -> None:
    with database.session() as session:
        users.add_user(session, "carl")
        with pytest.raises(Conflict, match="user 'carl' already"):
            users.add_user(session, "carl")
        with pytest.raises(NotFound, match="no user nobody"):
            users.set_role(session, "nobody", "admin")
        for name in ("", " ", "x" * 121, "a\0"):
            with pytest.raises(Invalid):
                users.add_user(session, name)
            with pytest.raises(Invalid):
                users.new_key(session, name)
        for asked in (users.add_user, users.set_role):
            with pytest.raises(Invalid, match="role is 'root'; it is one of user, reviewer, admin"):
                asked(session, "dora" if asked is users.add_user else "carl", "root")


def test_a_key_opens_for_its_user_and_is_not_kept(database: Database) -> None:
    with database.session() as session:
        keys = [users.new_key(session, name) for name in ("eve", "eve", "fay")]
    assert all(key.startswith("rd-") and len(key) == 46 for key in keys)
    with database.reading() as session:
        found = [users.user_of_key(session, key) for key in keys]
        assert [user and (user.name, user.role) for user in found] == [
            ("eve", "user"),
            ("eve", "user"),
            ("fay", "user"),
        ]
        kept = session.scalars(sa.select(ApiKey)).all()
        assert not {key[3:] for key in keys} & {text for row in kept for text in vars(row).values()}
        assert {row.hint for row in kept} == {key[-6:] for key in keys}


@pytest.mark.parametrize("change", [str.lower, str.upper, "{}x".format, " {}".format])
def test_another_key_opens_for_nobody(database: Database, change: object) -> None:
    with database.session() as session:
        key = users.new_key(session, "gus")
        assert callable(change)
        for wrong in (change(key), "", "rd-", "\0", "\ud800", "x" * 100_000):
            assert users.user_of_key(session, wrong) is None


def test_a_revoked_key_opens_for_nobody(database: Database) -> None:
    with database.session() as session:
        key = users.new_key(session, "hal")
        session.execute(sa.update(ApiKey).values(revoked_at=moments.now()))
        assert users.user_of_key(session, key) is None


def test_a_key_for_the_local_user_is_the_local_users() -> None:
    for database in fresh_database("sqlite"):
        with database.session() as session:
            key = users.new_key(session, "local")
            owner = users.user_of_key(session, key)
            assert owner is users.local_user(session)
            assert owner.role == "admin"
