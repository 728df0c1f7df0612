"""The reads: what is in force, paging, searching, and what a snapshot gets."""

import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from feedback_databases import (
    BACKENDS,
    a_conversation,
    a_story,
    a_turn,
    a_user,
    fresh_database,
    rating,
)
from hypothesis import HealthCheck, given, settings, strategies as st

from feedback import moments, reads, record
from feedback.database import Database
from feedback.errors import Invalid, NotFound
from feedback.tables import Conversation, Feedback, User


@pytest.fixture(scope="module", params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


@pytest.fixture
def user(database: Database) -> User:
    return a_user(database)


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("rating"), st.integers(0, 1), st.integers(0, 1), st.sampled_from([1, -1])
        ),
        st.tuples(st.just("correction"), st.integers(0, 1), st.integers(0, 1), st.just("Text.")),
        st.tuples(st.just("withdraw"), st.integers(0, 1), st.integers(0, 30), st.none()),
    ),
    max_size=25,
)


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(EVENTS)
def test_in_force_agrees_with_a_naive_model(
    database: Database, happened: list[tuple[str, int, int, object]]
) -> None:
    people = [a_user(database), a_user(database)]
    stories = [a_story(database, person) for person in people]
    model: dict[tuple[int, str, str], str] = {}  # what is in force
    rows: list[list[tuple[str, str, str]]] = [[], []]
    with database.session() as session:
        for action, who, number, value in happened:
            if action == "withdraw":
                if rows[who]:
                    kind, target, id = rows[who][number % len(rows[who])]
                    record.withdraw_feedback(session, people[who], id)
                    if model.get((who, kind, target)) == id:
                        del model[who, kind, target]
                continue
            target = stories[who][2][number].id
            field = "value" if action == "rating" else "text"
            body = {"kind": action, "completion_id": target, field: value}
            id = record.record_feedback(session, people[who], body).id
            model[who, action, target] = id
            rows[who].append((action, target, id))
    ids = [person.id for person in people]
    with database.reading() as session:
        found = session.scalars(reads.in_force().where(Feedback.user_id.in_(ids)))
        assert {row.id for row in found} == set(model.values())


def test_a_conversation_is_shown_as_the_api_says(database: Database, user: User) -> None:
    conversation, turn, (first, second) = a_story(database, user)
    with database.session() as session:
        up = record.record_feedback(session, user, rating(first, 1, tags=["clear"], comment="ok"))
        better = record.record_feedback(
            session, user, {"kind": "correction", "completion_id": second.id, "text": "Better."}
        )
        shown = [second.id, first.id]
        body = {"kind": "comparison", "turn_id": turn.id, "shown": shown, "chosen": "tie"}
        tie = record.record_feedback(session, user, body)
    with database.reading() as session:
        got = reads.get_conversation(session, user, conversation.id)
    created = moments.iso(turn.created_at)
    assert got == {
        "id": conversation.id,
        "title": "A talk",
        "split": conversation.split,
        "created_at": moments.iso(conversation.created_at),
        "updated_at": created,
        "turns": [
            {
                "id": turn.id,
                "position": 0,
                "parent_turn_id": None,
                "query": "How long?",
                "rewritten_query": None,
                "created_at": created,
                "comparison": {"id": tie.id, "shown": shown, "chosen": "tie"},
                "rewrite": None,
                "completions": [
                    {
                        "id": first.id,
                        "draft": 0,
                        "text": "Draft 0.",
                        "stopped_by": None,
                        "reasoning": None,
                        "adapter": "base",
                        "finish_reason": "stop",
                        "created_at": moments.iso(first.created_at),
                        "rating": {"id": up.id, "value": 1, "tags": ["clear"], "comment": "ok"},
                        "correction": None,
                        "reasoning_rating": None,
                        "reasoning_correction": None,
                    },
                    {
                        "id": second.id,
                        "draft": 1,
                        "text": "Draft 1.",
                        "stopped_by": None,
                        "reasoning": None,
                        "adapter": "base",
                        "finish_reason": "stop",
                        "created_at": moments.iso(second.created_at),
                        "rating": None,
                        "correction": {"id": better.id, "text": "Better."},
                        "reasoning_rating": None,
                        "reasoning_correction": None,
                    },
                ],
            }
        ],
    }


def test_a_long_conversation_takes_as_few_queries_as_a_short_one(
    database: Database, user: User
) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user)
        for _ in range(30):
            _, drafts = a_turn(session, conversation)
            record.record_feedback(session, user, rating(drafts[0]))
    statements: list[str] = []

    def count(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    with database.reading() as session:
        session.connection()
        sa.event.listen(database.bind, "before_cursor_execute", count)
        got = reads.get_conversation(session, user, conversation.id)
        sa.event.remove(database.bind, "before_cursor_execute", count)
    assert len([text for text in statements if text.startswith("SELECT")]) == 4
    assert [turn["position"] for turn in got["turns"]] == list(range(30))
    assert all(turn["completions"][0]["rating"]["value"] == 1 for turn in got["turns"])


@pytest.mark.parametrize("role", ["user", "reviewer", "admin"])
def test_another_users_conversation_is_not_there(database: Database, user: User, role: str) -> None:
    conversation, _, _ = a_story(database, user)
    with database.reading() as session:
        for person, id in ((a_user(database, role), conversation.id), (user, "conv_none")):
            with pytest.raises(NotFound, match=f"There is no conversation {id}"):
                reads.get_conversation(session, person, id)


def test_preparations_come_the_newest_first(database: Database, user: User) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user)
        for number in range(4):
            record.record_turn(
                session,
                turn_id=record.new_id("turn"),
                conversation_id=conversation.id,
                query="How long?",
                rewritten_query=None,
                messages=[],
                prompt_name="chat/system",
                prompt_hash="0",
                preparation={"number": number} if number != 2 else None,
            )
        a_turn(session, a_conversation(session, user))
    with database.reading() as session:
        found = reads.newest_preparations(session, conversation.id, 3)
    assert found == [{"number": 3}, {"number": 1}]


def pages(database: Database, user: User, limit: int, query: str | None = None) -> list[list[str]]:
    """The titles, page by page."""
    found, after, more = [], None, True
    while more:
        with database.reading() as session:
            page = reads.list_conversations(session, user.id, limit, after, query)
        found.append([item["title"] for item in page.items])
        after, more = page.last_id, page.has_more
    return found


def test_conversations_come_in_pages_the_last_used_first(database: Database, user: User) -> None:
    with database.session() as session:
        made = [a_conversation(session, user, f"{number}") for number in range(7)]
        a_turn(session, made[2])
        record.delete_conversation(session, user, made[4].id)
    a_story(database, a_user(database))  # somebody else's
    assert pages(database, user, 2) == [["2", "6"], ["5", "3"], ["1", "0"]]
    assert pages(database, user, 6) == [["2", "6", "5", "3", "1", "0"]]
    with database.reading() as session:
        item = reads.list_conversations(session, user.id, 1).items[0]
        assert item["turns"] == 1
        assert item.keys() == {"id", "title", "created_at", "updated_at", "split", "turns"}
        empty = reads.list_conversations(session, a_user(database).id)
        assert empty == reads.Page([], False, None)


def test_pages_hold_still_where_moments_are_equal(database: Database, user: User) -> None:
    moment = moments.now() - timedelta(days=1)
    with database.session() as session:
        for number in range(9):
            conversation = a_conversation(session, user, f"{number}")
            conversation.updated_at = moment
    for limit in (1, 2, 4):
        found = pages(database, user, limit)
        assert sorted(title for page in found for title in page) == [f"{n}" for n in range(9)]
        assert all(len(page) == limit for page in found[:-1])


def test_a_page_follows_one_that_was_deleted_meanwhile(database: Database, user: User) -> None:
    with database.session() as session:
        made = [a_conversation(session, user, f"{number}") for number in range(4)]
    with database.session() as session:
        first = reads.list_conversations(session, user.id, 2)
        record.delete_conversation(session, user, made[2].id)
    assert first.last_id == made[2].id
    with database.reading() as session:
        second = reads.list_conversations(session, user.id, 2, first.last_id)
    assert [item["title"] for item in second.items] == ["1", "0"]


def test_the_search_takes_signs_for_themselves(database: Database, user: User) -> None:
    titles = [
        "100% sure",
        "100 sure",
        "snake_case",
        "snakeXcase",
        "back\\slash",
        "a/b",
        "Ärger 你好",
    ]
    with database.session() as session:
        for title in titles:
            a_conversation(session, user, title)
        conversation = a_conversation(session, user, "asked")
        a_turn(session, conversation, query="Where is the 50%_\\Velmar LAMP 😀 שלום?")
        a_turn(session, conversation, query="And the velmar?")

    def search(query: str) -> set[str]:
        return {title for page in pages(database, user, 3, query) for title in page}

    assert search("0%") == {"100% sure", "asked"}
    assert search("e_c") == {"snake_case"}
    assert search("\\s") == {"back\\slash"}
    assert search("a/b") == {"a/b"}
    assert search("%_\\") == search("velmar lamp") == search("שלום") == search("😀") == {"asked"}
    assert search("ÄRGER") == search("你好") == {"Ärger 你好"}
    assert search("SURE") == {"100% sure", "100 sure"}
    assert search("\ud800") == search("\0") == set()
    assert search("nothing like it") == search("'; DROP TABLE users; --") == set()
    assert search("  ") == {*titles, "asked"}


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_page_has_a_size(database: Database, user: User, limit: int) -> None:
    with database.reading() as session:
        for listing in (
            lambda: reads.list_conversations(session, user.id, limit),
            lambda: reads.list_feedback(session, user, limit),
        ):
            with pytest.raises(Invalid, match=f"limit is {limit}; it is 1 to 100"):
                listing()


def test_a_page_follows_an_item_of_the_list(database: Database, user: User) -> None:
    other = a_user(database)
    conversation, _, (draft, _) = a_story(database, other)
    with database.session() as session:
        given_by_other = record.record_feedback(session, other, rating(draft))
        for after in (conversation.id, "conv_none", "", "\0", "\ud800"):
            with pytest.raises(Invalid, match="not in this list"):
                reads.list_conversations(session, user.id, 5, after)
        for after in (given_by_other.id, "fb_none", "", "\0", "\ud800"):
            with pytest.raises(Invalid, match="not in this list"):
                reads.list_feedback(session, user, 5, after)


def test_feedback_comes_in_pages_the_newest_first(database: Database, user: User) -> None:
    _, _, drafts = a_story(database, user, drafts=5)
    with database.session() as session:
        rows = [record.record_feedback(session, user, rating(draft)) for draft in drafts]
        record.withdraw_feedback(session, user, rows[1].id)
        last = record.record_feedback(session, user, rating(drafts[0], -1))
    expected = [last.id, rows[4].id, rows[3].id, rows[2].id]
    with database.reading() as session:
        first = reads.list_feedback(session, user, 3)
        second = reads.list_feedback(session, user, 3, first.last_id)
    assert [item["id"] for item in first.items + second.items] == expected
    assert (first.has_more, second.has_more) == (True, False)
    assert first.items[0] == {
        "id": last.id,
        "kind": "rating",
        "conversation_id": last.conversation_id,
        "turn_id": last.turn_id,
        "completion_id": drafts[0].id,
        "value": -1,
        "tags": [],
        "comment": None,
        "created_at": moments.iso(last.created_at),
    }


def test_new_feedback_is_what_came_into_force_since(database: Database, user: User) -> None:
    _, _, (first, second) = a_story(database, user)
    with database.session() as session:
        since = reads.last_feedback_seq(session)
        assert reads.count_new_feedback(session, since) == 0
        for value in (1, -1, 1, -1):
            record.record_feedback(session, user, rating(first, value))
        taken_back = record.record_feedback(session, user, rating(second))
        assert reads.count_new_feedback(session, since) == 2
        withdrawal = record.withdraw_feedback(session, user, taken_back.id)
        assert reads.count_new_feedback(session, since) == 1
        assert reads.last_feedback_seq(session) == withdrawal.seq
        assert reads.count_new_feedback(session, withdrawal.seq) == 0


def test_a_snapshot_gets_all_that_is_in_force(
    database: Database, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "BATCH", 2)
    stories = [a_story(database, user) for _ in range(4)]
    with database.session() as session:
        for _, turn, (first, second) in stories:
            record.record_feedback(session, user, rating(first, 1))
            record.record_feedback(session, user, rating(first, -1))
            chosen = {"shown": [first.id, second.id], "chosen": second.id}
            body = {"kind": "comparison", "turn_id": turn.id, **chosen}
            row = record.record_feedback(session, user, body)
        record.withdraw_feedback(session, user, row.id)
        record.delete_conversation(session, user, stories[1][0].id)
    with database.reading() as session:
        rows = [row for row in reads.training_rows(session) if row["user_id"] == user.id]
    assert [row["kind"] for row in rows] == ["rating", "comparison"] * 2 + ["rating"]
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert {row["conversation_id"] for row in rows} == {stories[n][0].id for n in (0, 2, 3)}
    conversation, turn, drafts = stories[0]
    assert (
        rows[0].items()
        >= {
            "payload": {"value": -1, "tags": [], "comment": None},
            "split": conversation.split,
            "turn_id": turn.id,
            "messages": [{"role": "user", "content": "How long?"}],
            "query": "How long?",
            "rewritten_query": None,
            "position": 0,
            "preparation": None,
            "completion_id": drafts[0].id,
        }.items()
    )
    assert rows[1]["completion_id"] is None
    assert [draft["id"] for draft in rows[1]["completions"]] == [draft.id for draft in drafts]
    assert rows[1]["completions"][1] == {
        "id": drafts[1].id,
        "draft": 1,
        "text": "Draft 1.",
        "token_ids": [1, 2, 3],
        "logprobs": [-0.1, -0.25, -1e-9],
        "stopped_by": None,
        "reasoning": None,
        "adapter": "base",
        "base_model": "smollm2-135m",
        "engine": "echo",
        "sampling": {"temperature": 0.7, "n": 2},
        "prompt_hash": "0" * 64,
        "finish_reason": "stop",
    }


def test_a_snapshot_is_of_one_moment_and_stops_no_writer(
    database: Database, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "BATCH", 1)
    _, _, drafts = a_story(database, user)
    with database.session() as session:
        given = [record.record_feedback(session, user, rating(draft)).id for draft in drafts]
    found = []
    with database.reading() as session:
        for row in reads.training_rows(session):
            found.append(row["feedback_id"])
            with database.session() as writer:
                record.record_feedback(writer, user, rating(drafts[-1], -1))
    assert found[-2:] == given


@pytest.mark.parametrize("rows", [20_000])
def test_many_rows_stay_fast(rows: int) -> None:
    """Plans, not seconds: no query may walk through all feedback for one user or one page."""
    for database in fresh_database("sqlite"):
        user = a_user(database)
        conversation, turn, (draft, _) = a_story(database, user)
        with database.session() as session:
            one = dict(user_id=user.id, kind="rating", turn_id=turn.id, payload={"value": 1})
            one |= dict(conversation_id=conversation.id, completion_id=draft.id)
            many = [
                one | {"id": f"fb_{n}", "target_id": f"{draft.id}-{n % 5000}"} for n in range(rows)
            ]
            session.execute(sa.insert(Feedback), many)
        with database.reading() as session:
            assert reads.count_new_feedback(session, 0) == 5000
            queries = {
                "paged": reads.in_force().where(Feedback.user_id == user.id).limit(20),
                "new": reads.in_force().where(Feedback.seq > rows - 10),
                "shown": reads.in_force().where(Feedback.conversation_id == conversation.id),
            }
            for name, query in queries.items():
                compiled = query.compile(database.bind, compile_kwargs={"literal_binds": True})
                plan = session.execute(sa.text(f"EXPLAIN QUERY PLAN {compiled}")).all()
                assert not [step for step in plan if "SCAN" in step[3]], (name, plan)


def test_deleted_and_renamed_are_told_apart_from_made(database: Database, user: User) -> None:
    with database.session() as session:
        conversation = a_conversation(session, user, "Before")
    with database.session() as session:
        record.rename_conversation(session, user, conversation.id, f"After {secrets.token_hex(2)}")
    with database.reading() as session:
        kept = session.get_one(Conversation, conversation.id)
        assert kept.updated_at > kept.created_at == conversation.created_at


@pytest.mark.parametrize("batch", [1, 2, 3, 200])
def test_conversations_come_whole_whatever_the_batch(
    database: Database, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben = a_user(database), a_user(database)
    with database.session() as session:
        talks = [a_conversation(session, user) for user in (ada, ben, ada)]
        drafts = [draft for talk in talks for draft in a_turn(session, talk, 3)[1]]
        for draft in [*drafts[::2], *drafts[1::2], drafts[0]]:
            owner = ben if draft in drafts[3:6] else ada
            record.record_feedback(session, owner, rating(draft))
    monkeypatch.setattr(reads, "BATCH", batch)
    with database.reading() as session:
        rows = [row for row in reads.training_rows(session) if row["user_id"] in (ada.id, ben.id)]
        found = [
            talk
            for talk in reads.training_conversations(session)
            if talk[0]["user_id"] in (ada.id, ben.id)
        ]
    first = list(dict.fromkeys(row["conversation_id"] for row in rows))
    assert [talk[0]["conversation_id"] for talk in found] == first
    assert found == [[row for row in rows if row["conversation_id"] == id] for id in first]
    assert len(rows) == len(drafts)
