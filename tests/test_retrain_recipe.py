"""What a run decides to do, and when and in which words it refuses."""

from pathlib import Path
from typing import Any

import pytest
from retrain_rows import comparison, correction, draft, of_corpus, rating

from retrain import datasets, noise, recipe
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


def told(count: int, **own: Any) -> list[Row]:
    return [of_corpus(f"The corpus says {n}.", **own) for n in range(count)]


def thumbs(count: int, value: int, **own: Any) -> list[Row]:
    return [rating(value, f"answer {n}", **own) for n in range(count)]


def decided(rows: list[Row]) -> tuple[recipe.Recipe, str]:
    train = [row for row in rows if is_train(row)]
    found = {name: datasets.build(name, train) for name in recipe.eaten()}
    chosen = recipe.decide(found)
    heldout = count_by_kind(held_out_items(rows))
    return chosen, check_supply(chosen, found, rows, heldout, SETTINGS, {})


def test_a_refusal_names_the_rows_of_one_user_that_others_do_not_match() -> None:
    with pytest.raises(Refusal, match="300 more rows are left out, as one user gave more than all"):
        check_supply(recipe.Recipe((), ()), {}, picks(3), {}, SETTINGS, {}, 300)


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
         + [rating(-1, f"b{n}", split="heldout") for n in range(3)], ["kto"], "rating"),
        (thumbs(19, 1) + thumbs(5, -1) + thumbs(3, 1, split="heldout")
         + [rating(-1, f"b{n}", split="heldout") for n in range(3)], ["sft"], "rating"),
        (corrections(12) + thumbs(9, 1) + thumbs(9, -1) + corrections(5, split="heldout"),
         ["sft"], "correction"),
        (told(16) + told(5, split="heldout"), ["sft"], "corpus"),
        (told(30) + corrections(4) + told(5, split="heldout") + corrections(9, split="heldout"),
         ["sft"], "corpus"),
        (told(12) + picks(9) + told(5, split="heldout"), ["sft", "dpo"], "corpus"),
    ],
)  # fmt: skip
def test_the_feedback_decides(rows: list[Row], trainers: list[str], primary: str) -> None:
    chosen, measure = decided(rows)
    assert [stage.trainer for stage in chosen.stages] == trainers
    assert measure == primary
    assert all(chosen.reasons)


def test_of_a_corpus_there_is_more_to_learn_and_more_to_forget_by() -> None:
    chosen, _ = decided(told(30) + corrections(4) + told(5, split="heldout"))
    (stage,) = chosen.stages
    assert stage.settings == recipe.FROM_CORPUS
    assert chosen.reasons[0] == "SFT on 30 answers of the corpus and 4 corrected or praised answers"
    alone, _ = decided(corrections(30) + corrections(5, split="heldout"))
    assert alone.stages[0].settings == {}


def test_a_corpus_with_too_little_held_out_says_how_to_hold_out_more() -> None:
    message = refused(told(30) + told(3, split="heldout"))
    assert "3 held-out questions of the corpus; the gate needs at least 5" in message
    assert "REDRAFT_HOLDOUT_SHARE=0.3 redraft corpus write" in message


def test_a_file_may_name_a_corpus_and_leave_the_rest_to_it(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('corpus = "shop"')
    assert recipe.read_recipe(file) == {"corpus": "shop"}
    file.write_text('corpus = "shop"\nstages = [{trainer = "sft", epochs = 1.0}]')
    content = recipe.read_recipe(file)
    assert recipe.parse(content).stages == (Stage("sft", "sft", None, {"epochs": 1.0}),)


def test_dpo_allows_for_the_picks_that_are_wrong() -> None:
    found = {name: datasets.build(name, picks(16)) for name in recipe.eaten()}
    (stage,) = recipe.decide(found, label_noise=0.12).stages
    assert (stage.trainer, stage.settings) == ("dpo", {"label_noise": 0.12})
    assert "robust against 12% of wrong picks" in recipe.decide(found, 0.12).reasons[0]
    assert recipe.decide(found).stages[0].settings == {}


@pytest.mark.parametrize(
    ("subjects", "pairs", "rate", "used"),
    [(19, 19, 0.2, 0), (20, 20, 0.2, 0.2), (9, 50, 0.2, 0), (10, 50, 0.5, 0.25), (0, 0, None, 0)],
)
def test_label_noise_is_used_once_enough_people_compared_the_same(
    subjects: int, pairs: int, rate: float | None, used: float
) -> None:
    found = {"subjects": subjects, "pairs": pairs, "rate": rate}
    assert noise.to_train_with({"comparison": found, "rating": {}}) == used


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


def test_a_method_is_one_for_all_stages() -> None:
    stages = [{"trainer": "reward"}, {"trainer": "sft"}, {"trainer": "dpo", "beta": 0.2}]
    chosen = recipe.parse({"stages": stages, "method": "prefix", "start": "base"})
    assert [dict(stage.settings) for stage in chosen.stages] == [
        {},
        {"method": "prefix"},
        {"beta": 0.2, "method": "prefix"},
    ]
    assert (chosen.method, chosen.start) == ("prefix", "base")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages = 1", "no stages"),
        ("", "no stages"),
        (
            'stages = [{trainer = "magic"}]',
            "trainer 'magic'. Known: dpo, grpo, kto, online_grpo, reward, sft",
        ),
        ('stages = [{trainer = "sft", dataset = "x"}]', "dataset 'x'. Known: grpo, kto, pref"),
        (
            'stages = [{trainer = "sft", dataset = "rewriter"}]',
            "Known: grpo, kto, preference, sft.",
        ),
        ('stages = [{trainer = "sft"}]\ncurate = ["x"]', "curate step 'x'"),
        ('stages = [{trainer = "sft"}]\nstage = 1', "entry 'stage'. Known: stages, curate"),
        (
            'stages = [{trainer = "sft"}]\nmethod = "ia3"',
            "method 'ia3'. Known: lora, prefix, prompt",
        ),
        ('stages = [{trainer = "sft"}]\nstart = "x"', "start 'x'. Known: champion, base"),
        ('stages = [{trainer = "sft", method = "qlora"}]', "one for all: method = "),
        ("stages =", "not valid TOML"),
        ("corpus = 3", 'names no folder of a corpus. Write: corpus = "shop"'),
        ('corpus = "shop"\nmethod = "prefix"', "no stages"),
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
