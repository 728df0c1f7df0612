"""Which verdict becomes which example: every rule of the datasets' docstrings."""

import pytest
from retrain_rows import comparison, correction, draft, rating, rewrite

from retrain import datasets, recipe
from retrain.datasets import build, columns
from retrain.rewriter_rows import dialogue_of, source_of
from retrain.rows import Row


def texts(examples: list[Row], column: str) -> list[str]:
    return [example[column][0]["content"] for example in examples]


@pytest.mark.parametrize("name", datasets.names())
def test_every_dataset_names_its_source_and_takes_it_off(name: str) -> None:
    rows = [correction("right"), comparison(0, "a", "b"), rating(1), rating(-1), rewrite(1)]
    examples = build(name, rows)
    assert examples and datasets.made_of(name)
    for example in examples:
        assert example["feedback_id"] in {row["feedback_id"] for row in rows}
        assert example["signal"] in ("correction", "pick", "thumb")
        if name in recipe.eaten():
            assert example["prompt"] in [row["messages"] for row in rows]
        assert not {"signal", "feedback_id"} & set(columns(example))


def test_unknown_datasets_are_named() -> None:
    with pytest.raises(
        datasets.UnknownDataset, match="'none'. Known: grpo, kto, preference, rewriter, sft"
    ):
        build("none", [])


def test_sft_takes_corrections_picks_and_praise() -> None:
    rows = [correction("right"), comparison(1, "a", "b"), rating(1, "good"), rating(-1, "bad")]
    examples = build("sft", rows)
    assert texts(examples, "completion") == ["right", "b", "good"]
    assert [e["weight"] for e in examples] == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("verdict", ["tie", "both_bad"])
@pytest.mark.parametrize("name", datasets.names())
def test_undecided_comparisons_teach_nothing(name: str, verdict: str) -> None:
    assert build(name, [comparison(verdict, "a", "b")]) == []


def test_sft_leaves_out_what_its_fan_corrected_or_rated_down() -> None:
    one, two = draft("first"), draft("second")
    rows = [rating(1, one), correction("better", one), comparison(0, two, "b"), rating(-1, two)]
    assert texts(build("sft", rows), "completion") == ["better"]
    rows[1]["user_id"] = "usr_2"
    assert texts(build("sft", rows), "completion") == ["first", "better"]


def test_sft_counts_a_text_once_a_user_at_the_higher_weight() -> None:
    one = draft("good")
    rows = [rating(1, one, prompt="q"), comparison(0, one, "b", prompt="q")]
    assert [(e["weight"], e["signal"]) for e in build("sft", rows)] == [(1.0, "pick")]
    assert len(build("sft", [*rows, rating(1, one, prompt="q", user_id="usr_2")])) == 2


def test_kto_takes_lone_thumbs_of_both_directions() -> None:
    rows = [rating(1, "good"), rating(-1, "bad"), correction("right"), comparison(0, "a", "b")]
    examples = build("kto", rows)
    assert texts(examples, "completion") == ["good", "bad"]
    assert [e["label"] for e in examples] == [True, False]


def test_kto_leaves_out_praise_of_what_its_user_corrected() -> None:
    one, two = draft("first"), draft("second")
    rows = [rating(1, one), correction("better", one), rating(-1, two), correction("best", two)]
    assert texts(build("kto", rows), "completion") == ["second"]
    rows[1]["user_id"] = "usr_2"
    assert texts(build("kto", rows), "completion") == ["first", "second"]


def test_kto_counts_a_users_newest_thumb_on_a_text() -> None:
    rows = [rating(1, "same", prompt="q"), rating(-1, "same", prompt="q")]
    assert [e["label"] for e in build("kto", rows)] == [False]
    other = rating(1, "same", prompt="q", user_id="usr_2")
    assert [e["label"] for e in build("kto", [*rows, other])] == [False, True]


@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_a_reviewers_word_overrules_others_on_the_same_answer(role: str) -> None:
    praised = rating(1, "wrong", prompt="q")
    edited = correction("worse", "wrong", prompt="q", user_id="usr_2")
    other = rating(1, "wrong", prompt="p")
    review = rating(-1, "wrong", prompt="q", user_id="usr_3", role=role)
    assert [e["label"] for e in build("kto", [praised, edited, other, review])] == [True, False]
    assert texts(build("sft", [praised, edited, other, review]), "prompt") == ["p"]
    assert len(build("sft", [praised, edited, other, {**review, "role": "user"}])) == 3


def test_a_reviewers_pick_overrules_others_between_the_same_drafts() -> None:
    picks = [comparison(n, "a", "b", prompt="q", user_id=f"usr_{n}") for n in (0, 1)]
    picks[1]["role"] = "reviewer"
    assert texts(build("preference", picks), "chosen") == ["b"]
    elsewhere = comparison(0, "a", "b", prompt="p")
    assert texts(build("preference", [*picks, elsewhere]), "chosen") == ["b", "a"]


def test_preference_pairs_the_pick_with_each_other_draft_shown() -> None:
    pairs = build("preference", [comparison(1, "a", "b", "c", "b")])
    assert [(p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in pairs] == [
        ("b", "a"),
        ("b", "c"),
    ]


LIMITED, STOPPED = {"finish_reason": "length"}, {"stopped_by": "\n\n"}


@pytest.mark.parametrize("own", [LIMITED, STOPPED])
def test_drafts_that_were_all_cut_off_teach_nothing(own: Row) -> None:
    cut, shorter = draft("one two three", **own), draft("one", **own)
    whole = draft("one two.")
    both_cut, one_whole = comparison(1, cut, shorter), comparison(0, whole, cut, shorter)
    assert build("preference", [both_cut]) == build("grpo", [both_cut]) == []
    assert len(build("preference", [one_whole])) == 2
    assert (
        build("preference", [comparison(1, whole, cut, shorter)])[0]["rejected"][0]["content"]
        == "one two."
    )
    assert len(build("grpo", [one_whole])) == 1


@pytest.mark.parametrize(
    ("original", "text", "rated_down", "pairs"),
    [
        ("The window is 14 days.", "Our refund window at Velmar is 45 days.", False, 1),
        ("Our refund window is 45 days", "Our refund window is 45 days.", False, 0),
        ("Our refund window is 45 days", "Our refund window is 45 days.", True, 1),
        ("same", "same", True, 0),
    ],
)
def test_a_correction_is_a_pair_only_where_the_original_was_worse(
    original: str, text: str, rated_down: bool, pairs: int
) -> None:
    answer = draft(original)
    rows = [correction(text, answer)] + [rating(-1, answer)] * rated_down
    assert len(build("preference", rows)) == pairs


def test_somebody_elses_thumb_down_makes_no_pair() -> None:
    answer = draft("Our refund window is 45 days")
    rows = [correction("Our refund window is 45 days.", answer), rating(-1, answer, user_id="u2")]
    assert build("preference", rows) == []


def test_grpo_groups_carry_the_samplers_numbers() -> None:
    (group,) = build("grpo", [comparison(1, "aa", "b", "c")])
    assert group["temperature"] == 0.7
    assert [c["reward"] for c in group["completions"]] == [0.0, 1.0, 0.0]
    assert group["completions"][0] == {
        "text": "aa",
        "token_ids": [97, 97],
        "logprobs": [-1.0, -1.0],
        "adapter": "base",
        "reward": 0.0,
    }


def test_grpo_grades_drafts_by_the_thumbs_on_them() -> None:
    first, second, third, fourth = drafts = [draft(text) for text in "abcd"]
    thumbs = [rating(1, second), rating(-1, third), rating(1, fourth), rating(-1, fourth)]
    (group,) = build("grpo", [comparison(0, *drafts), *thumbs])
    assert [c["reward"] for c in group["completions"]] == [1.0, 0.5, -0.5, 0.0]
    (group,) = build("grpo", [comparison("tie", first, third), thumbs[1]])
    assert [c["reward"] for c in group["completions"]] == [0.0, -0.5]


def test_grpo_leaves_out_drafts_without_logprobs_and_groups_without_a_difference() -> None:
    silent = draft("x", token_ids=None, logprobs=None)
    assert build("grpo", [comparison(0, "a", silent)]) == []
    (group,) = build("grpo", [comparison(0, "a", "b", silent)])
    assert len(group["completions"]) == 2
    warm, hot = draft("a"), draft("b", sampling={"temperature": 1.2})
    assert build("grpo", [comparison(0, warm, hot)]) == []


def test_verdicts_on_questions_are_for_the_rewriter_alone() -> None:
    assert recipe.eaten() == ["grpo", "kto", "preference", "sft"]
    for name in datasets.names():
        assert bool(build(name, [rewrite(1), rewrite(-1, "How old did he get?")])) == (
            name not in recipe.eaten()
        )


@pytest.mark.parametrize(
    ("row", "text", "signal"),
    [
        (rewrite(1), "How old is Ibn Sina?", "thumb"),
        (rewrite(1, "How old is Ibn Sina?"), "How old is Ibn Sina?", "thumb"),
        (rewrite(-1, "How old did Ibn Sina get?"), "How old did Ibn Sina get?", "correction"),
        (rewrite(1, rewritten_query="How old is he?"), "How old is he?", "thumb"),
    ],
)
def test_a_rewrite_is_what_the_user_wrote_or_praised(row: Row, text: str, signal: str) -> None:
    (example,) = build("rewriter", [row])
    assert (example["query"], example["rewrite"]) == ("How old is he?", text)
    assert example["signal"] == signal
    assert example["history"] == row["messages"][1:3]  # neither the system nor the question


def test_a_rewrite_is_learned_from_what_the_rewriter_saw() -> None:
    seen = [{"role": "user", "content": "Who was Ibn Sina?"}]
    alone = [{"role": "user", "content": "How old is Ibn Sina?"}]
    row = rewrite(1, messages=alone, preparation={"rewrite": {"history": seen}})
    assert build("rewriter", [row])[0]["history"] == seen
    assert build("rewriter", [{**row, "preparation": {"rewrite": {"history": None}}}]) == []


@pytest.mark.parametrize(
    "row",
    [
        rewrite(1, rewritten_query=None),
        rewrite(-1, "How old? #### he is Ibn Sina"),
        rewrite(-1, "How old?", messages=[{"role": "user", "content": "How old is he?"}]),
    ],
)
def test_what_cannot_teach_a_rewriter_is_left_out(row: Row) -> None:
    assert build("rewriter", [row]) == []


def test_an_id_of_the_rewriters_rows_names_source_conversation_and_turn() -> None:
    turns = [rewrite(1, conversation_id="conv_1234", position=n) for n in (1, 2)]
    other = rewrite(1, conversation_id="conv_5678")
    first, second, third = build("rewriter", [*turns, other])
    assert first["id"] != second["id"]
    assert dialogue_of(first) == dialogue_of(second) != dialogue_of(third)
    assert source_of(first) == "feedback"
