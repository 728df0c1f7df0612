"""The trainers of picks and thumbs: DPO, KTO, reward models, and online GRPO with their rewards."""

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from trainer_jobs import PAIRS, THUMBS, Job, log_probs, preference

from retrain.trainers import _lora, kto, reward, rewards

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def test_dpo_prefers_the_chosen(base: Path, job: Job) -> None:
    made = job(PAIRS)
    importlib.import_module("retrain.trainers.dpo").train(made)
    for pair in PAIRS:
        assert preference(base, made.out, pair) > preference(base, None, pair)


def test_dpo_is_told_how_many_pairs_are_wrong(base: Path, job: Job) -> None:
    """At the start, where policy and reference agree, the robust loss is the sigmoid's: log 2."""
    dpo = importlib.import_module("retrain.trainers.dpo")
    losses = {}
    for noise in (0.0, 0.3):
        seen: list[float] = []
        settings = {"label_noise": noise, "sft_weight": 0.0, "beta": 1.0}
        made = job(
            PAIRS,
            out=f"noise-{noise}",
            settings=settings,
            progress=lambda step, total, numbers, part="", seen=seen: (
                part or seen.append(numbers["loss"])
            ),
        )
        dpo.train(made)
        losses[noise] = seen
    assert (
        losses[0.0][0] == pytest.approx(losses[0.3][0], abs=1e-3) == pytest.approx(0.693, abs=1e-3)
    )
    assert losses[0.3][-1] < losses[0.0][-1]  # it pays more for a margin, by 1 / (1 - 2 noise)
    with pytest.raises(ValueError, match="share of wrong pairs"):
        dpo.train(job(PAIRS, out="half", settings={"label_noise": 0.5}))


def test_a_reward_model_scores_what_was_picked_higher(base: Path, job: Job) -> None:
    made = job(PAIRS)
    result = reward.train(made)
    assert result["accuracy_last"] == 1.0
    tokenizer, scorer = _lora.open_tokenizer(base), reward.Scorer(base, made.out)
    for row in PAIRS:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        texts = [prompt + _lora.encode_answer(tokenizer, row[s]) for s in ("chosen", "rejected")]
        good, bad = scorer(texts)
        assert good > bad
        assert scorer(texts[1:]) == [pytest.approx(bad, abs=1e-5)]  # whatever stands beside it


def test_online_grpo_learns_what_its_rewards_ask_for(
    job_for: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that is easily met stands in for the reward model: odd token ids."""
    online = importlib.import_module("retrain.trainers.online_grpo")
    scores: list[float] = []

    def odd(prompts: list[list[int]], completion_ids: list[list[int]], **_: Any) -> list[float]:
        assert len(prompts) == len(completion_ids)
        return [sum(id % 2 for id in ids) / len(ids) for ids in completion_ids]

    monkeypatch.setattr(online, "_by_model", lambda scorer: odd)
    settings = {"epochs": 14, "drafts": 8, "longest": 6, "weight_reward": 9.0, "beta": 0.0}
    made = job_for(
        "online_grpo",
        settings=settings,
        progress=lambda step, total, numbers, part="": scores.append(numbers["rewards/odd/mean"]),
    )
    online.train(made)
    assert sum(scores[:3]) / 3 < 0.6 and sum(scores[-3:]) / 3 > 0.75


@pytest.mark.parametrize(
    ("gpu", "vllm", "method", "drawn"),
    [
        (True, True, "lora", True),
        (True, True, "qlora", False),
        (True, True, "prefix", False),
        (True, False, "lora", False),
        (False, True, "lora", False),
    ],
)
def test_vllm_draws_where_it_is_and_can_take_the_policys_weights(
    gpu: bool, vllm: bool, method: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = importlib.import_module("retrain.trainers.online_grpo")
    monkeypatch.setattr(online.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(online, "is_vllm_available", lambda: vllm)
    asked = online._drawn_by_vllm({**online.DEFAULTS, "method": method}, 7)
    assert asked.get("use_vllm", False) is drawn
    assert set(asked) <= {field.name for field in fields(online.GRPOConfig)}
    assert not drawn or asked["generation_kwargs"] == {"stop_token_ids": [7]}


def test_online_grpo_refuses_to_be_gamed(job: Job, job_for: Job) -> None:
    online = importlib.import_module("retrain.trainers.online_grpo")
    with pytest.raises(ValueError, match='trainer = "reward" before it'):
        online.train(job(PAIRS, settings={"longest": 8}))
    with pytest.raises(ValueError, match="give each a weight above 0"):
        online.train(job_for("online_grpo", settings={"weight_repetition": 0.0}))


@pytest.mark.parametrize(
    ("name", "answer", "score"),
    [
        ("length", {"token_ids": [1] * 10}, 0.0),
        ("length", {"token_ids": [1] * 20}, 0.0),
        ("length", {"token_ids": [1] * 40}, -1.0),
        ("length", {"token_ids": [1] * 4}, -0.322),
        ("length", {"ended": False}, -1.0),
        ("format", {"text": "Fine."}, 0.0),
        ("format", {"text": " "}, -1.0),
        ("format", {"text": "So <|im_start|>user"}, -1.0),
        ("format", {"text": "```python\nprint(1)"}, -0.5),
        ("repetition", {"token_ids": list(range(30))}, 0.0),
        ("repetition", {"token_ids": [1, 2] * 20}, -0.932),
        ("repetition", {"token_ids": [1]}, 0.0),
    ],
)
def test_guard_rewards(name: str, answer: dict[str, Any], score: float) -> None:
    fine = {"text": "Fine.", "token_ids": [1, 2, 3], "ended": True, "usual": 10}
    found = rewards.score(name, rewards.Answer(**{**fine, **answer}))
    assert found == pytest.approx(score, abs=1e-3)


def test_every_guard_reward_is_weighed() -> None:
    online = importlib.import_module("retrain.trainers.online_grpo")
    assert {f"weight_{name}" for name in rewards.names()} < set(online.DEFAULTS)


def test_kto_moves_probability_from_disliked_answers_to_liked(base: Path, job: Job) -> None:
    made = job(THUMBS)
    result = kto.train(made)
    tokenizer = _lora.open_tokenizer(base)
    for row in THUMBS:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        said = _lora.encode_answer(tokenizer, row["completion"])
        gain = sum(log_probs(base, made.out, prompt, said)) - sum(
            log_probs(base, None, prompt, said)
        )
        assert gain > 0.5 if row["label"] else gain < -0.5
    assert (result["weight_up"], result["weight_down"]) == (1.0, 1.0)


@pytest.mark.parametrize(("ups", "downs"), [(1, 1), (4, 3), (9, 2), (2, 9), (100, 1), (1, 1)])
def test_kto_reweights_one_side_into_the_papers_range(ups: int, downs: int) -> None:
    up, down = kto.weights([True] * ups + [False] * downs)
    assert 1 <= up * ups / (down * downs) <= 4 / 3 + 1e-9
    assert min(up, down) == 1.0
    assert (up == 1.0) == (ups >= downs)


def test_kto_refuses_thumbs_of_one_direction_and_batches_of_one(job: Job) -> None:
    with pytest.raises(ValueError, match="all 2 thumbs point down"):
        kto.train(job([{**row, "label": False} for row in THUMBS]))
    with pytest.raises(ValueError, match="batch_size of 2 or more"):
        kto.train(job(THUMBS, settings={"batch_size": 1}))


def test_kto_fills_every_batch_with_both_sides() -> None:
    rows = [{"label": n % 5 == 0} for n in range(25)]
    order = kto.order(rows, count=58, batch=10, seed=7)
    assert len(order) == 60
    for first in range(0, 60, 10):
        assert 1 <= sum(rows[number]["label"] for number in order[first : first + 10]) <= 3
    assert sorted(order[:25]) == sorted(order[25:50]) == list(range(25)) != order[:25]
    assert order[:25] != order[25:50]


def test_kto_mismatches_with_answers_to_other_prompts() -> None:
    rows = [{"prompt_ids": [n // 3], "completion_ids": [n]} for n in range(12)]
    made = kto.mismatched(rows, seed=7)
    others = [row["KL_completion_ids"][0] for row in made]
    assert sorted(others) == list(range(12))
    assert all(other // 3 != row["prompt_ids"][0] for other, row in zip(others, made, strict=True))
    lonely = [{"prompt_ids": [1], "completion_ids": [n]} for n in range(2)]
    assert [row["KL_completion_ids"] for row in kto.mismatched(lonely, seed=7)] == [[1], [0]]


def test_kto_asks_the_reference_about_each_row_once(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rounds there are; and it says what the policy says before its first step."""
    asked = []
    plain = kto.OrderedKTOTrainer.compute_ref_log_probs

    def counted(trainer: Any, model: Any, inputs: Any) -> Any:
        asked.append(len(inputs["label"]))
        return plain(trainer, model, inputs)

    monkeypatch.setattr(kto.OrderedKTOTrainer, "compute_ref_log_probs", counted)
    result = kto.train(job(THUMBS, settings={"batch_size": 2, "min_steps": 4}))
    assert sum(asked) == len(THUMBS) < 2 * result["steps"]
    assert result["loss_first"] == pytest.approx(0.5, abs=1e-4)  # the policy is the reference yet
