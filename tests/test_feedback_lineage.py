"""The way back: adapter, run, snapshot, feedback, completion, adapter."""

from collections.abc import Iterator

import pytest
from feedback_databases import (
    BACKENDS,
    a_completion,
    a_conversation,
    a_turn,
    a_user,
    fresh_database,
    rating,
)
from sqlalchemy.orm import Session

from feedback import adapters, record, runs
from feedback.database import Database
from feedback.lineage import lineage, origins
from feedback.tables import Completion, User


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


def register(session: Session, name: str, **fields: str | None) -> None:
    adapters.register_adapter(
        session, name=name, base_model="m", path=name, digest="0" * 64, **fields
    )


def answers(session: Session, user: User, *adapters: str) -> list[Completion]:
    """The drafts of a turn in a conversation of its own."""
    turn, _ = a_turn(session, a_conversation(session, user), drafts=0)
    return [a_completion(session, turn, i, adapter=name) for i, name in enumerate(adapters)]


def comparison(drafts: list[Completion]) -> dict[str, object]:
    shown = [draft.id for draft in drafts]
    return {
        "kind": "comparison",
        "turn_id": drafts[0].turn_id,
        "shown": shown,
        "chosen": shown[1],
    }


def test_an_adapter_leads_back_to_the_adapters_that_wrote_what_was_judged(
    database: Database,
) -> None:
    user = a_user(database)
    with database.session() as session:
        register(session, "a")
        [rated], pair, [regretted], [deleted] = (
            answers(session, user, *names) for names in (["base"], ["a", "a"], ["a"], ["a"])
        )
        first = record.record_feedback(session, user, rating(rated, -1))
        changed = record.record_feedback(session, user, rating(rated, 1))
        picked = record.record_feedback(session, user, comparison(pair))
        gone = record.record_feedback(session, user, rating(regretted))
        record.withdraw_feedback(session, user, gone.id)
        hidden = record.record_feedback(session, user, rating(deleted))
        record.delete_conversation(session, user, hidden.conversation_id)
        corpus = {"folder": "/srv/shop", "digest": "3f9c"}
        run = runs.claim_run(session, {"corpus": corpus})
        register(session, "b", parent="a", run_id=run.id)
        runs.finish_run(session, run.id, "promoted", "", "b")
        record.record_feedback(session, user, rating(rated, -1))  # after the snapshot
        record.delete_conversation(session, user, picked.conversation_id)  # it has taught already
        adapters.set_canary(session, "b", 0.5, "gate", "better")
    with database.reading() as session:
        found = lineage(session, "b")
        rows = list(origins(session, "b"))
        assert list(origins(session, "a")) == []
    assert found["run"]["snapshot"] == "s-0001"
    assert found["run"]["corpus"] == corpus
    assert found["run"]["feedback"] == {"comparison": 1, "rating": 1}
    assert found["run"]["written_by"] == {"a": 1, "base": 1}
    assert (found["state"], found["events"][0]["facts"]) == ("canary", {"share": 0.5})
    assert (found["parent"]["name"], found["parent"]["run"]) == ("a", None)
    assert [tuple(row.values()) for row in rows] == [
        ("b", run.id, "s-0001", changed.id, "rating", rated.id, "base"),
        ("b", run.id, "s-0001", picked.id, "comparison", pair[0].id, "a"),
        ("b", run.id, "s-0001", picked.id, "comparison", pair[1].id, "a"),
    ]
    assert first.id not in {row["feedback"] for row in rows}
