"""The writes: what is kept, what is refused, and what a repeated request does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

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

from feedback import reads, record
from feedback.database import Database
from feedback.errors import Conflict, Invalid, NotFound
from feedback.split import split_of
from feedback.tables import Completion, Conversation, Feedback, Turn, User


@pytest.fixture(scope="module", params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


@pytest.fixture
def user(database: Database) -> User:
    return a_user(database)


def in_force(database: Database, user: User) -> list[Feedback]:
    with database.reading() as session:
        query = reads.in_force().where(Feedback.user_id == user.id).order_by(Feedback.seq)
        return list(session.scalars(query))


def events(session: Session, user: User) -> int | None:
    query = sa.select(sa.func.count()).select_from(Feedback)
    return session.scalar(query.where(Feedback.user_id == user.id))


def test_ids_say_what_they_name() -> None:
    ids = {record.new_id("cmpl") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(id.startswith("cmpl_") and len(id) == 29 for id in ids)


def test_the_split_is_decided_when_the_conversation_starts(database: Database, user: User) -> None:
    with database.session() as session:
        for number in range(8):
            id = f"conv_{user.id}_{number}"
            conversation = record.start_conversation(session, user.id, "x", 0.5, id)
            assert conversation.split == split_of(user.id, id, 0.5)


def test_a_conversation_id_is_used_once(database: Database, user: User) -> None:
    conversation, _, _ = a_story(database, user)
    with database.session() as session:
        with pytest.raises(Conflict, match="cannot be recorded: its id"):
            record.start_conversation(session, user.id, "x", 0.2, conversation.id)
        a_conversation(session, user)  # the session goes on
    with pytest.raises(Conflict), database.session() as session:
        record.start_conversation(session, "usr_none", "x", 0.2)


def test_a_title_is_one_short_line(database: Database, user: User) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user, " Why\n is \t the sky\0 " + "b" * 300)
        assert conversation.title.startswith("Why is the sky\ufffd bbb")
        assert len(conversation.title) == 200
        record.rename_conversation(session, user, conversation.id, "  Sky 🌌 ")
        assert conversation.title == "Sky 🌌"
        for title in ("", " ", "x" * 201, None, 7, "\0"):
            with pytest.raises(Invalid):
                record.rename_conversation(session, user, conversation.id, title)


def test_only_the_owner_renames_deletes_and_restores(database: Database, user: User) -> None:
    conversation, _, _ = a_story(database, user)
    admin = a_user(database, "admin")
    with database.session() as session:
        with pytest.raises(NotFound):
            record.rename_conversation(session, admin, conversation.id, "Mine")
        with pytest.raises(NotFound):
            record.delete_conversation(session, admin, conversation.id)
        record.delete_conversation(session, user, conversation.id)
        with pytest.raises(NotFound):
            record.delete_conversation(session, user, conversation.id)
        assert session.get_one(Conversation, conversation.id).deleted_at
        with pytest.raises(NotFound):
            record.restore_conversation(session, admin, conversation.id)
        for _ in range(2):
            record.restore_conversation(session, user, conversation.id)
            assert session.get_one(Conversation, conversation.id).deleted_at is None
        erased = session.get_one(Conversation, conversation.id)
        erased.deleted_at = erased.erased_at = erased.updated_at
        with pytest.raises(NotFound):
            record.restore_conversation(session, user, conversation.id)


def test_turns_follow_each_other(database: Database, user: User) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user)
        started = conversation.updated_at
        turns = [a_turn(session, conversation)[0] for _ in range(3)]
        assert [turn.position for turn in turns] == [0, 1, 2]
        assert conversation.updated_at == turns[-1].created_at > started


def test_a_turn_belongs_to_a_conversation_and_is_recorded_once(
    database: Database, user: User
) -> None:
    conversation, turn, _ = a_story(database, user)
    fields = dict(rewritten_query=None, messages=[], prompt_name="p", prompt_hash="0")
    with database.session() as session:
        with pytest.raises(NotFound):
            record.record_turn(
                session, turn_id="turn_x", conversation_id="conv_x", query="?", **fields
            )
        with pytest.raises(Conflict):
            record.record_turn(
                session, turn_id=turn.id, conversation_id=conversation.id, query="?", **fields
            )


@pytest.mark.parametrize("text", ["a\0b", "\ud83d"])
def test_what_no_database_stores_is_refused_in_a_question(
    database: Database, user: User, text: str
) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user)
        with pytest.raises(Invalid, match="query holds"):
            a_turn(session, conversation, query=text)
        fields = dict(rewritten_query=text, prompt_name="p", prompt_hash="0", query="?")
        with pytest.raises(Invalid, match="messages holds"):
            record.record_turn(
                session,
                turn_id="turn_y",
                conversation_id=conversation.id,
                messages=[{"role": "user", "content": [{"type": "text", "text": text}]}],
                **fields,
            )


def test_a_completion_is_kept_with_all_that_learning_needs(database: Database, user: User) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user)
        turn, _ = a_turn(session, conversation, drafts=0)
        logprobs = [-1 / 3, -1e-12, -12.345678901234567]
        made = a_completion(session, turn, logprobs=logprobs, finish_reason="cancelled")
    with database.reading() as session:
        kept = session.get_one(Completion, made.id)
        assert kept.logprobs == logprobs  # to the last bit
        assert (kept.token_ids, kept.finish_reason) == ([1, 2, 3], "cancelled")
        assert kept.sampling == {"temperature": 0.7, "n": 2}


def test_an_engine_without_tokens_is_recorded_too(database: Database, user: User) -> None:
    with database.session() as session:
        turn, _ = a_turn(session, a_conversation(session, user), drafts=0)
        a_completion(session, turn, 0, token_ids=None, logprobs=None)
        a_completion(session, turn, 1, token_ids=[], logprobs=[], text="")
        a_completion(session, turn, 2, logprobs=[float("-inf"), float("nan"), 0.0])
    with database.reading() as session:
        query = sa.select(Completion).where(Completion.turn_id == turn.id)
        drafts = session.scalars(query.order_by(Completion.draft)).all()
        assert [draft.logprobs for draft in drafts] == [None, [], None]
        nulls = query.where(Completion.token_ids.is_(None))
        assert [draft.draft for draft in session.scalars(nulls)] == [0]


def test_an_answer_is_kept_whatever_the_engine_wrote(database: Database, user: User) -> None:
    with database.session() as session:
        turn, _ = a_turn(session, a_conversation(session, user), drafts=0)
        made = a_completion(session, turn, text="a\0b\ud83dc\udfffd 😀 \r\n ")
    with database.reading() as session:
        assert session.get_one(Completion, made.id).text == "a�b�c�d 😀 \r\n "


@pytest.mark.parametrize(
    "changed",
    [{"finish_reason": "done"}, {"adapter": ""}, {"logprobs": [-1.0]}, {"token_ids": None}],
)
def test_a_completion_that_cannot_be_learned_from_is_refused(
    database: Database, user: User, changed: dict[str, object]
) -> None:
    with database.session() as session:
        turn, _ = a_turn(session, a_conversation(session, user), drafts=0)
        with pytest.raises(Invalid) as caught:
            a_completion(session, turn, **changed)
        assert caught.value.param in ("logprobs", *changed)


def test_a_draft_is_recorded_once(database: Database, user: User) -> None:
    _, turn, _ = a_story(database, user)
    with database.session() as session:
        with pytest.raises(Conflict):
            a_completion(session, turn, 1)
        with pytest.raises(Conflict):
            a_completion(session, Turn(id="turn_none"), 0)
        a_completion(session, turn, 2)


def test_a_thumb_is_clicked_flipped_and_taken_back(database: Database, user: User) -> None:
    _, _, (draft, _) = a_story(database, user)
    with database.session() as session:
        up = record.record_feedback(session, user, rating(draft, 1))
    assert [row.id for row in in_force(database, user)] == [up.id]
    with database.session() as session:
        down = record.record_feedback(session, user, rating(draft, -1, tags=["wrong"]))
    assert [row.payload["value"] for row in in_force(database, user)] == [-1]
    with database.session() as session:
        record.withdraw_feedback(session, user, up.id)  # superseded: nothing changes
    assert [row.id for row in in_force(database, user)] == [down.id]
    with database.session() as session:
        record.withdraw_feedback(session, user, down.id)
    assert in_force(database, user) == []
    with database.session() as session:
        again = record.record_feedback(session, user, rating(draft, 1))
    assert [row.id for row in in_force(database, user)] == [again.id]


def test_withdrawing_twice_is_withdrawing_once(database: Database, user: User) -> None:
    _, _, (draft, _) = a_story(database, user)
    with database.session() as session:
        given = record.record_feedback(session, user, rating(draft))
        first = record.withdraw_feedback(session, user, given.id)
    with database.session() as session:
        assert record.withdraw_feedback(session, user, given.id).id == first.id
        assert events(session, user) == 2
        assert first.withdraws == given.id
        with pytest.raises(NotFound):
            record.withdraw_feedback(session, user, first.id)


def test_only_who_gave_it_withdraws_it(database: Database, user: User) -> None:
    _, _, (draft, _) = a_story(database, user)
    admin = a_user(database, "admin")
    with database.session() as session:
        given = record.record_feedback(session, user, rating(draft))
        for id in (given.id, "fb_none", "", "\0"):
            with pytest.raises(NotFound):
                record.withdraw_feedback(session, admin, id)
    assert len(in_force(database, user)) == 1


def test_a_refused_body_leaves_nothing(database: Database, user: User) -> None:
    _, _, (draft, _) = a_story(database, user)
    with pytest.raises(Invalid), database.session() as session:
        record.record_feedback(session, user, rating(draft, 7), "a key")
    with database.session() as session:
        assert events(session, user) == 0
        record.record_feedback(session, user, rating(draft, 1), "a key")  # the key is still free


def test_a_repeated_key_with_the_same_body_gives_the_first_row(
    database: Database, user: User
) -> None:
    conversation, _, (draft, _) = a_story(database, user)
    with database.session() as session:
        first = record.record_feedback(session, user, rating(draft, 1, comment="good"), "key")
    with database.session() as session:
        body = dict(reversed(rating(draft, 1, comment="good").items()))
        assert record.record_feedback(session, user, body, " key ").id == first.id
        record.delete_conversation(session, user, conversation.id)
        assert record.record_feedback(session, user, body, "key").id == first.id
        assert events(session, user) == 1


def test_a_repeated_key_with_another_body_is_a_conflict(database: Database, user: User) -> None:
    _, _, (draft, other) = a_story(database, user)
    with database.session() as session:
        first = record.record_feedback(session, user, rating(draft, 1), "key")
        for body in (rating(draft, -1), rating(other, 1), rating(draft, 1, tags=["x"])):
            with pytest.raises(Conflict, match=f"another body, recorded as {first.id}. Send"):
                record.record_feedback(session, user, body, "key")
        assert events(session, user) == 1


def test_keys_are_each_users_own_and_told_apart_to_the_letter(
    database: Database, user: User
) -> None:
    other = a_user(database)
    ids = set()
    for person in (user, other):
        _, _, (draft, _) = a_story(database, person)
        with database.session() as session:
            for key in ("key", "KEY", "kéy", None, None):
                ids.add(record.record_feedback(session, person, rating(draft), key).id)
    assert len(ids) == 10


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "a\0"])
def test_a_key_is_short_text(database: Database, user: User, key: str) -> None:
    _, _, (draft, _) = a_story(database, user)
    with pytest.raises(Invalid) as caught, database.session() as session:
        record.record_feedback(session, user, rating(draft), key)
    assert caught.value.param == "Idempotency-Key"


def test_double_fired_requests_give_one_row(database: Database, user: User) -> None:
    _, _, (draft, _) = a_story(database, user)
    start = Barrier(8)

    def fire(_: int) -> str:
        start.wait()
        with database.session() as session:
            return record.record_feedback(session, user, rating(draft), "one click").id

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(fire, range(8)))) == 1
    with database.reading() as session:
        assert events(session, user) == 1


def test_double_fired_withdrawals_give_one_row(database: Database, user: User) -> None:
    _, _, (draft, _) = a_story(database, user)
    with database.session() as session:
        given = record.record_feedback(session, user, rating(draft))
    start = Barrier(8)

    def fire(_: int) -> str:
        start.wait()
        with database.session() as session:
            return record.withdraw_feedback(session, user, given.id).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(fire, range(8)))) == 1
    with database.reading() as session:
        assert events(session, user) == 2
