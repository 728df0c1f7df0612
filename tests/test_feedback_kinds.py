"""The contract of every file in feedback/kinds, and what each of them refuses."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cached_property
from itertools import product
from typing import Any

import pytest
from feedback_databases import BACKENDS, a_conversation, a_turn, a_user, fresh_database, rating

from feedback import reads, record, users
from feedback.database import Database
from feedback.errors import Conflict, Forbidden, Invalid, NotFound
from feedback.kinds import IMPLICIT, VERDICT, Resolved, kinds, load_kind, schema
from feedback.kinds.comparison import NO_WINNER
from feedback.kinds.review import REVIEWERS
from feedback.reasons import REASONS, reasons
from feedback.tables import Completion, Conversation, Feedback, Tally, Turn, User

TARGETS = {
    "rating": "completion_id",
    "comparison": "turn_id",
    "correction": "completion_id",
    "rewrite": "turn_id",
    "review": "feedback_id",
    "copied": "completion_id",
    "regenerated": "completion_id",
    "abandoned": "completion_id",
}
BY_REVIEWERS = ("review",)  # on what is anybody's
OWN = [kind for kind in kinds() if kind not in BY_REVIEWERS]


class Story:
    """One user's turn with three drafts, and a turn with one draft."""

    def __init__(self, database: Database, role: str = "user") -> None:
        self.database, self.user = database, a_user(database, role)
        with database.session() as session:
            self.conversation: Conversation = a_conversation(session, self.user)
            turns = [a_turn(session, self.conversation, drafts) for drafts in (3, 1)]
        self.turn: Turn = turns[0][0]
        self.drafts: list[str] = [draft.id for draft in turns[0][1]]
        self.elsewhere: Completion = turns[1][1][0]
        self.reviewer = a_user(database, "reviewer")
        self.judged: Turn = turns[1][0]

    @cached_property
    def verdict(self) -> Feedback:
        """What there is to review."""
        with self.database.session() as session:
            return record.record_feedback(session, self.user, rating(self.elsewhere, -1))

    def body(self, kind: str) -> dict[str, Any]:
        """A valid body of that kind."""
        if kind == "review":
            return {"kind": "review", "feedback_id": self.verdict.id, "verdict": "keep"}
        return {
            "rating": rating(self.drafts[0]),
            "comparison": {
                "kind": "comparison",
                "turn_id": self.turn.id,
                "shown": self.drafts[:2],
                "chosen": self.drafts[1],
            },
            "correction": {"kind": "correction", "completion_id": self.drafts[0], "text": "No."},
            "rewrite": {
                "kind": "rewrite",
                "turn_id": self.turn.id,
                "value": -1,
                "text": "How long is the lamp covered?",
            },
            **{name: {"kind": name, "completion_id": self.drafts[0]} for name in kinds(IMPLICIT)},
        }[kind]

    def giver(self, kind: str) -> User:
        """Who may give that kind here."""
        return self.reviewer if kind in BY_REVIEWERS else self.user

    def validate(self, kind: str, user: User | None = None, **changed: object) -> Resolved:
        body = {k: v for k, v in (self.body(kind) | changed).items() if v is not MISSING}
        with self.database.reading() as session:
            return load_kind(kind).validate(session, user or self.giver(kind), body)


MISSING = object()


@pytest.fixture(scope="module", params=BACKENDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    yield from fresh_database(request.param)


@pytest.fixture(scope="module")
def story(database: Database) -> Story:
    return Story(database)


def test_the_folder_is_known_to_these_tests() -> None:
    assert [*kinds()] == sorted(TARGETS), "add the new kind to TARGETS and Story.body"


@pytest.mark.parametrize(
    "name", ["", "stars", "__init__", "_behaviour", "../rating", "rating.x", None, 7, []]
)
def test_other_kinds_are_refused(name: object) -> None:
    with pytest.raises(
        Invalid, match="must be one of abandoned, comparison, copied, correction, rating, reg"
    ) as caught:
        load_kind(name)
    assert caught.value.param == "kind"


@pytest.mark.parametrize("kind", kinds())
class TestEveryKind:
    def test_resolves_what_it_is_about(self, story: Story, kind: str) -> None:
        body = story.body(kind)
        resolved = story.validate(kind)
        assert resolved.target_id == body[TARGETS[kind]]
        reviewed = kind in BY_REVIEWERS
        assert resolved.turn_id == (story.judged if reviewed else story.turn).id
        assert resolved.conversation_id == story.conversation.id
        about = story.elsewhere.id if reviewed else body.get("completion_id")
        assert resolved.completion_id == about
        said = {field: body[field] for field in body if field not in ("kind", TARGETS[kind])}
        assert resolved.payload.items() >= said.items()

    def test_is_recorded_and_shown(self, story: Story, kind: str) -> None:
        body = story.body(kind)
        with story.database.session() as session:
            row = record.record_feedback(session, story.giver(kind), body)
        with story.database.reading() as session:
            shown = reads.list_feedback(session, story.giver(kind), kind=kind).items[0]
        assert shown.items() >= (story.body(kind) | {"id": row.id}).items()

    def test_only_verdicts_are_listed_and_learned_from(self, database: Database, kind: str) -> None:
        story = Story(database)
        body = story.body(kind)
        with database.session() as session:
            row = record.record_feedback(session, story.giver(kind), body)
        with database.reading() as session:
            listed = reads.list_feedback(session, story.giver(kind)).items
            learned = {given["feedback_id"] for given in reads.training_rows(session)}
            new = reads.count_new_feedback(session, row.seq - 1)
        is_verdict = kind in kinds(VERDICT)
        assert (row.id in [given["id"] for given in listed]) is is_verdict
        assert (row.id in learned) is is_verdict
        assert new == (kind not in kinds(IMPLICIT))

    def test_the_schema_says_what_is_taken(self, story: Story, kind: str) -> None:
        told = schema(kind)
        body = story.body(kind)
        assert set(told["required"]) <= set(body) <= set(told["properties"])
        assert told["properties"]["kind"] == {"const": kind}
        assert told["additionalProperties"] is False

    def test_what_it_counts_as_has_room_in_the_tallies(self, story: Story, kind: str) -> None:
        payload, length = story.validate(kind).payload, Tally.outcome.type.length
        said = {name: one["enum"] for name, one in load_kind(kind).SCHEMA.items() if "enum" in one}
        chosen = [*payload.get("shown", ()), *NO_WINNER] if kind == "comparison" else None
        said |= {"chosen": chosen} if chosen else {}
        adapters = dict.fromkeys(story.drafts, "base")
        for values in product(*said.values()):
            told = payload | dict(zip(said, values, strict=True))
            for _, outcome in load_kind(kind).outcomes(told, adapters):
                assert len(outcome) <= length, outcome

    def test_refuses_unknown_fields(self, story: Story, kind: str) -> None:
        with pytest.raises(Invalid, match="'stars' is not a field here. The fields are") as caught:
            story.validate(kind, stars=5)
        assert caught.value.param == "stars"

    def test_refuses_missing_fields(self, story: Story, kind: str) -> None:
        optional = {"kind", "part", "tags", "comment"}
        for field in story.body(kind).keys() - optional:
            with pytest.raises(Invalid, match=f"{field} is missing") as caught:
                story.validate(kind, **{field: MISSING})
            assert caught.value.param == field

    @pytest.mark.parametrize(
        "id", ["", "cmpl_none", "' OR 1=1", "\0", "\ud800", 7, None, ["x"], {}]
    )
    def test_does_not_find_unknown_ids(self, story: Story, kind: str, id: object) -> None:
        with pytest.raises(NotFound):
            story.validate(kind, **{TARGETS[kind]: id})

    @pytest.mark.parametrize("role", users.ROLES)
    def test_does_not_find_what_is_another_users(self, story: Story, kind: str, role: str) -> None:
        other = a_user(story.database, role)
        if kind in BY_REVIEWERS:  # on what others said, by those who may
            with nullcontext() if role in REVIEWERS else pytest.raises(Forbidden):
                story.validate(kind, user=other)
            return
        with pytest.raises(NotFound) as caught:
            story.validate(kind, user=other)
        with pytest.raises(NotFound) as unknown:
            story.validate(kind, user=other, **{TARGETS[kind]: "x_none"})
        told = str(caught.value).replace(str(caught.value.id), "ID")
        assert told == str(unknown.value).replace("x_none", "ID")

    def test_does_not_find_what_was_deleted(self, database: Database, kind: str) -> None:
        story = Story(database)
        with database.session() as session:
            record.delete_conversation(session, story.user, story.conversation.id)
        with pytest.raises(NotFound):
            story.validate(kind)


@pytest.mark.parametrize("value", [7, 0, 2, "1", True, False, 1.0, None, [], "up"])
def test_a_rating_is_one_or_minus_one(story: Story, value: object) -> None:
    with pytest.raises(Invalid, match=r"value is .*; a rating is 1 \(up\) or -1") as caught:
        story.validate("rating", value=value)
    assert caught.value.param == "value"


def test_a_rating_of_seven_is_told_so(story: Story) -> None:
    with pytest.raises(Invalid) as caught:
        story.validate("rating", value=7)
    assert str(caught.value) == "value is 7; a rating is 1 (up) or -1 (down)."


@pytest.mark.parametrize(
    "changed",
    [
        {"tags": "wrong"},
        {"tags": [1]},
        {"tags": [""]},
        {"tags": ["x" * 65]},
        {"tags": ["x"] * 21},
        {"tags": {"a": 1}},
        {"comment": 7},
        {"comment": "x" * 20_001},
        {"comment": "a\0b"},
        {"comment": "\ud83d"},
    ],
)
def test_reasons_of_a_rating_are_short_text(story: Story, changed: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        story.validate("rating", **changed)
    assert caught.value.param in changed


def test_reasons_of_a_rating_may_be_left_out_or_null(story: Story) -> None:
    for changed in ({}, {"tags": None, "comment": None}, {"tags": [], "comment": ""}):
        assert story.validate("rating", **changed).payload == {
            "value": 1,
            "tags": [],
            "comment": None,
        }
    full = story.validate("rating", tags=["wrong", "长", "wrong"], comment="x" * 20_000).payload
    assert full == {"value": 1, "tags": ["wrong", "长"], "comment": "x" * 20_000}


@pytest.mark.parametrize("chosen", ["tie", "both_bad"])
def test_a_comparison_may_have_no_winner(story: Story, chosen: str) -> None:
    assert story.validate("comparison", chosen=chosen).payload["chosen"] == chosen


def test_a_comparison_keeps_the_order_shown(story: Story) -> None:
    shown = story.drafts[::-1]
    assert story.validate("comparison", shown=shown).payload["shown"] == shown


@pytest.mark.parametrize("shown", ["one", "twice", "elsewhere", "unknown", "text", "null", "mixed"])
def test_a_comparison_is_of_two_drafts_of_the_turn(story: Story, shown: str) -> None:
    first, second, _ = story.drafts
    wrong: object = {
        "one": [second],
        "twice": [first, second, first],
        "elsewhere": [second, story.elsewhere.id],
        "unknown": [second, "cmpl_none"],
        "text": second,
        "null": None,
        "mixed": [second, 1, ["x"]],
    }[shown]
    with pytest.raises(Invalid) as caught:
        story.validate("comparison", shown=wrong)
    assert caught.value.param == "shown"


@pytest.mark.parametrize("chosen", ["third", "neither", 1, None, [], True])
def test_the_chosen_draft_was_shown(story: Story, chosen: object) -> None:
    with pytest.raises(Invalid) as caught:
        story.validate("comparison", chosen=story.drafts[2] if chosen == "third" else chosen)
    assert caught.value.param == "chosen"


@pytest.mark.parametrize("text", ["", " \n", 7, None, "x" * 100_001, "a\0", "\udfff"])
def test_a_correction_is_text(story: Story, text: object) -> None:
    with pytest.raises(Invalid) as caught:
        story.validate("correction", text=text)
    assert caught.value.param == "text"


def test_a_correction_is_kept_to_the_letter(story: Story) -> None:
    text = "  def f():\n\treturn '€ 😀 שלום'\r\n" + "x" * 90_000
    with story.database.session() as session:
        body = story.body("correction") | {"text": text}
        record.record_feedback(session, story.user, body)
    with story.database.reading() as session:
        assert reads.list_feedback(session, story.user).items[0]["text"] == text


@pytest.mark.parametrize("body", [None, [], "rating", 7, {}, {"value": 1}])
def test_a_body_is_an_object_with_a_kind(story: Story, body: Any) -> None:
    with pytest.raises(Invalid), story.database.session() as session:
        record.record_feedback(session, story.user, body)


def test_a_rewrite_keeps_what_was_meant(story: Story) -> None:
    found = story.validate("rewrite", text="  How long? ")
    assert found.payload == {"value": -1, "text": "How long?"}
    assert (found.target_id, found.completion_id) == (story.turn.id, None)


def test_a_rewrite_that_was_right_needs_no_text(story: Story) -> None:
    assert story.validate("rewrite", value=1, text=MISSING).payload == {"value": 1, "text": None}
    with pytest.raises(Invalid, match="how the question should have been understood"):
        story.validate("rewrite", text=MISSING)


@pytest.mark.parametrize("wrong", [{"value": 7}, {"value": "1"}, {"text": " "}, {"text": 5}])
def test_a_bad_rewrite_is_refused(story: Story, wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        story.validate("rewrite", **wrong)


class TestReasons:
    def test_a_key_goes_with_its_thumb(self, story: Story) -> None:
        for value, known in REASONS.items():
            told = story.validate("rating", value=value, tags=[*known]).payload
            assert told["tags"] == [*known]
            for key in known:
                if key in REASONS[-value]:
                    continue
                with pytest.raises(Invalid, match="goes with no thumb") as caught:
                    story.validate("rating", value=-value, tags=["own words", key])
                assert caught.value.param == "tags"

    def test_every_key_is_one_of_a_kind_and_has_its_labels(self) -> None:
        told = reasons()
        assert len({(reason["key"], reason["value"]) for reason in told}) == len(told)
        assert {reason["value"] for reason in told} == {1, -1}
        assert all(set(reason["labels"]) == {"en", "zh"} for reason in told)
        assert all(all(reason["labels"].values()) for reason in told)


class TestReviews:
    def test_a_user_reviews_nothing(self, story: Story) -> None:
        with pytest.raises(Forbidden, match="`redraft user role .* reviewer` gives it"):
            story.validate("review", user=story.user)

    def test_an_admin_reviews_too(self, story: Story) -> None:
        admin = a_user(story.database, "admin")
        assert story.validate("review", user=admin).target_id == story.verdict.id

    @pytest.mark.parametrize("verdict", ["", "maybe", 1, None, ["keep"]])
    def test_other_verdicts_are_refused(self, story: Story, verdict: object) -> None:
        with pytest.raises(Invalid, match="it is one of keep, fix, drop"):
            story.validate("review", verdict=verdict)

    def test_a_fix_has_a_text_and_nothing_else_has(self, story: Story) -> None:
        told = story.validate("review", verdict="fix", text="Ten days.").payload
        assert (told["verdict"], told["text"]) == ("fix", "Ten days.")
        with pytest.raises(Invalid, match="text is missing"):
            story.validate("review", verdict="fix")
        with pytest.raises(Invalid, match="only fix takes one"):
            story.validate("review", text="Ten days.")

    def test_only_verdicts_are_reviewed(self, story: Story) -> None:
        bodies = [story.body(kind) for kind in ("copied", "review")]
        with story.database.session() as session:
            copied = record.record_feedback(session, story.user, bodies[0])
            review = record.record_feedback(session, story.reviewer, bodies[1])
        for id in (copied.id, review.id):
            with pytest.raises(NotFound):
                story.validate("review", feedback_id=id)

    def test_the_newest_word_of_any_reviewer_goes_with_the_verdict(
        self, database: Database
    ) -> None:
        story, other = Story(database), a_user(database, "admin")

        def review() -> Any:
            with database.reading() as session:
                rows = reads.training_rows(session)
                return next(r["review"] for r in rows if r["feedback_id"] == story.verdict.id)

        body = story.body("review")
        assert review() is None
        with database.session() as session:
            record.record_feedback(session, story.reviewer, body | {"verdict": "drop"})
        assert review() == {"verdict": "drop", "text": None}
        with database.session() as session:
            fix = body | {"verdict": "fix", "text": "Ten days."}
            given = record.record_feedback(session, other, fix)
        assert review() == {"verdict": "fix", "text": "Ten days."}
        with database.session() as session:
            record.withdraw_feedback(session, other, given.id)
        assert review() == {"verdict": "drop", "text": None}


class TestParts:
    @pytest.fixture
    def reasoned(self, database: Database) -> Story:
        """A story whose first draft has its reasoning recorded."""
        story = Story(database)
        with database.session() as session:
            record.record_reasoning(
                session,
                completion_id=story.drafts[0],
                text=" because",
                token_ids=[7],
                logprobs=[-0.5],
                finish_reason="stop",
            )
        return story

    @pytest.mark.parametrize("kind", ["rating", "correction"])
    def test_both_parts_are_in_force_at_once(self, reasoned: Story, kind: str) -> None:
        body = reasoned.body(kind)
        given = []
        with reasoned.database.session() as session:
            for part in ({}, {"part": "reasoning"}, {"part": "conclusion"}, {"part": "reasoning"}):
                given.append(record.record_feedback(session, reasoned.user, body | part).id)
        with reasoned.database.reading() as session:
            listed = reads.list_feedback(session, reasoned.user).items
            (turn, _) = reads.get_conversation(session, reasoned.user, reasoned.conversation.id)[
                "turns"
            ]
        assert [(row["id"], row["part"]) for row in listed] == [
            (given[3], "reasoning"),
            (given[2], "conclusion"),
        ]
        shown = turn["completions"][0]
        assert shown[kind]["id"] == given[2] and shown[f"reasoning_{kind}"]["id"] == given[3]
        with reasoned.database.session() as session:
            record.withdraw_feedback(session, reasoned.user, given[3])
        with reasoned.database.reading() as session:
            left = reads.list_feedback(session, reasoned.user).items
        assert [row["id"] for row in left] == [given[2]]

    @pytest.mark.parametrize("kind", ["rating", "correction"])
    def test_a_reasoning_that_was_never_made_is_refused(self, story: Story, kind: str) -> None:
        with pytest.raises(Conflict, match="No reasoning of the answer cmpl_.* is recorded"):
            story.validate(kind, part="reasoning")
        assert story.validate(kind, part="conclusion").target_id == story.drafts[0]

    @pytest.mark.parametrize("part", ["answer", "", 1, ["reasoning"], True])
    @pytest.mark.parametrize("kind", ["rating", "correction"])
    def test_other_parts_are_refused(self, story: Story, kind: str, part: object) -> None:
        with pytest.raises(Invalid, match="must be conclusion or reasoning") as caught:
            story.validate(kind, part=part)
        assert caught.value.param == "part"

    def test_a_snapshot_has_all_of_the_reasoning(self, reasoned: Story) -> None:
        body = reasoned.body("rating") | {"part": "reasoning"}
        with reasoned.database.session() as session:
            record.record_feedback(session, reasoned.user, body)
        with reasoned.database.reading() as session:
            (row,) = (r for r in reads.training_rows(session) if r["user_id"] == reasoned.user.id)
        assert row["payload"]["part"] == "reasoning"
        assert row["completion_id"] == reasoned.drafts[0]
        assert [c["reasoning"] for c in row["completions"]] == [
            {"text": " because", "token_ids": [7], "logprobs": [-0.5], "finish_reason": "stop"},
            None,
            None,
        ]
