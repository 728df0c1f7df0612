"""What overrides a verdict does so whatever became of the row that says it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from retrain_rows import comparison, correction, draft, of_corpus, rating

from feedback.database import Database
from retrain import curate, datasets, steps
from retrain.evaluate.items import held_out_items
from retrain.manifest import read_rows, start_over, write_rows
from retrain.rows import Row, is_train
from retrain.snapshot import DROPPED, OF_CORPUS, ROWS
from retrain.work import Work
from serve.settings import Settings

WRONG = "Paris is in Spain."
RIGHT = "Paris is in France."
OTHERS = [rating(value, f"text {n}", user_id=f"usr_o{n}") for n, value in enumerate((1, -1))]


@pytest.fixture
def work(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(steps, "fill_queue", lambda *_: None)  # these rows are in no record
    settings = Settings(home=tmp_path, engine="transformers")
    silent = SimpleNamespace(tick=lambda *_: None)
    return Work(settings, database, "r-0001", {}, silent)  # type: ignore[arg-type]


def curated(work: Work, rows: list[Row], corpus: list[Row] = [], **given: Any) -> list[Row]:  # noqa: B006
    """The rows of the file that recipe, gate and report read."""
    work = replace(work, settings=work.settings.model_copy(update=given))
    folder = work.folder / "curate"
    for each in (folder, work.snapshot):
        start_over(each)
    write_rows(work.snapshot / ROWS, rows)
    write_rows(work.snapshot / OF_CORPUS, corpus)
    facts = steps.curated(work, folder)
    kept, gone = read_rows(folder / ROWS), read_rows(folder / DROPPED)
    left = [row["feedback_id"] for row in kept]
    assert (
        facts["rows"]
        == len(kept)
        == len(rows) + len(corpus) - len(gone) - sum(facts["quarantine"].values())
    )
    assert not {one["feedback_id"] for one in gone} & {*left}
    for name in curate.OVERRIDES:
        (report,) = (one for one in facts["steps"] if one["step"] == name)
        count = sum(one["step"] == name for one in gone)
        assert report["rows_in"] - report["rows_out"] == sum(report["dropped"].values()) == count
    return kept


def ids(rows: list[Row]) -> list[str]:
    return [row["feedback_id"] for row in rows]


def taught(name: str, rows: list[Row], column: str = "completion") -> list[str]:
    found = datasets.build(name, [row for row in rows if is_train(row)])
    return [example[column][0]["content"] for example in found]


def test_a_correction_in_quarantine_still_disowns_the_answer(work: Work) -> None:
    answer = draft(WRONG)
    kept = curated(work, [rating(1, answer), correction(RIGHT, answer), *OTHERS])
    assert WRONG not in taught("sft", kept) + taught("kto", kept)
    assert len(kept) == 2, "the correction waits for others who say the same"


def test_a_correction_in_quarantine_still_disowns_the_picked_draft(work: Work) -> None:
    answer = draft(WRONG)
    rows = [comparison(0, answer, "Paris is big."), correction(RIGHT, answer), *OTHERS]
    kept = curated(work, rows)
    assert WRONG not in taught("sft", kept) + taught("preference", kept, "chosen")
    rows[1]["role"] = "reviewer"
    kept = curated(work, rows)
    assert taught("sft", kept)[:1] == [RIGHT]
    assert taught("preference", kept, "chosen") == [WRONG], "still better than the other"


def test_a_correction_in_another_language_still_disowns(work: Work) -> None:
    french = "Paris est la capitale de la France, et la ville la plus grande de ce pays. " * 2
    answer = draft(WRONG)
    rows = [rating(1, answer), correction(french, answer), *OTHERS]
    assert WRONG not in taught("sft", curated(work, rows, languages="en"))


def test_a_correction_beyond_the_cap_still_disowns(work: Work) -> None:
    answer, own = draft(WRONG), {"role": "reviewer"}
    rows = [correction(RIGHT, answer, **own), rating(-1, **own), rating(1, answer, **own)]
    assert ids(curated(work, rows, max_rows_per_user=2)) == ids(rows[1:2])


def test_a_correction_that_no_room_was_left_for_still_disowns(work: Work) -> None:
    answer, own = draft(WRONG), {"role": "reviewer"}
    picks = [comparison(0, answer, "Paris is big.", **own)]
    corrections = [correction(RIGHT, answer, **own)]
    corrections += [correction(f"text {n}", **own) for n in range(9)]
    for most in range(2, 14):
        kept = curated(work, picks + corrections, max_train_rows=most)
        assert WRONG not in taught("sft", kept), most


def test_what_stands_against_an_answer_stays(work: Work) -> None:
    answer = draft(WRONG)
    rows = [rating(-1, answer), correction(RIGHT, answer), rating(1, answer, user_id="usr_2")]
    assert ids(curated(work, [*rows, *OTHERS])) == ids([rows[0], rows[2], *OTHERS])


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_reviewers_word_counts_in_both_splits(work: Work, split: str) -> None:
    praise = [rating(1, WRONG, prompt="q", user_id=f"usr_{n}") for n in range(3)]
    held = [rating(1, WRONG, prompt="q", user_id="usr_3", split="heldout")]
    held += [rating(-1, "Paris.", user_id="usr_4", split="heldout")]
    review = rating(-1, WRONG, prompt="q", user_id="usr_5", role="reviewer", split=split)
    kept = curated(work, [*praise, *held, review])
    assert ids(kept) == ids([held[1], review])
    assert taught("sft", kept) == []
    assert [item for item in held_out_items(kept) if item.good] == []


def test_a_reviewers_word_counts_beyond_the_cap(work: Work) -> None:
    own = {"role": "reviewer", "user_id": "usr_5"}
    praise = [rating(1, WRONG, prompt="q", user_id=f"usr_{n}") for n in range(3)]
    review = [
        rating(-1, WRONG, prompt="q", **own),
        rating(1, "one", **own),
        rating(1, "two", **own),
    ]
    assert taught("sft", curated(work, [*review, *praise], max_rows_per_user=2)) == ["one", "two"]


def test_no_recipe_forgets_what_overrides(work: Work) -> None:
    answer = draft(WRONG)
    work = replace(work, recipe={"curate": ["length"], "stages": [{"trainer": "sft"}]})
    review = rating(-1, "Rome.", prompt="q", user_id="usr_5", role="admin", split="heldout")
    rows = [rating(1, answer), correction(" ", answer), rating(1, "Rome.", prompt="q"), review]
    assert ids(curated(work, rows)) == ids([review])


def test_a_corpus_is_nobodys_to_disown(work: Work) -> None:
    assert (
        len(
            curated(
                replace(work, recipe={"corpus": "shop"}), [*OTHERS], [of_corpus("It is 45 days.")]
            )
        )
        == 3
    )


def test_wrong_picks_are_counted_in_what_is_trained_on_alone(work: Work) -> None:
    picks = [
        comparison(int(user == "usr_1"), "a", "b", prompt="q", user_id=user, split=split)
        for split in ("train", "heldout")
        for user in ("usr_1", "usr_2", "usr_3")
    ]
    for folder in (work.snapshot, work.folder / "curate"):
        start_over(folder)
    write_rows(work.snapshot / ROWS, picks)
    found = steps.curated(work, work.folder / "curate")["label_noise"]["comparison"]
    assert (found["subjects"], found["pairs"], found["disagreeing"]) == (1, 1.5, 1.0)
