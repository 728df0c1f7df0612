"""The contract of every curate step, and the rules of each."""

import copy
from collections import Counter

import pytest
from retrain_rows import comparison, correction, draft, rating

from retrain import curate, datasets
from retrain.curate import per_user_cap
from retrain.rows import Row
from serve.settings import Settings

SETTINGS = Settings(max_rows_per_user=3, languages="en")


FRENCH = "Le délai de remboursement est de quarante-cinq jours à partir de la date de l'achat."


def reviewed(row: Row, verdict: str, text: str | None = None) -> Row:
    return {**row, "review": {"verdict": verdict, "text": text}}


def everything() -> list[Row]:
    rows = []
    for split in ("train", "heldout"):
        for user in ("usr_1", "usr_2"):
            same = {"split": split, "user_id": user, "prompt": "q"}
            rows += [correction("right", **same) for _ in range(2)]
            rows += [comparison("tie", "a", "b", **same), comparison(0, "a", "b", **same)]
            rows += [rating(1, draft("x", adapter=""), **same), rating(-1, **same)]
            rows += [rating(1, **same), correction(f"from {user}", **same)]
            rows += [rating(1, "Buy.", **same | {"prompt": 'Say "buy"!'})]
        rows += [correction(" \u200b", split=split), correction(FRENCH, split=split)]
        rows += [rating(1, prompt="I am ada@example.org, cafe\u0301.", split=split)]
        rows += [reviewed(rating(1, split=split), "drop")]
        rows += [reviewed(rating(-1, split=split), "fix", "As a reviewer wrote it.")]
        answer = draft("Half right.")
        rows += [rating(1, answer, split=split), correction("All right.", answer, split=split)]
        rows += [rating(-1, "x", prompt="q", user_id="usr_3", role="reviewer", split=split)]
        moment = {"created_at": "2026-01-01T00:00:00.000000Z", "user_id": "usr_1"}
        rows += [rating(1, f"text {n}", split=split, **moment) for n in range(30)]
    return rows


@pytest.mark.parametrize("step", curate.names())
def test_a_step_takes_rows_out_or_changes_texts_and_counts_them(step: str) -> None:
    rows = everything()
    before = copy.deepcopy(rows)
    found = curate.curate(rows, SETTINGS, [step])
    (report,) = found.reports
    assert rows == before
    known = [{"step": step, "feedback_id": row["feedback_id"]} for row in rows]
    assert [one for one in known if one in found.dropped] == found.dropped
    assert len(found.dropped) == sum(report.dropped.values())
    if step in curate.FREEZING:
        before_it = {row["feedback_id"]: row for row in rows}
        order = [row["feedback_id"] for row in found.rows]
        assert order == [id for id in before_it if id in set(order)]
        assert len(rows) - len(order) == sum(report.dropped.values())
        changed = sum(row != before_it[row["feedback_id"]] for row in found.rows)
        assert changed == sum(report.changed.values()) > 0
        return
    assert found.rows == [row for row in rows if row in found.rows], "in order, unchanged"
    assert (report.rows_in, report.rows_out) == (len(rows), len(found.rows))
    assert sum(report.held.values()) == len(found.quarantine)
    gone = sum(report.dropped.values()) + len(found.quarantine)
    assert gone == len(rows) - len(found.rows)
    assert 0 < len(found.rows) < len(rows)
    assert all(one["step"] == step and one["row"] in rows for one in found.quarantine)


@pytest.mark.parametrize("step", curate.names())
def test_train_and_held_out_rows_are_judged_apart(step: str) -> None:
    rows = everything()
    together = curate.curate(rows, SETTINGS, [step]).rows
    for split in ("train", "heldout"):
        alone = curate.curate([r for r in rows if r["split"] == split], SETTINGS, [step]).rows
        assert [r for r in together if r["split"] == split] == alone


@pytest.mark.parametrize("lack", [{"adapter": ""}, {"prompt_hash": ""}, {"engine": "echo"}])
def test_unattributable_answers_teach_nothing(lack: dict[str, str]) -> None:
    bad = draft("b", **lack)
    rows = [rating(1, bad), correction("c", bad), comparison(0, "a", bad), rating(1)]
    assert curate.curate(rows, SETTINGS, ["attributable"]).rows == rows[3:]


def test_a_verdict_on_a_question_is_no_lesson_in_answering() -> None:
    about_a_question = {**rating(-1), "kind": "rewrite", "payload": {"value": -1, "text": "How?"}}
    found = curate.curate([about_a_question, rating(1)], SETTINGS, ["attributable"])
    assert [row["kind"] for row in found.rows] == ["rating"]
    assert found.reports[0].dropped == {"about a question, not an answer": 1}


class TestReviews:
    def test_a_dropped_row_teaches_nothing(self) -> None:
        found = curate.curate([reviewed(rating(1), "drop"), rating(1)], SETTINGS, curate.FREEZING)
        assert len(found.rows) == 1
        assert found.reports[0].dropped == {"dropped by a reviewer": 1}

    def test_a_fixed_correction_has_the_reviewers_text(self) -> None:
        (row,) = frozen(reviewed(correction("Teh lamp."), "fix", "The lamp."))
        assert (row["kind"], row["payload"]["text"]) == ("correction", "The lamp.")
        assert "The lamp." not in str(row["review"]), "no copy that nothing masks"

    def test_a_fixed_thumb_and_a_fixed_pick_are_corrections(self) -> None:
        thumb, pick = rating(1, "Bad."), comparison(1, "a", "b")
        drawn = comparison("tie", "a", "b")
        rows = frozen(*(reviewed(row, "fix", "Good.") for row in (thumb, pick, drawn)))
        assert {row["kind"] for row in rows} == {"correction"}
        assert [row["completion_id"] for row in rows] == [
            thumb["completion_id"],
            pick["payload"]["chosen"],
            drawn["payload"]["shown"][0],
        ]
        assert [e["chosen"][0]["content"] for e in datasets.build("preference", rows)] == (
            ["Good."] * 3
        )

    def test_a_fix_without_its_text_teaches_nothing(self) -> None:
        assert frozen(reviewed(correction("x"), "fix", None)) == []

    def test_a_fix_is_masked_like_the_users_own_words(self) -> None:
        fix = "Write to bob@example.org."
        (row,) = frozen(reviewed(correction("x", role="user"), "fix", fix))
        assert row["payload"]["text"] == fix, "what a reviewer wrote is public"
        kept = reviewed(correction(fix, role="user"), "keep")
        assert "[EMAIL]" in frozen(kept)[0]["payload"]["text"], "what one let through is not"

    @pytest.mark.parametrize("verdict", ["keep", "fix"])
    def test_what_a_reviewer_let_through_leaves_quarantine(self, verdict: str) -> None:
        alone = [correction(f"{n} days.", user_id="usr_1") for n in range(3)]
        assert len(curate.curate(alone, SETTINGS).quarantine) == 3
        text = "Nine days." if verdict == "fix" else None
        (row,) = frozen(reviewed(alone[0], verdict, text))
        found = curate.curate([row, *alone[1:]], SETTINGS)
        assert [kept["feedback_id"] for kept in found.rows] == [row["feedback_id"]]
        assert len(found.quarantine) == 2

    def test_what_was_let_through_backs_what_others_say(self) -> None:
        question = {"prompt": "How long is the refund window of the lamp?"}
        mine = correction("The refund window is 45 days.", user_id="usr_1", **question)
        others = correction("45 days.", user_id="usr_2", **question)
        strict = SETTINGS.model_copy(update={"min_users": 3})
        found = curate.curate([mine, others, rating(1, user_id="usr_3")], strict, ["min_users"])
        assert len(found.quarantine) == 2
        rows = [reviewed(mine, "keep"), others, rating(1, user_id="usr_3")]
        assert curate.curate(rows, strict, ["min_users"]).rows == rows


def frozen(*rows: Row) -> list[Row]:
    return curate.curate(rows, SETTINGS, curate.FREEZING).rows


def test_the_newest_of_duplicates_stays() -> None:
    up, down = rating(1, "same", prompt="q"), rating(-1, "same", prompt="q")
    elsewhere = rating(1, "same", prompt="another")
    other_user = rating(1, "same", prompt="q", user_id="usr_2")
    found = curate.curate([up, down, elsewhere, other_user], SETTINGS, ["duplicates"])
    assert found.rows == [down, elsewhere, other_user]


LONG = "Where in the town hall of Trondheim do I get a new passport for my younger {}?"
TOLD = "You get it at the desk on the second floor, from Monday to Friday, {} noon."


def said(who: str = "son", when: str = "before", end: str = "", **own: str) -> Row:
    return correction(TOLD.format(when) + end, prompt=LONG.format(who), **own)


@pytest.mark.parametrize(
    ("other", "duplicate"),
    [
        (said(end=" Really!"), True),
        (said(when="well before"), True),
        (said(end=" It costs 45 euros and takes 3 weeks."), False),
        (said("son at 7"), False),
        (said(user_id="usr_2"), False),
        (said(split="heldout"), False),
        (rating(1, TOLD, prompt=LONG.format("son")), False),
    ],
)
def test_nearly_the_same_of_one_user_is_said_once(other: Row, duplicate: bool) -> None:
    first = said()
    found = curate.curate([first, other], SETTINGS, ["near_duplicates"])
    assert found.rows == ([other] if duplicate else [first, other]), "the newest stays"


def test_opposite_verdicts_are_no_near_duplicates() -> None:
    one, other = TOLD.format("before"), TOLD.format("before") + " Really!"
    rows = [rating(1, one, prompt="q"), rating(-1, other, prompt="q")]
    rows += [comparison(0, one, "No.", prompt="q"), comparison(1, other, "No.", prompt="q")]
    rows += [comparison("tie", one, "No.", prompt="q"), comparison("both_bad", other, "No.")]
    assert curate.curate(rows, SETTINGS, ["near_duplicates"]).rows == rows


def test_the_cap_keeps_the_newest_rows_of_each_user() -> None:
    mine = [correction(str(n), role="admin") for n in range(5)]
    held = [correction(str(n), split="heldout", role="admin") for n in range(2)]
    others = [correction("x", user_id="usr_2")]
    found = curate.curate([*mine, *held, *others], SETTINGS, ["per_user_cap"])
    assert found.rows == [*mine[2:], *held, *others]
    assert found.reports[0].dropped == {"beyond 3 rows of one user": 2}


class TestShares:
    def kept(self, min_users: int = 2, split: str = "train", **given: int) -> dict[str, int]:
        """How many rows of each user stay, of so many in the split."""
        rows = [rating(1, split=split, user_id=user) for user, n in given.items() for _ in range(n)]
        settings = Settings(min_users=min_users)
        found = curate.curate(rows, settings, ["per_user_cap"]).rows
        return Counter(row["user_id"] for row in found)

    @pytest.mark.parametrize("split", ["train", "heldout"])
    def test_nobody_has_more_rows_than_all_others_together(self, split: str) -> None:
        assert self.kept(split=split, ada=60, ben=10) == {"ada": 10, "ben": 10}
        assert self.kept(split=split, ada=60, ben=10, chi=9) == {"ada": 19, "ben": 10, "chi": 9}
        assert self.kept(split=split, ada=20, ben=20, chi=20) == {"ada": 20, "ben": 20, "chi": 20}

    def test_a_lone_voter_has_one_row(self) -> None:
        assert self.kept(ada=60) == {"ada": 1}

    def test_more_people_are_asked_for_where_more_are_to_teach_the_same(self) -> None:
        assert self.kept(3, ada=60, ben=10, chi=10) == {"ada": 10, "ben": 10, "chi": 10}
        assert self.kept(1, ada=60, ben=10) == {"ada": 60, "ben": 10}

    def test_the_newest_of_a_user_stay(self) -> None:
        mine = [rating(1, user_id="usr_m") for _ in range(5)]
        others = [rating(1), rating(1)]
        found = curate.curate([*mine, *others], Settings(), ["per_user_cap"])
        assert found.rows == [*mine[3:], *others]
        assert found.reports[0].dropped == {per_user_cap.SHARE: 3}

    def test_a_reviewers_word_has_no_share(self) -> None:
        own = [rating(1, role="reviewer") for _ in range(5)]
        kept = [reviewed(rating(1, user_id="usr_m"), "keep") for _ in range(9)]
        plain = [rating(1, user_id="usr_m") for _ in range(9)]
        rows = [*own, *kept, *plain]
        assert curate.curate(rows, Settings(), ["per_user_cap"]).rows == [*own, *kept, *plain[4:]]


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(curate.UnknownStep, match="no curate step 'magic'. Known: attributable"):
        curate.curate([], SETTINGS, ["magic"])


def test_an_answer_around_tools_teaches_nothing() -> None:
    offered = {**rating(1), "preparation": {"tools": [{"type": "function"}]}}
    told = rating(1)
    told["messages"] = [*told["messages"], {"role": "tool", "content": "12:00"}]
    found = curate.curate([offered, told, rating(1)], SETTINGS, ["attributable"])
    assert len(found.rows) == 1
    assert found.reports[0].dropped == {"around tools, which no dataset here knows": 2}
