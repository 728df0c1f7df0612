"""The contract of every curate step, and the rules of each."""

import copy

import pytest
from retrain_rows import comparison, correction, draft, rating

from retrain import curate
from retrain.rows import Row
from serve.settings import Settings

SETTINGS = Settings(max_rows_per_user=3, languages="en")


FRENCH = "Le délai de remboursement est de quarante-cinq jours à partir de la date de l'achat."


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
    if step in curate.FREEZING:
        assert [row["feedback_id"] for row in found.rows] == [row["feedback_id"] for row in rows]
        changed = sum(one != other for one, other in zip(found.rows, rows, strict=True))
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


def test_the_newest_of_duplicates_stays() -> None:
    up, down = rating(1, "same", prompt="q"), rating(-1, "same", prompt="q")
    elsewhere = rating(1, "same", prompt="another")
    other_user = rating(1, "same", prompt="q", user_id="usr_2")
    found = curate.curate([up, down, elsewhere, other_user], SETTINGS, ["duplicates"])
    assert found.rows == [down, elsewhere, other_user]


def test_the_cap_keeps_the_newest_rows_of_each_user() -> None:
    mine = [correction(str(n)) for n in range(5)]
    held = [correction(str(n), split="heldout") for n in range(2)]
    others = [correction("x", user_id="usr_2")]
    found = curate.curate([*mine, *held, *others], SETTINGS, ["per_user_cap"])
    assert found.rows == [*mine[2:], *held, *others]
    assert found.reports[0].dropped == {"beyond 3 rows of one user": 2}


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
