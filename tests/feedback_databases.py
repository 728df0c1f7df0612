"""Fresh, migrated databases and small stories to fill them, for the tests of the record."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from feedback import record, users
from feedback.database import Database, open_database
from feedback.errors import DatabaseUnavailable
from feedback.ids import new_id
from feedback.migrate import migrate
from feedback.tables import Completion, Conversation, Turn, User

SERVERS = {
    "postgresql": ("REDRAFT_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("REDRAFT_TEST_MARIADB_URL", "mariadb://root@127.0.0.1:3306/mysql"),
}
BACKENDS = [
    "sqlite",
    *(pytest.param(server, marks=pytest.mark.services) for server in SERVERS),
]


@contextmanager
def fresh_url(backend: str) -> Iterator[str]:
    """The URL of a new, empty database, dropped afterwards."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="redraft-test-") as folder:
            yield f"sqlite:///{Path(folder, 'redraft.db')}"
        return
    server = _server(backend)
    name = f"redraft_test_{secrets.token_hex(6)}"
    _administer(server, f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if backend == "postgresql" else ""
        _administer(server, f"DROP DATABASE {name}{force}")


def fresh_database(backend: str) -> Iterator[Database]:
    """A new database with all tables: the body of a fixture."""
    with fresh_url(backend) as url:
        database = open_database(url)
        migrate(database)
        yield database
        database.close()


def _server(backend: str) -> sa.URL:
    variable, default = SERVERS[backend]
    url = os.environ.get(variable, default)
    try:
        open_database(url).close()
    except DatabaseUnavailable as error:
        message = f"{error} Start a {backend} server for tests, or set {variable}."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return sa.make_url(url)


def _administer(server: sa.URL, statement: str) -> None:
    database = open_database(server.render_as_string(hide_password=False))
    bind = database.bind.execution_options(isolation_level="AUTOCOMMIT")
    with bind.connect() as connection:
        connection.execute(sa.text(statement))
    database.close()


def a_user(database: Database, role: str = "user") -> User:
    """A user of a new name."""
    with database.session() as session:
        return users.add_user(session, f"user-{secrets.token_hex(6)}", role)


def a_conversation(session: Session, user: User, title: str = "A talk") -> Conversation:
    """An empty conversation."""
    return record.start_conversation(session, user.id, title, 0.2)


def a_turn(
    session: Session, conversation: Conversation, drafts: int = 2, query: str = "How long?"
) -> tuple[Turn, list[Completion]]:
    """The next turn of the conversation with its drafts."""
    turn = record.record_turn(
        session,
        turn_id=new_id("turn"),
        conversation_id=conversation.id,
        query=query,
        rewritten_query=None,
        messages=[{"role": "user", "content": query}],
        prompt_name="chat/system",
        prompt_hash="0" * 64,
    )
    return turn, [a_completion(session, turn, draft) for draft in range(drafts)]


def a_completion(session: Session, turn: Turn, draft: int = 0, **changed: Any) -> Completion:
    """One draft of the turn."""
    fields: dict[str, Any] = {
        "completion_id": new_id("cmpl"),
        "turn_id": turn.id,
        "draft": draft,
        "text": f"Draft {draft}.",
        "token_ids": [1, 2, 3],
        "logprobs": [-0.1, -0.25, -1e-9],
        "adapter": "base",
        "base_model": "smollm2-135m",
        "engine": "echo",
        "sampling": {"temperature": 0.7, "n": 2},
        "prompt_hash": "0" * 64,
        "prompt_tokens": 12,
        "finish_reason": "stop",
    }
    return record.record_completion(session, **(fields | changed))


def a_story(
    database: Database, user: User, drafts: int = 2
) -> tuple[Conversation, Turn, list[Completion]]:
    """A conversation of one turn, recorded."""
    with database.session() as session:
        conversation = a_conversation(session, user)
        return conversation, *a_turn(session, conversation, drafts)


def rating(completion: Completion | str, value: object = 1, **more: object) -> dict[str, Any]:
    """The body of a rating."""
    id = completion if isinstance(completion, str) else completion.id
    return {"kind": "rating", "completion_id": id, "value": value, **more}
