"""What a run decides to do, and when and in which words it refuses."""

from pathlib import Path
from typing import Any

import pytest
from retrain_rows import comparison, correction, draft, rating

from retrain import datasets, recipe
from retrain.evaluate.items import count_by_kind, held_out_items
from retrain.recipe import RecipeError, Stage
from retrain.refusal import Refusal, check_supply
from retrain.rows import Row, is_train
from serve.settings import Settings

SETTINGS = Settings(min_rows=16, min_heldout=5, holdout_share=0.2)


def corrections(count: int, **own: Any) -> list[Row]:
    return [correction(f"right {n}", **own) for n in range(count)]


def picks(count: int, **own: Any) -> list[Row]:
    return [comparison(0, f"good {n}", f"bad {n}", **own) for n in range(count)]


def thumbs(count: int, value: int, **own: Any) -> list[Row]:
    return [rating(value, f"answer {n}", **own) for n in range(count)]


def decided(rows: list[Row]) -> tuple[recipe.Recipe, str]:
    train = [row for row in rows if is_train(row)]
    found = {name: datasets.build(name, train) for name in recipe.eaten()}
    chosen = recipe.decide(found)
    heldout = count_by_kind(held_out_items(rows))
    return chosen, check_supply(chosen, found, rows, heldout, SETTINGS, {})


def refused(rows: list[Row]) -> str:
    with pytest.raises(Refusal) as caught:
        decided(rows)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "trainers", "primary"),
    [
        (corrections(16) + corrections(5, split="heldout"), ["sft"], "correction"),
        (picks(16) + picks(5, split="heldout"), ["dpo"], "comparison"),
        (corrections(12) + picks(9) + picks(5, split="heldout"), ["sft", "dpo"], "comparison"),
        (corrections(3) + picks(14) + picks(5, split="heldout"), ["dpo"], "comparison"),
        (thumbs(16, 1) + thumbs(9, -1) + thumbs(3, 1, split="heldout")
         + [rating(-1, f"b{n}", split="heldout") for n in range(3)], ["sft"], "rating"),
    ],
)  # fmt: skip
def test_the_feedback_decides(rows: list[Row], trainers: list[str], primary: str) -> None:
    chosen, measure = decided(rows)
    assert [stage.trainer for stage in chosen.stages] == trainers
    assert measure == primary
    assert all(chosen.reasons)


def test_nothing_is_refused_in_so_many_words() -> None:
    assert "No feedback to learn from yet (none). At least 16 training rows" in refused([])


def test_too_little_says_how_much_is_missing() -> None:
    message = refused(corrections(10) + thumbs(1, -1) + corrections(2, split="heldout"))
    assert "10 usable training rows (of 10 corrections, 1 thumbs)" in message
    assert "at least 16 are needed, 6 more" in message
    assert "2 held-out corrections; the gate needs at least 5" in message
    assert "about 15 more corrections" in message


def test_comparisons_of_torsos_are_named_where_they_are_what_is_missing() -> None:
    torsos = [draft(text, finish_reason="length") for text in ("one two", "one")]
    message = refused(picks(10) + [comparison(1, *torsos) for _ in range(8)])
    assert "10 usable training rows (of 18 decided comparisons)" in message
    assert "8 comparisons are of answers that were all cut off: raise max_tokens" in message
    assert "cut off" not in refused(picks(10))


def test_too_little_held_out_refuses_alone() -> None:
    message = refused(corrections(30) + corrections(4, split="heldout"))
    assert message.startswith("Too little to judge by: 4 held-out corrections")


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        (thumbs(40, 1), "all 40 ratings are thumbs up, so nothing shows what to do better"),
        (thumbs(40, -1), "all 40 ratings are thumbs down, so nothing shows what a good answer is"),
        ([comparison("tie", "a", "b")] * 20, "all 20 comparisons are ties or both bad"),
    ],
)
def test_one_sided_feedback_is_refused(rows: list[Row], missing: str) -> None:
    message = refused(rows + [{**row, "split": "heldout"} for row in rows])
    assert f"The feedback is one-sided: {missing}" in message
    assert "Missing: " in message


def test_held_out_rows_are_no_training_rows() -> None:
    message = refused(corrections(40, split="heldout"))
    assert "only 40 held-out rows" in message


def test_a_file_overrides(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(
        'stages = [{trainer = "sft"}, {trainer = "dpo", beta = 0.2, signals = ["pick"]}]'
    )
    chosen = recipe.parse(recipe.read_recipe(file))
    assert chosen.stages == (
        Stage("sft", "sft"),
        Stage("dpo", "preference", ("pick",), {"beta": 0.2}),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages = 1", "no stages"),
        ("", "no stages"),
        ('stages = [{trainer = "magic"}]', "trainer 'magic'. Known: dpo, grpo, sft"),
        ('stages = [{trainer = "sft", dataset = "x"}]', "dataset 'x'. Known: grpo, pref"),
        ('stages = [{trainer = "sft", dataset = "rewriter"}]', "Known: grpo, preference, sft."),
        ('stages = [{trainer = "sft"}]\ncurate = ["x"]', "curate step 'x'"),
        ('stages = [{trainer = "sft"}]\nstage = 1', "entry 'stage'. Known: stages, curate"),
        ("stages =", "not valid TOML"),
    ],
)
def test_a_broken_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipe.read_recipe(file)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        recipe.read_recipe(tmp_path / "none.toml")
