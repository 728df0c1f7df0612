"""Migrations make exactly the tables of tables.py, up and down, on every database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from feedback_databases import BACKENDS, a_story, a_user, fresh_url, rating

from feedback import adapters, queue, record, responses, runs, sessions, tallies, users
from feedback.database import Database, open_database
from feedback.errors import DatabaseBehind, DatabaseTooNew
from feedback.migrate import _scripts, check, downgrade, migrate, newest
from feedback.soundness import troubles
from feedback.tables import Feedback, Table
from serve.cli import main


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty one."""
    with fresh_url(request.param) as url:
        database = open_database(url)
        yield database
        database.close()


def test_migrations_make_the_tables_of_this_version(database: Database) -> None:
    migrate(database)
    with database.bind.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    assert migrate(database) == (None, newest())
    with database.session() as session:
        users.add_user(session, "ada")
    assert migrate(database) == (newest(), newest())
    check(database)
    with database.reading() as session:
        assert [user.name for user in users.list_users(session)] == ["ada"]


def test_down_and_up_again_with_rows(database: Database) -> None:
    migrate(database)
    _fill(database)
    downgrade(database, "base")
    assert sa.inspect(database.bind).get_table_names() == ["alembic_version"]
    migrate(database)
    with database.reading() as session:
        assert list(users.list_users(session)) == []
    _fill(database)


def test_each_step_down_and_up_keeps_what_both_sides_have(database: Database) -> None:
    migrate(database)
    _fill(database)
    before = _contents(database)
    revisions = [script.revision for script in _scripts().walk_revisions()]
    assert len(revisions) >= 6
    for older in revisions[1:]:
        downgrade(database, older)
        assert _kept(_contents(database), before), older
    for newer in revisions[-2::-1]:
        migrate(database, newer)
        assert _kept(_contents(database), before), newer
    assert troubles(database) == []
    with database.reading() as session:
        first = session.scalar(sa.select(Feedback).order_by(Feedback.seq))
        (ada,) = users.list_users(session)
    assert first is not None and first.payload["value"] == 1
    assert ada.consent and ada.forgotten_at is None


Contents = dict[str, list[dict[str, object]]]


def _contents(database: Database) -> Contents:
    with database.bind.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        texts = {name: sa.text(f"SELECT * FROM {name}") for name in names}
        return {
            name: sorted((dict(row) for row in connection.execute(text).mappings()), key=repr)
            for name, text in texts.items()
            if name != "alembic_version"
        }


def _kept(now: Contents, before: Contents) -> bool:
    """Whether the tables of the first revision have all their rows, in the columns of both."""
    for name in ("users", "conversations", "turns", "completions", "feedback", "adapters", "runs"):
        shared = set(now[name][0]) & set(before[name][0])
        rows = [[{key: row[key] for key in shared} for row in side[name]] for side in (now, before)]
        if sorted(rows[0], key=repr) != sorted(rows[1], key=repr):
            return False
    return True


def test_db_check_says_that_all_is_well_and_what_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database.bind.url.render_as_string(hide_password=False)
    monkeypatch.setenv("REDRAFT_DATABASE_URL", url)
    assert _redraft("db", "check") == 1 and "no tables yet" in capsys.readouterr().err
    assert _redraft("db", "migrate") == 0
    _fill(database)
    assert _redraft("db", "check") == 0
    assert "fits this version and is whole" in capsys.readouterr().out
    for statement in (
        "UPDATE turns SET conversation_id = 'conv_none'",
        "ALTER TABLE responses ADD COLUMN stars INTEGER",
    ):
        _by_hand(database, statement)
    assert _redraft("db", "check") == 1
    told = capsys.readouterr().err
    assert "1 rows of turns name by conversation_id what is not in conversations" in told
    assert "not those of this version: remove column responses stars" in told


SWITCH = {"postgresql": "session_replication_role = {}", "mysql": "foreign_key_checks = {}"}


def _by_hand(database: Database, statement: str) -> None:
    """As somebody does who knows how to switch foreign keys off."""
    backend = database.bind.dialect.name
    if backend == "sqlite":
        path = str(database.bind.url.database)
        with closing(sqlite3.connect(path)) as connection:  # there they are off
            connection.execute(statement)
            connection.commit()
        return
    off, on = ("replica", "origin") if backend == "postgresql" else ("0", "1")
    switch = "SET " + SWITCH.get(backend, SWITCH["mysql"])
    with database.session() as session:
        for told in (switch.format(off), statement, switch.format(on)):
            session.execute(sa.text(told))


def _redraft(*arguments: str) -> int:
    try:
        main([*arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _fill(database: Database) -> None:
    """A row in every table."""
    user = a_user(database)
    conversation, turn, drafts = a_story(database, user)
    with database.session() as session:
        users.new_key(session, user.name)
        sessions.open_session(session, user.id, 1)
        given = record.record_feedback(session, user, rating(drafts[0]), "key")
        record.withdraw_feedback(session, user, given.id)
        record.record_reasoning(
            session,
            completion_id=drafts[0].id,
            text="because",
            token_ids=[1],
            logprobs=[-0.5],
            finish_reason="stop",
        )
        responses.record_response(
            session,
            conversation_id=conversation.id,
            turn_id=turn.id,
            input=[],
            resource={"id": "resp_1", "status": "completed", "previous_response_id": None},
        )
        run = runs.claim_run(session, {})
        queue.fill_queue(session, run.id, [queue.Item(given.id, None, "", 1, {})])
        for name, parent in (("a-0001-x", None), ("a-0002-x", "a-0001-x")):
            adapters.register_adapter(
                session,
                name=name,
                base_model="m",
                path="p",
                digest="0",
                parent=parent,
                run_id=run.id,
            )
            adapters.set_champion(session, name, "ada", "better")
        record.record_feedback(session, user, rating(drafts[1]))
    tallies.refresh(database)
    with database.reading() as session:
        for table in Table.metadata.sorted_tables:
            assert session.scalar(sa.select(sa.func.count()).select_from(table)), table.name


def test_an_unmigrated_database_is_told(database: Database) -> None:
    with pytest.raises(DatabaseBehind, match="no tables yet; .* Run `redraft db migrate`"):
        check(database)


def test_a_database_from_an_older_version_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database)
    monkeypatch.setattr("feedback.migrate.newest", lambda: "9999")
    with pytest.raises(DatabaseBehind, match="is at revision .*needs 9999. Run `redraft db mig"):
        check(database)


def test_a_database_from_a_newer_version_is_told_and_left_alone(database: Database) -> None:
    migrate(database)
    with database.session() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for refusing in (check, migrate, lambda database: downgrade(database, "base")):
        with pytest.raises(DatabaseTooNew) as caught:
            refusing(database)
        assert (caught.value.found, caught.value.known) == ("9999", newest())
        assert "Nothing was changed. Upgrade Redraft" in str(caught.value)
    assert "feedback" in sa.inspect(database.bind).get_table_names()
