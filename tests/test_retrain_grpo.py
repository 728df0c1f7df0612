"""Offline GRPO from logged groups of drafts."""

from pathlib import Path

import pytest
import torch
from trainer_jobs import PAIRS, Job, groups, preference
from transformers import AutoModelForCausalLM

from retrain.trainers import _lora, grpo

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def test_grpo_moves_probability_from_bad_drafts_to_good(base: Path, job: Job) -> None:
    made = job(groups(base))
    result = grpo.train(made)
    for pair in PAIRS:
        assert preference(base, made.out, pair) > preference(base, None, pair) + 1
    assert 0 < result["effective_share_last"] < result["effective_share_first"] <= 1


def test_grpo_leaves_out_groups_without_a_difference(base: Path, job: Job) -> None:
    one, two = groups(base)
    alike = {**two, "completions": [{**draft, "reward": 1.0} for draft in two["completions"]]}
    result = grpo.train(job([one, alike]))
    assert (result["rows"], result["no_difference"]) == (1, 1)
    with pytest.raises(ValueError, match="Nothing to learn"):
        grpo.train(job([alike], out="other"))


def test_grpo_leaves_out_groups_whose_sampler_is_far_away(base: Path, job: Job) -> None:
    near, far = groups(base)
    for draft in far["completions"]:
        draft["logprobs"] = [value - 3 for value in draft["logprobs"]]
    alone = grpo.train(job([near]))
    result = grpo.train(job([near, far], out="both"))
    assert (alone["rows"], alone["far_away"]) == (1, 0)
    assert (result["rows"], result["far_away"], result["steps"]) == (1, 1, alone["steps"])
    assert result["distance"] == pytest.approx(alone["distance"])
    assert result["effective_share"] == pytest.approx(alone["effective_share"])
    with pytest.raises(ValueError, match="nats a token .* 1 is too far"):
        grpo.train(job([far], out="far"))
    kept = grpo.train(job([near, far], out="all", settings={"max_distance": 1e6}))
    assert (kept["rows"], kept["far_away"]) == (2, 0)


def test_grpo_scores_at_the_temperature_of_the_log(base: Path, job: Job) -> None:
    """Drafts logged by this very policy at their temperature count in full at the first step."""
    rows = groups(base, temperature=0.5)
    tokenizer = _lora.open_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    for row in rows:
        prompt = _lora.encode_prompt(tokenizer, row["prompt"])
        for draft in row["completions"]:
            ids = draft["token_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + ids])).logits.float()[0, len(prompt) - 1 : -1]
            scores = (logits / 0.5).log_softmax(-1)
            draft["logprobs"] = scores.gather(-1, torch.tensor(ids)[:, None])[:, 0].tolist()
    assert grpo.train(job(rows))["effective_share_first"] == pytest.approx(1.0, abs=1e-3)


def test_advantages_are_standard_scores() -> None:
    assert grpo.advantages([1, 0]) == [1.0, -1.0]
    assert grpo.advantages([2, 1, 0]) == pytest.approx([1.2247, 0, -1.2247], abs=1e-4)
