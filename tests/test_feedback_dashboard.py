"""The dashboard's numbers are those of the record, and each has as many rows behind it as it says,
on every database."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import Any

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
from sqlalchemy import select, update

from feedback import record, tallies
from feedback.behind import Filter, list_behind, list_turns, list_with
from feedback.dashboard import Period, next_run, numbers
from feedback.database import Database
from feedback.errors import Invalid
from feedback.ids import new_id
from feedback.shares import wilson
from feedback.tables import Feedback, Tally, TallyMark, Turn, User

TODAY = datetime.now(UTC).date()
NOON = datetime.combine(TODAY, time(12), UTC)  # also of a test that runs past midnight
MONTH = Period(TODAY - timedelta(days=29), TODAY)


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


class Story:
    """Users with a turn each, whose two drafts are of the adapters named."""

    def __init__(self, database: Database) -> None:
        self.database, self.keys = database, count()

    def turn(self, *adapters: str) -> tuple[User, str, list[str]]:
        user = a_user(self.database)
        with self.database.session() as session:
            turn, _ = a_turn(session, a_conversation(session, user), 0, f"Q {next(self.keys)}")
            turn.created_at = NOON
            ids = [
                a_completion(session, turn, draft, adapter=adapter, completion_id=new_id("cmpl")).id
                for draft, adapter in enumerate(adapters)
            ]
        return user, turn.id, ids

    def say(self, user: User, body: dict[str, Any], days_ago: int = 0) -> str:
        with self.database.session() as session:
            row = record.record_feedback(session, user, body)
            row.created_at = NOON - timedelta(days=days_ago)
        return row.id

    def rate(self, adapter: str, value: int, days_ago: int = 0) -> tuple[User, str, str]:
        user, _, ids = self.turn(adapter)
        return user, ids[0], self.say(user, rating(ids[0], value), days_ago)

    def compare(self, adapters: tuple[str, str], chosen: int | str) -> str:
        user, turn, ids = self.turn(*adapters)
        picked = ids[chosen] if isinstance(chosen, int) else chosen
        body = {"kind": "comparison", "turn_id": turn, "shown": ids, "chosen": picked}
        return self.say(user, body)

    def numbers(self, period: Period = MONTH, step: str = "day") -> dict[str, Any]:
        tallies.refresh(self.database)
        with self.database.reading() as session:
            return numbers(session, period, step)

    def behind(self, limit: int = 100, after: str | None = None, **given: Any) -> list[str]:
        wanted = Filter(**({"period": MONTH} | given))
        with self.database.reading() as session:
            return [row["id"] for row in list_behind(session, wanted, limit, after).items]


@pytest.fixture
def story(database: Database) -> Story:
    return Story(database)


def satisfied(found: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {row["adapter"]: (row["good"], row["n"]) for row in found["satisfaction"]}


def test_an_empty_record_has_empty_numbers(story: Story) -> None:
    found = story.numbers()
    assert (found["turns"], found["verdicts"], found["satisfaction"]) == (0, 0, [])
    assert found["volume"] == found["comparisons"] == []
    assert found["places"]["share"] is None
    assert story.behind() == []


def test_a_flipped_and_a_withdrawn_thumb_count_as_what_the_user_meant(story: Story) -> None:
    user, completion, _ = story.rate("a-0001-x", -1, days_ago=3)
    kept = story.rate("a-0001-x", 1, days_ago=3)[2]
    assert satisfied(story.numbers()) == {"a-0001-x": (1, 2)}
    flipped = story.say(user, rating(completion, 1))  # of an earlier day, which is counted anew
    assert satisfied(story.numbers()) == {"a-0001-x": (2, 2)}
    assert story.behind(kind="rating", outcomes=("up",)) == [flipped, kept]
    with story.database.session() as session:
        record.withdraw_feedback(session, user, flipped)
    found = story.numbers()
    assert satisfied(found) == {"a-0001-x": (1, 1)} and found["verdicts"] == 1
    assert story.behind() == [kept]


def test_satisfaction_is_by_adapter_and_day_with_its_interval(story: Story) -> None:
    for days_ago, values in ((0, (1, 1, -1)), (2, (1,))):
        for value in values:
            story.rate("a-0001-x", value, days_ago)
    story.rate("base", -1)
    found = story.numbers()["satisfaction_over_time"]
    told = {(row["adapter"], row["from"]): (row["good"], row["n"]) for row in found}
    day = str(TODAY - timedelta(days=2))
    assert told == {
        ("a-0001-x", str(TODAY)): (2, 3),
        ("a-0001-x", day): (1, 1),
        ("base", str(TODAY)): (0, 1),
    }
    three = next(row for row in found if row["n"] == 3)
    assert three["share"] == pytest.approx(2 / 3)
    assert (three["low"], three["high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_weeks_and_months_are_cut_at_the_period(story: Story) -> None:
    for days_ago in (*range(0, 40, 4), 29):  # 29: the first day, whatever weekday it is
        story.rate("base", 1, days_ago)
    for step in ("week", "month"):
        found = story.numbers(step=step)["satisfaction_over_time"]
        assert sum(row["n"] for row in found) == 9
        assert (found[0]["from"], found[-1]["to"]) == (str(MONTH.first), str(MONTH.last))
        for row in found:
            days = Period(date.fromisoformat(row["from"]), date.fromisoformat(row["to"]))
            assert len(story.behind(period=days, kind="rating")) == row["n"]


def test_comparisons_say_who_won_and_which_place(story: Story) -> None:
    story.compare(("a-0001-x", "a-0002-x"), 1)
    story.compare(("a-0001-x", "a-0001-x"), 0)
    story.compare(("a-0001-x", "a-0001-x"), "both_bad")
    story.compare(("a-0002-x", "base"), "tie")
    found = story.numbers()
    told = {row["adapter"]: row for row in found["comparisons"]}
    names = ("won", "lost", "tie", "both_bad", "n")
    assert [told["a-0001-x"][name] for name in names] == [1, 1, 0, 1, 3]
    assert [told["a-0002-x"][name] for name in names] == [1, 0, 1, 0, 2]
    assert [told["base"][name] for name in names] == [0, 0, 1, 0, 1]
    assert (found["places"]["good"], found["places"]["n"]) == (1, 2)
    assert found["verdicts"] == 4  # although two adapters were in some of them


def test_each_number_has_as_many_rows_behind_it(story: Story) -> None:
    for number in range(12):
        story.rate(f"a-000{number % 3}-x", 1 if number % 4 else -1, number % 5)
        story.compare((f"a-000{number % 2}-x", "base"), number % 2)
    found = story.numbers()
    for row in found["satisfaction"]:
        for outcomes, n in ((("up", "down"), row["n"]), (("up",), row["good"])):
            listed = story.behind(kind="rating", adapter=row["adapter"], outcomes=outcomes)
            assert len(listed) == len(set(listed)) == n
    for row in found["comparisons"]:
        for outcome in ("won", "lost", "tie", "both_bad"):
            given = {"kind": "comparison", "adapter": row["adapter"], "outcomes": (outcome,)}
            assert len(story.behind(**given)) == row[outcome]
    for row in found["volume"]:
        days = Period(date.fromisoformat(row["from"]), date.fromisoformat(row["to"]))
        assert len(story.behind(period=days, kind=row["kind"])) == row["n"]
    assert len(story.behind()) == found["verdicts"] == 24
    with story.database.reading() as session:
        assert len(list_turns(session, MONTH, 100).items) == found["turns"] == 24


def test_verdicts_on_a_reasoning_are_counted_apart(story: Story) -> None:
    user, _, (completion,) = story.turn("a-0001-x")
    with story.database.session() as session:
        record.record_reasoning(
            session,
            completion_id=completion,
            text="Because.",
            token_ids=None,
            logprobs=None,
            finish_reason="stop",
        )
    body = {"kind": "correction", "completion_id": completion, "part": "reasoning", "text": "No."}
    given = story.say(user, body)
    assert story.numbers()["verdicts"] == 1
    assert story.behind(kind="correction", outcomes=("reasoning_corrected",)) == [given]


def test_the_rows_come_in_pages_the_newest_first(story: Story) -> None:
    given = [story.rate("base", 1, days_ago)[2] for days_ago in (2, 2, 1, 0, 0)]
    story.numbers()
    paged, after = [], None
    while page := story.behind(2, after, kind="rating"):
        paged, after = [*paged, *page], page[-1]
    assert paged == [given[4], given[3], given[2], given[1], given[0]]
    with story.database.reading() as session:
        first = list_turns(session, MONTH, 3)
        rest = list_turns(session, MONTH, 3, first.last_id)
        listed = [row["id"] for row in (*first.items, *rest.items)]
        assert first.has_more and not rest.has_more
        assert set(listed) == set(session.scalars(select(Turn.id)))
        with pytest.raises(Invalid, match="after is"):
            list_turns(session, MONTH, 3, "turn_none")
    with pytest.raises(Invalid, match="after is"):
        story.behind(2, "fb_none")
    with pytest.raises(Invalid, match="kind is 'stars'"):
        story.behind(kind="stars")


def test_a_row_says_what_it_is_about(story: Story) -> None:
    user, _, ids = story.turn("a-0001-x")
    id = story.say(user, rating(ids[0], -1, comment="x" * 3000, tags=["wrong_fact"]))
    story.numbers()
    with story.database.reading() as session:
        (row,) = list_behind(session, Filter(MONTH)).items
        assert list_with(session, ["fb_none", id]) == [row]
    assert (row["user"], row["adapters"], row["outcomes"]) == (user.name, ["a-0001-x"], ["down"])
    assert row["question"] == "Q 0" and row["answers"][0]["text"] == "Draft 0."
    assert row["payload"]["tags"] == ["wrong_fact"] and len(row["payload"]["comment"]) == 2000


def test_a_deleted_conversation_counts_and_says_nothing(story: Story) -> None:
    user, _, _ = story.rate("base", 1)
    with story.database.session() as session:
        talk = session.scalar(select(Feedback.conversation_id))
        record.delete_conversation(session, user, str(talk))
    assert satisfied(story.numbers()) == {"base": (1, 1)}
    with story.database.reading() as session:
        (row,) = list_behind(session, Filter(MONTH)).items
        (turn,) = list_turns(session, MONTH).items
    assert (row["deleted"], row["question"], row["answers"], row["payload"]) == (True, None, [], {})
    assert (turn["deleted"], turn["question"]) == (True, None)


def test_what_people_did_is_counted_apart(story: Story) -> None:
    user, _, ids = story.turn("base")
    story.say(user, {"kind": "copied", "completion_id": ids[0]})
    found = story.numbers()
    assert found["verdicts"] == 0
    assert [(row["kind"], row["explicit"], row["n"]) for row in found["volume"]] == [
        ("copied", False, 1)
    ]
    assert len(story.behind(kind="copied", adapter="base")) == 1 and story.behind() == []


def test_only_the_days_that_changed_are_counted_anew(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days_ago in (5, 3, 0):
        story.rate("base", 1, days_ago)
    story.numbers()
    looked: list[str] = []
    count_day = tallies._count
    monkeypatch.setattr(tallies, "_count", lambda s, day: looked.append(day) or count_day(s, day))
    story.numbers()
    assert looked == []
    user, completion, _ = story.rate("base", -1, 3)
    story.numbers()
    assert looked == [str(TODAY - timedelta(days=3))]
    story.say(user, rating(completion, 1))
    story.numbers()
    assert looked[1:] == [str(TODAY - timedelta(days=3)), str(TODAY)]


def test_an_event_that_was_committed_late_is_counted(story: Story) -> None:
    """Its number is lower than that of one which was counted already."""
    late = story.rate("base", 1, 4)[2]
    story.rate("base", 1)
    with story.database.session() as session:  # as it was before the late one was there
        session.execute(update(Tally).values(count=7))
        session.execute(update(TallyMark).values(seq=2, events=1))
    assert satisfied(story.numbers()) == {"base": (2, 2)}
    assert late in story.behind()


def test_the_interval_is_wilsons() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson(10, 10)
    assert (low, high) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_a_period_and_a_step_have_to_make_sense(story: Story) -> None:
    with pytest.raises(Invalid, match="before from"):
        Period(TODAY, TODAY - timedelta(days=1))
    with pytest.raises(Invalid, match="step is 'year'"):
        story.numbers(step="year")


def test_without_a_scheduler_there_is_no_next_run(story: Story) -> None:
    with story.database.reading() as session:
        assert next_run(session) is None
