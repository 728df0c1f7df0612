"""SFT: what a row counts, what is replayed, and which tokens are learned."""

import importlib
from pathlib import Path

import pytest
import torch
from trainer_jobs import SFT, Job, Row, assistant, log_probs, user
from transformers import AutoModelForCausalLM

from retrain.trainers import _head, _lora, _replay

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def test_sft_row_of_weight_zero_teaches_nothing(base: Path, job: Job) -> None:
    """The other row is learned, to the end of its answer."""
    sft = importlib.import_module("retrain.trainers.sft")
    made = job([{**SFT[0], "weight": 0.0}, SFT[1]], settings={"epochs": 16})
    sft.train(made)
    tokenizer = _lora.open_tokenizer(base)

    def gain(row: Row) -> float:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        answer = _lora.encode_answer(tokenizer, row["completion"])
        return sum(log_probs(base, made.out, prompt, answer)) - sum(
            log_probs(base, None, prompt, answer)
        )

    assert gain(SFT[1]) > gain(SFT[0]) + 5


def test_sft_replays_the_models_own_answers(base: Path, job: Job) -> None:
    """Training moves the answers to other questions less when some are replayed."""
    sft = importlib.import_module("retrain.trainers.sft")
    tokenizer = _lora.open_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    own = [
        (o.prompt, o.answer) for o in _replay.own_answers(model, tokenizer, _replay.QUESTIONS[:2])
    ]
    forgotten = []
    for replay in (0, 2):
        made = job(SFT, out=f"replay-{replay}", settings={"replay": replay, "epochs": 12})
        assert sft.train(made)["replayed"] == replay
        forgotten.append(
            sum(
                sum(log_probs(base, None, *pair)) - sum(log_probs(base, made.out, *pair))
                for pair in own
            )
        )
    assert forgotten[1] < forgotten[0] / 2


def test_replayed_answers_are_the_greedy_ones_with_what_else_was_likely(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    for said in _replay.own_answers(model, tokenizer, _replay.QUESTIONS[:3]):
        with torch.no_grad():
            first = model(torch.tensor([said.prompt])).logits[0, -1].float()
        assert said.answer[0] == first.argmax() and len(said.answer) <= _replay.LONGEST
        assert said.ids.shape == said.mass.shape == (len(said.answer), _replay.LIKELIEST)
        torch.testing.assert_close(said.mass.sum(1), torch.ones(len(said.answer)))
        likely = first[said.ids[0]].softmax(-1)
        torch.testing.assert_close(said.mass[0], likely, atol=0.02, rtol=0.05)


def test_rows_go_towards_their_own_tokens_or_the_likely_ones() -> None:
    ignored = _head.IGNORED
    targets = torch.tensor([[ignored, 5, 6], [ignored, ignored, 7]])
    likely = torch.tensor([[7, 3]]), torch.tensor([[0.75, 0.25]])
    ids, mass = _replay.towards(targets, [None, _replay.OwnAnswer([1], [7], *likely)])
    assert ids.tolist() == [[5, 0], [6, 0], [7, 3]]
    assert mass.tolist() == [[1, 0], [1, 0], [0.75, 0.25]]
    ids, mass = _replay.towards(targets, [None, None])
    assert (ids.tolist(), mass.tolist()) == ([[5], [6], [7]], [[1], [1], [1]])


def test_prompt_tokens_are_those_of_serving(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    ids = _lora.encode_prompt(tokenizer, user("hi")) + _lora.encode_answer(
        tokenizer, assistant("yo")
    )
    assert (
        tokenizer.decode(ids)
        == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>"
    )


def test_cut_off_answer_gets_no_end_of_turn(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    whole = _lora.encode_answer(tokenizer, assistant("yo"))
    cut = [{**assistant("yo")[0], "finish_reason": "length"}]
    assert [*_lora.encode_answer(tokenizer, cut), tokenizer.eos_token_id] == whole


def test_a_prompt_that_ends_in_an_answer_is_gone_on_with(base: Path) -> None:
    tokenizer = _lora.open_tokenizer(base)
    begun = {**assistant("42 ####")[0], "finish_reason": "delimiter"}
    ids = _lora.encode_prompt(tokenizer, [*user("hi"), begun])
    assert tokenizer.decode(ids) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n42 ####"
    )
    logged = {**begun, "token_ids": [7, 8, 9]}
    prompt = _lora.encode_prompt(tokenizer, user("hi"))
    assert _lora.encode_prompt(tokenizer, [*user("hi"), logged]) == [*prompt, 7, 8, 9]
    assert _lora.encode_answer(tokenizer, [logged]) == [7, 8, 9]


def test_a_reasoning_is_learned_behind_its_conclusion(base: Path, job: Job) -> None:
    """Of two reasonings of one question, each belongs to the conclusion that it was taught with."""
    rows = []
    for conclusion, reasoning in (("1 ####", " one"), ("2 ####", " two")):
        begun = {**assistant(conclusion)[0], "finish_reason": "delimiter"}
        rows.append({"prompt": [*user("n?"), begun], "completion": assistant(reasoning)})
    made = job(rows, settings={"epochs": 40})
    importlib.import_module("retrain.trainers.sft").train(made)
    tokenizer = _lora.open_tokenizer(base)
    for row, other in (rows, rows[::-1]):
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        own, swapped = (
            sum(log_probs(base, made.out, prompt, _lora.encode_answer(tokenizer, r["completion"])))
            for r in (row, other)
        )
        assert own > swapped
