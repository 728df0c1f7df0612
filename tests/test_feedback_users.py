"""People, roles, keys, passwords and sessions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from feedback_databases import BACKENDS, fresh_database

from feedback import moments, passwords, sessions, users
from feedback.database import Database
from feedback.errors import Conflict, Invalid, NotFound
from feedback.tables import ApiKey, LoginSession, User


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


def test_keys_are_listed_by_their_ends_and_revoked_by_their_ids(database: Database) -> None:
    with database.session() as session:
        key = users.new_key(session, "ida")
        row = next(row for row, name in users.list_keys(session) if name == "ida")
        assert (row.hint, key[-6:]) == (key[-6:], row.hint)
        users.revoke_key(session, row.id)
    with database.reading() as session:
        assert users.user_of_key(session, key) is None
        assert "ida" not in [name for _, name in users.list_keys(session)]
        for wrong in ("key_none", "\0", ""):
            with pytest.raises(NotFound, match="no key"):
                users.revoke_key(session, wrong)


def test_a_password_is_kept_as_an_argon2_hash_that_fits_it_alone(database: Database) -> None:
    with database.session() as session:
        users.add_user(session, "kim")
        user = users.set_password(session, "kim", "cafe\u0301 au lait")
        assert user.password and user.password.startswith("$argon2id$")
        assert "lait" not in user.password
    assert passwords.fits("caf\u00e9 au lait", user.password)  # composed by another keyboard
    for wrong in ("", "cafe au lait", "caf\u00e9 au lait ", "x" * 100_000, "\0", "\ud800"):
        assert not passwords.fits(wrong, user.password)


@pytest.mark.parametrize("password", ["", "ninechars", "x" * 201, None, 1234567890])
def test_a_password_of_no_use_is_refused(password: object) -> None:
    with pytest.raises(Invalid, match="10 to 200 characters"):
        passwords.hash_password(password)


@pytest.mark.parametrize("kept", [None, "", "no hash at all"])
def test_without_a_hash_no_password_fits_and_the_same_work_is_done(
    kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify = passwords.PasswordHasher.verify

    def counted(self: object, hash: str, password: bytes) -> bool:
        checked.append(hash)
        return verify(self, hash, password)  # type: ignore[arg-type]

    monkeypatch.setattr(passwords.PasswordHasher, "verify", counted)
    assert not passwords.fits("any password", kept)
    assert len(checked) == 1
    assert kept or checked[0].startswith("$argon2id$")


def test_generated_passwords_are_their_own_and_long_enough() -> None:
    made = {passwords.new_password() for _ in range(100)}
    assert len(made) == 100
    assert all(passwords.checked(password) for password in made)


def test_a_session_opens_until_it_ends(database: Database) -> None:
    with database.session() as session:
        user = users.add_user(session, "lea")
        token, other = (sessions.open_session(session, user.id, 1) for _ in range(2))
        kept = session.scalars(sa.select(LoginSession.digest)).all()
        assert token.startswith("rs-") and token not in kept
        assert sessions.user_of_session(session, token) == user
        for wrong in ("", "rs-", token + "x", token.lower(), "\0"):
            assert sessions.user_of_session(session, wrong) is None
        sessions.close_session(session, token)
        sessions.close_session(session, token)
        assert sessions.user_of_session(session, token) is None
        assert sessions.user_of_session(session, other) == user


def test_an_expired_session_opens_no_more_and_is_cleared_away(database: Database) -> None:
    with database.session() as session:
        user = users.add_user(session, "max")
        token = sessions.open_session(session, user.id, 0)
        assert sessions.user_of_session(session, token) is None
        sessions.open_session(session, user.id, 1)
        assert session.get(LoginSession, users.digest(token)) is None


def test_a_new_password_ends_the_sessions_under_the_old(database: Database) -> None:
    with database.session() as session:
        user, other = users.add_user(session, "nina"), users.add_user(session, "otto")
        tokens = [sessions.open_session(session, one.id, 1) for one in (user, other)]
        users.set_password(session, "nina", "another one")
        found = [sessions.user_of_session(session, token) for token in tokens]
        assert found == [None, other]
        with pytest.raises(NotFound, match="no user nobody"):
            users.set_password(session, "nobody", "another one")
        assert session.scalar(sa.select(User.password).where(User.name == "otto")) is None
