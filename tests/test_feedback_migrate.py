"""Migrations make exactly the tables of tables.py, up and down, on every database."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from feedback_databases import BACKENDS, a_story, a_user, fresh_url, rating

from feedback import adapters, record, responses, runs, sessions, users
from feedback.database import Database, open_database
from feedback.errors import DatabaseBehind, DatabaseTooNew
from feedback.migrate import check, downgrade, migrate, newest
from feedback.tables import Table


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
