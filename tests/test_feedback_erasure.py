"""Forgetting a user, consent and retention, on every database."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from feedback_databases import (
    BACKENDS,
    a_completion,
    a_conversation,
    a_story,
    a_turn,
    a_user,
    fresh_database,
    rating,
)
from sqlalchemy.orm import Session

from feedback import adapters, erasure, reads, record, responses, runs, sessions, users
from feedback.database import Database
from feedback.errors import NotFound
from feedback.lineage import taught_by
from feedback.moments import now
from feedback.tables import Completion, Conversation, Feedback, Table, Turn, User

SECRET = "Xanadu-7741"


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


def a_life(database: Database, user: User) -> Conversation:
    """A conversation with the secret in every place that holds text."""
    with database.session() as session:
        talk = record.start_conversation(session, user.id, f"About {SECRET}", 0.0)
        turn, (draft, other) = a_turn(session, talk, 2, f"Who is {SECRET}?")
        turn.rewritten_query = turn.query
        turn.preparation = {"rewrite": {"history": [{"role": "user", "content": SECRET}]}}
        draft.text, draft.sampling, draft.stopped_by = SECRET, {"stop": [SECRET]}, SECRET
        why = {"text": SECRET, "token_ids": [7], "logprobs": [-1.0], "finish_reason": "stop"}
        record.record_reasoning(session, completion_id=draft.id, **why)
        responses.record_response(
            session,
            conversation_id=talk.id,
            turn_id=turn.id,
            input=[{"content": SECRET}],
            resource={"id": f"resp_{draft.id}", "status": "completed", "x": SECRET,
                      "previous_response_id": None},
        )  # fmt: skip
        tags = ["clear", SECRET]
        bodies: list[dict[str, Any]] = [
            rating(draft, 1, tags=tags, comment=SECRET),
            {"kind": "correction", "completion_id": other.id, "text": SECRET},
            {"kind": "rewrite", "turn_id": turn.id, "value": -1, "text": SECRET},
            {"kind": "copied", "completion_id": draft.id},
        ]
        for body in bodies:
            record.record_feedback(session, user, body, f"{SECRET} {body['kind']} {turn.id}")
    return talk


Write = Callable[[Session, User, Turn, Completion], object]
WRITES: dict[str, Write] = {
    "answer": lambda session, user, turn, draft: a_completion(session, turn, 7, text=SECRET),
    "reasoning": lambda session, user, turn, draft: record.record_reasoning(
        session, completion_id=draft.id, text=SECRET, token_ids=[7], logprobs=[-1.0],
        finish_reason="stop",
    ),
    "response": lambda session, user, turn, draft: responses.record_response(
        session, conversation_id=turn.conversation_id, turn_id=turn.id, input=[],
        resource={"id": "resp_1", "status": "done", "x": SECRET, "previous_response_id": None},
    ),
    "feedback": lambda session, user, turn, draft: record.record_feedback(
        session, user, rating(draft, 1, comment=SECRET)
    ),
    "turn": lambda session, user, turn, draft: a_turn(
        session, session.get_one(Conversation, turn.conversation_id), 0, SECRET
    ),
}  # fmt: skip


def side_by_side(
    database: Database, first: Callable[[Session], object], second: Callable[[], object]
) -> None:
    """Do the second in a thread while the first is done and not committed."""
    with database.session() as session:
        first(session)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "It did not wait."
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_an_erasure_waits_for_what_is_being_written(database: Database, write: Write) -> None:
    ada = a_user(database)
    _, turn, (draft, _) = a_story(database, ada)
    forget = partial(erasure.forget_user, database, ada.name)
    side_by_side(database, lambda session: write(session, ada, turn, draft), forget)
    assert SECRET not in everything(database)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_into_an_erasure_waits_and_leaves_no_text(
    database: Database, write: Write
) -> None:
    ada = a_user(database)
    talk, turn, (draft, _) = a_story(database, ada)

    def late() -> None:
        with suppress(NotFound), database.session() as session:
            write(session, ada, turn, draft)

    erase = partial(erasure._erase_conversations, ids=[talk.id])
    side_by_side(database, erase, late)
    assert SECRET not in everything(database)


def everything(database: Database) -> str:
    """All that is in the record, as one text."""
    with database.bind.connect() as connection:
        tables = Table.metadata.sorted_tables
        return "\n".join(str(row) for table in tables for row in connection.execute(table.select()))


def test_nothing_that_a_forgotten_user_wrote_is_left(database: Database) -> None:
    ada = a_user(database)
    a_life(database, ada)
    a_life(database, ada)
    with database.session() as session:
        users.new_key(session, ada.name)
        token = sessions.open_session(session, ada.id, 1)
        users.set_password(session, ada.name, f"{SECRET} and more")
        token = sessions.open_session(session, ada.id, 1)
    assert everything(database).count(SECRET) > 20
    done = erasure.forget_user(database, ada.name)
    assert (done.conversations, done.turns, done.feedback, done.keys) == (2, 2, 8, 1)
    left = everything(database)
    assert SECRET not in left and ada.name not in left
    with database.reading() as session:
        assert sessions.user_of_session(session, token) is None
        assert list(reads.training_rows(session)) == []
        values = [row.payload.get("value") for row in session.scalars(sa.select(Feedback))]
        assert values.count(1) == 2, "the counts stay"
        with pytest.raises(NotFound):
            users.known_user(session, ada.name)


def test_forgetting_again_tells_the_same(database: Database) -> None:
    ada = a_user(database)
    a_life(database, ada)
    first = erasure.forget_user(database, ada.name)
    again = erasure.forget_user(database, first.name)
    assert again == erasure.Forgotten(first.name, 1, 1, 4, 0, [])


def test_nobody_else_is_touched(database: Database) -> None:
    ada, ben = a_user(database), a_user(database)
    a_life(database, ada)
    a_life(database, ben)
    before = everything(database).count(SECRET)
    erasure.forget_user(database, ada.name)
    assert everything(database).count(SECRET) == before // 2
    with database.reading() as session:
        assert {row["user_id"] for row in reads.training_rows(session)} == {ben.id}


def test_a_forgotten_reviewers_words_on_others_go_as_well(database: Database) -> None:
    ada, eve = a_user(database), a_user(database, "reviewer")
    _, _, drafts = a_story(database, ada)
    with database.session() as session:
        given = record.record_feedback(session, ada, rating(drafts[0]))
        fix = {"kind": "review", "feedback_id": given.id, "verdict": "fix", "text": SECRET}
        record.record_feedback(session, eve, fix)
    erasure.forget_user(database, eve.name)
    assert SECRET not in everything(database)
    with database.reading() as session:
        (row,) = reads.training_rows(session)
        assert erasure.erased_among(session, [given.id]) == {given.id}
    assert row["review"] == {"verdict": "fix", "text": None}


def test_what_is_written_while_a_user_is_forgotten_is_not_kept(database: Database) -> None:
    ada = a_user(database)
    with database.session() as session:
        talk = a_conversation(session, ada)
        turn, _ = a_turn(session, talk, 0)
    erasure.forget_user(database, ada.name)
    with database.session() as session:
        late = {"token_ids": [1], "logprobs": [-1.0], "finish_reason": "stop"}
        record.record_completion(
            session, completion_id="cmpl_late", turn_id=turn.id, draft=0, text=SECRET,
            adapter="base", base_model="m", engine="echo", sampling={"stop": [SECRET]},
            prompt_hash="h", prompt_tokens=1, **late,
        )  # fmt: skip
        record.record_reasoning(session, completion_id="cmpl_late", text=SECRET, **late)
        responses.record_response(
            session,
            conversation_id=talk.id,
            turn_id=turn.id,
            input=[{"content": SECRET}],
            resource={"id": "resp_late", "status": "completed", "previous_response_id": None},
        )
    assert SECRET not in everything(database)


def test_the_adapters_trained_on_a_user_are_listed_with_those_built_on_them(
    database: Database,
) -> None:
    ada, ben, late = a_user(database), a_user(database), a_user(database)
    a_life(database, ada)
    a_life(database, ben)
    with database.session() as session:
        for number, parent in ((1, None), (2, "a-1"), (3, None)):
            run = runs.claim_run(session, {})
            seen = reads.last_feedback_seq(session) if number != 2 else 0
            run.last_feedback_seq = seen
            runs.finish_run(session, run.id, "rejected", "")
            adapters.register_adapter(
                session, name=f"a-{number}", base_model="m", path="p", digest="0", parent=parent,
                run_id=run.id,
            )  # fmt: skip
    a_life(database, late)
    for user, known in ((ada, ["a-1", "a-2", "a-3"]), (late, [])):
        with database.reading() as session:
            assert taught_by(session, user.id) == known
        done = erasure.forget_user(database, user.name)
        assert done.adapters == known
        assert erasure.forget_user(database, done.name).adapters == known


def test_without_consent_nothing_reaches_a_snapshot(database: Database) -> None:
    ada, ben = a_user(database), a_user(database)
    a_life(database, ada)
    a_life(database, ben)

    def learned() -> set[str]:
        with database.reading() as session:
            rows = list(reads.training_rows(session))
            assert reads.count_new_feedback(session, 0) == len(rows)
        return {row["user_id"] for row in rows}

    assert learned() == {ada.id, ben.id}, "as long as nobody says no"
    with database.session() as session:
        users.set_consent(session, ada.name, False)
    assert learned() == {ben.id}
    with database.session() as session:
        users.set_consent(session, ada.name, True)
    assert learned() == {ada.id, ben.id}


def test_what_is_past_retention_is_erased(database: Database) -> None:
    ada = a_user(database)
    old, new = a_life(database, ada), a_life(database, ada)
    with database.session() as session:
        session.get_one(Conversation, old.id).updated_at = now() - timedelta(days=31)
    before = everything(database).count(SECRET)
    assert erasure.prune(database, 30) == 1
    assert everything(database).count(SECRET) == before // 2
    assert erasure.prune(database, 30) == 0
    with database.reading() as session:
        assert {row["conversation_id"] for row in reads.training_rows(session)} == {new.id}
        listed = reads.list_conversations(session, ada.id).items
    assert [found["id"] for found in listed] == [new.id]


def test_no_file_of_sqlite_holds_what_was_erased() -> None:
    for database in fresh_database("sqlite"):
        ada = a_user(database)
        a_life(database, ada)
        folder = Path(database.url.removeprefix("sqlite:///")).parent

        def holding(folder: Path = folder) -> list[str]:
            return [p.name for p in folder.iterdir() if SECRET.encode() in p.read_bytes()]

        assert holding()
        erasure.forget_user(database, ada.name)
        assert holding() == []
