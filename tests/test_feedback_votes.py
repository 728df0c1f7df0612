"""Which votes count for a canary: the first verdict of each conversation begun beside it."""

from collections.abc import Iterator
from typing import Any

import pytest
from feedback_databases import BACKENDS, a_completion, a_turn, a_user, fresh_database, rating
from sqlalchemy.orm import Session

from feedback import adapters, record
from feedback.database import Database
from feedback.split import takes_canary
from feedback.tables import Completion, Conversation, User
from feedback.votes import Vote, canary_votes

CANARY, SHARE = "a-0002-x", 0.5
BOTH = [True, False]


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


@pytest.fixture
def user(database: Database) -> User:
    return a_user(database)


def put_out(session: Session) -> None:
    adapters.register_adapter(session, name=CANARY, base_model="m", path="x", digest="0")
    adapters.set_canary(session, CANARY, SHARE, "gate", "better")


def conversation(session: Session, user: User, on_canary: bool) -> Conversation:
    """One that chance gives to the canary, or to the champion."""
    while True:
        found = record.start_conversation(session, user.id, "talk", 0.2)
        if takes_canary(found.id, CANARY, SHARE) == on_canary:
            return found


def answer(session: Session, user: User, on_canary: bool, adapter: str = "") -> Completion:
    talk = conversation(session, user, on_canary)
    turn, _ = a_turn(session, talk, drafts=0)
    return a_completion(session, turn, adapter=adapter or (CANARY if on_canary else "base"))


def counted(database: Database) -> list[Vote]:
    with database.reading() as session:
        found = adapters.canary(session)
        assert found
        return canary_votes(session, found)


def test_a_conversation_counts_once_by_its_first_verdict(database: Database, user: User) -> None:
    with database.session() as session:
        put_out(session)
        for on_canary in BOTH:
            given = answer(session, user, on_canary)
            first = record.record_feedback(session, user, rating(given, -1))
            record.record_feedback(session, user, rating(given, 1))
            record.withdraw_feedback(session, user, first.id)
            turn, _ = a_turn(
                session, session.get_one(Conversation, first.conversation_id), drafts=0
            )
            later = a_completion(session, turn, adapter=given.adapter)
            record.record_feedback(session, user, rating(later, 1))
    assert counted(database) == [Vote(user.id, True, False), Vote(user.id, False, False)]


def test_only_what_chance_decided_counts(database: Database, user: User) -> None:
    """Neither conversations from before the canary, nor adapters that somebody asked for."""
    with database.session() as session:
        earlier = [answer(session, user, on_canary) for on_canary in BOTH]
    with database.session() as session:
        put_out(session)
        asked_for = [answer(session, user, True, "base"), answer(session, user, False, CANARY)]
        for given in (*earlier, *asked_for):
            record.record_feedback(session, user, rating(given, -1))
        assert canary_votes(session, adapters.canary(session)) == []  # type: ignore[arg-type]


def test_a_vote_says_whose_it_is(database: Database) -> None:
    mia = a_user(database, "reviewer")
    with database.session() as session:
        put_out(session)
        record.record_feedback(session, mia, rating(answer(session, mia, True), 1))
    assert counted(database) == [Vote(mia.id, True, True, "reviewer")]


VERDICTS: list[tuple[dict[str, Any], bool | None]] = [
    ({"kind": "rating", "value": 1}, True),
    ({"kind": "rating", "value": -1}, False),
    ({"kind": "correction", "text": "Eight minutes."}, False),
    ({"kind": "comparison", "chosen": 1}, True),
    ({"kind": "comparison", "chosen": "tie"}, True),
    ({"kind": "comparison", "chosen": "both_bad"}, False),
    ({"kind": "rewrite", "value": -1, "text": "And how long for the egg?"}, None),
]


def test_each_verdict_on_an_answer_is_good_or_bad(database: Database, user: User) -> None:
    with database.session() as session:
        put_out(session)
        for verdict, _ in VERDICTS:
            turn, _ = a_turn(session, conversation(session, user, True), drafts=0, query="And it?")
            turn.rewritten_query = "And the egg?"
            drafts = [a_completion(session, turn, number, adapter=CANARY) for number in (0, 1)]
            record.record_feedback(session, user, about(verdict, drafts))
    expected = [Vote(user.id, True, good) for _, good in VERDICTS if good is not None]
    assert counted(database) == expected


def about(verdict: dict[str, Any], drafts: list[Completion]) -> dict[str, Any]:
    if verdict["kind"] in ("rating", "correction"):
        return {**verdict, "completion_id": drafts[1].id}
    body = {**verdict, "turn_id": drafts[0].turn_id}
    if verdict["kind"] == "comparison":
        chosen = verdict["chosen"]
        body["shown"] = [draft.id for draft in drafts]
        body["chosen"] = drafts[chosen].id if isinstance(chosen, int) else chosen
    return body
