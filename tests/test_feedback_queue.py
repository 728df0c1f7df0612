"""What waits for reviewers, on every database."""

from collections.abc import Iterator
from typing import Any

import pytest
from feedback_databases import BACKENDS, a_story, a_user, fresh_database, rating

from feedback import erasure, record, runs, users
from feedback.database import Database
from feedback.errors import Invalid
from feedback.queue import Item, Progress, fill_queue, list_queue, progress
from feedback.split import is_sampled
from feedback.tables import Conversation, Feedback, User, Waiting


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


def given(database: Database, user: User) -> Feedback:
    """A thumb on an answer of a conversation of its own."""
    _, _, drafts = a_story(database, user)
    with database.session() as session:
        return record.record_feedback(session, user, rating(drafts[0]))


def held(row: Feedback, step: str | None = "min_users") -> Item:
    return Item(row.id, step, "too few" if step else "", 1, {"text": f"text of {row.id}"})


def fill(database: Database, *items: Item) -> str:
    """A run that leaves the items; gives its id."""
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id
        fill_queue(session, run_id, items)
        runs.finish_run(session, run_id, "refused", "")
    return run_id


def listed(database: Database) -> list[str]:
    with database.reading() as session:
        return [item["feedback_id"] for item in list_queue(session).items]


def far(database: Database) -> Progress:
    with database.reading() as session:
        return progress(session)


def review(database: Database, reviewer: User, row: Feedback, verdict: str = "keep") -> Feedback:
    body = {"kind": "review", "feedback_id": row.id, "verdict": verdict}
    with database.session() as session:
        return record.record_feedback(session, reviewer, body)


def test_what_was_held_back_last_comes_first_and_samples_last(database: Database) -> None:
    ada = a_user(database)
    old, new, sample, newest = (given(database, ada) for _ in range(4))
    fill(database, held(old), held(new), held(sample, None))
    assert listed(database) == [new.id, old.id, sample.id]
    run_id = fill(database, held(newest, None), held(sample), held(old), held(new))
    assert listed(database) == [sample.id, new.id, old.id, newest.id], "held since this run"
    with database.reading() as session:
        first, *_, last = list_queue(session).items
    assert first["held"]["step"] == "min_users" and last["held"] is None
    assert (first["run_id"], first["users"]) == (run_id, 1)
    assert first["user"] == {"name": ada.name, "role": "user"}
    assert first["text"] == f"text of {sample.id}"


def test_a_reviewed_one_waits_no_more_until_that_is_taken_back(database: Database) -> None:
    ada, eve, zoe = a_user(database), a_user(database, "reviewer"), a_user(database, "admin")
    rows = [given(database, ada) for _ in range(3)]
    fill(database, *map(held, rows))
    first = review(database, eve, rows[1])
    assert listed(database) == [rows[2].id, rows[0].id]
    assert far(database) == Progress(1, 3)
    second = review(database, zoe, rows[1], "drop")
    for reviewer, said in ((eve, first), (zoe, second)):
        assert rows[1].id not in listed(database)
        with database.session() as session:
            record.withdraw_feedback(session, reviewer, said.id)
    assert listed(database) == [row.id for row in reversed(rows)]
    assert far(database) == Progress(0, 3)


def test_it_is_paged_also_from_one_that_was_reviewed_meanwhile(database: Database) -> None:
    ada, eve = a_user(database), a_user(database, "reviewer")
    rows = [given(database, ada) for _ in range(5)]
    fill(database, *map(held, rows))
    wanted = [row.id for row in reversed(rows)]
    with database.reading() as session:
        page = list_queue(session, limit=2)
    assert ([i["feedback_id"] for i in page.items], page.has_more) == (wanted[:2], True)
    review(database, eve, rows[3])
    with database.reading() as session:
        rest = list_queue(session, limit=3, after=page.last_id)
        assert ([i["feedback_id"] for i in rest.items], rest.has_more) == (wanted[2:], False)
        with pytest.raises(Invalid, match="which is not in this list"):
            list_queue(session, after="fb_none")


def test_what_may_not_be_learned_from_does_not_wait(database: Database) -> None:
    ada, ben, cleo, dan = (a_user(database) for _ in range(4))
    rows = [given(database, user) for user in (ada, ben, cleo, dan)]
    fill(database, *map(held, rows))
    with database.session() as session:
        users.set_consent(session, ada.name, False)
        record.withdraw_feedback(session, ben, rows[1].id)
        talk = session.get(Conversation, rows[2].conversation_id)
        assert talk is not None
        talk.deleted_at = rows[2].created_at
    assert listed(database) == [rows[3].id]
    assert far(database) == Progress(0, 1)
    fill(database, *map(held, rows))
    with database.reading() as session:
        assert session.get(Waiting, rows[2].id) is None, "its conversation is deleted"


def test_a_forgotten_users_texts_are_gone_from_it(database: Database) -> None:
    ada, ben = a_user(database), a_user(database)
    rows = [given(database, user) for user in (ada, ben)]
    fill(database, *map(held, rows))
    erasure.forget_user(database, ada.name)
    with database.reading() as session:
        assert [row.feedback_id for row in session.query(Waiting)] == [rows[1].id]


def test_the_sample_is_stable_and_as_large_as_asked() -> None:
    ids = [f"fb_{number}" for number in range(4000)]

    def sampled(share: float) -> set[str]:
        return {id for id in ids if is_sampled(id, share)}

    assert sampled(0) == set() and sampled(1) == set(ids)
    assert 320 < len(sampled(0.1)) < 480
    assert sampled(0.1) < sampled(0.2)


def test_thousands_that_wait_are_left_and_listed(database: Database) -> None:
    ada = a_user(database)
    row = given(database, ada)
    with database.session() as session:
        more: list[dict[str, Any]] = [
            {**_values(row), "id": f"fb_{n}", "target_id": f"t{n}"} for n in range(2000)
        ]
        session.execute(Feedback.__table__.insert(), more)  # type: ignore[attr-defined]
    fill(database, *(Item(one["id"], "bursts", "a burst", 1, {}) for one in more))
    assert far(database) == Progress(0, 2000)
    assert listed(database)[0] == "fb_1999"


def _values(row: Feedback) -> dict[str, Any]:
    names = [c.key for c in Feedback.__table__.columns if c.key != "seq"]
    return {name: getattr(row, name) for name in names}
