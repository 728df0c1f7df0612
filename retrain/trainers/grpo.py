"""Offline GRPO: learns from logged drafts and their verdicts, without drawing new ones.

A draft's advantage is its reward against its group's, (r - mean) / std. The drafts were drawn by an
older adapter, so a bad draft counts by clip(policy / sampler, low, high) per token, from the logged
log-probabilities, and a good one in full (TOPR, arXiv 2503.14286, with the ratio per token: a whole
draft's ratio vanishes after a few steps). The ratio carries no gradient.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments
from trl.trainer.utils import pad

from retrain.job import TrainJob
from retrain.trainers import _head, _lora

DEFAULTS: dict[str, Any] = {**_lora.LORA, "ratio_low": 0.0, "ratio_high": 1.0}


def train(job: TrainJob) -> dict[str, Any]:
    """Train an adapter on groups of logged drafts, `{prompt, temperature, completions}`.

    Token ids are trained as logged. Groups whose drafts all have one reward teach nothing and are
    left out. Raises ValueError when no group is left.
    """
    settings = _lora.settings_of(job, DEFAULTS)
    _lora.quiet()
    tokenizer = _lora.open_tokenizer(job.model)
    groups = [_encode(tokenizer, row) for row in job.rows if _differ(row["completions"])]
    if not groups:
        raise ValueError(
            f"Nothing to learn from {len(job.rows)} groups of drafts: in each, all drafts have the "
            "same reward. Collect verdicts that prefer one draft over another."
        )
    kept = _lora.short_enough(groups, settings["max_length"], _length)

    def build(scratch: str) -> Trainer:
        model = _lora.open_model(job, settings)
        _head.score_completions_only(model)
        return LoggedDraftsTrainer(
            model=model,
            args=_lora.arguments(TrainingArguments, scratch, job, settings),
            train_dataset=Dataset.from_list(kept),
            data_collator=_Collate(tokenizer.pad_token_id),
            ratios=(settings["ratio_low"], settings["ratio_high"]),
        )

    result = _lora.run(job, build, reported=("loss", "effective_share"))
    return {
        "rows": len(kept),
        "no_difference": len(job.rows) - len(groups),
        "too_long": len(groups) - len(kept),
        **result,
    }


def _differ(drafts: Sequence[Mapping[str, Any]]) -> bool:
    return len({draft["reward"] for draft in drafts}) > 1


def _encode(tokenizer: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    drafts = row["completions"]
    return {
        "prompt_ids": _lora.encode_prompt(tokenizer, row["prompt"]),
        "temperature": float(row["temperature"]) or 1.0,  # greedy drafts are logged unscaled
        "token_ids": [list(draft["token_ids"]) for draft in drafts],
        "logprobs": [list(draft["logprobs"]) for draft in drafts],
        "advantages": advantages([draft["reward"] for draft in drafts]),
    }


def advantages(rewards: Sequence[float]) -> list[float]:
    """Each reward's distance from the group's mean in standard deviations (DeepSeekMath, eq. 3)."""
    mean, deviation = statistics.fmean(rewards), statistics.pstdev(rewards)
    return [(reward - mean) / deviation for reward in rewards]


def _length(group: Mapping[str, Any]) -> int:
    return len(group["prompt_ids"]) + max(map(len, group["token_ids"]))


class _Collate:
    """Groups to one padded batch of drafts."""

    def __init__(self, pad_token: int) -> None:
        self.pad_token = pad_token

    def __call__(self, groups: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        drafts = [
            (group, *draft)
            for group in groups
            for draft in zip(
                group["token_ids"], group["logprobs"], group["advantages"], strict=True
            )
        ]
        ids = [torch.tensor(group["prompt_ids"] + tokens) for group, tokens, _, _ in drafts]
        labels = [
            torch.tensor([_head.IGNORED] * len(group["prompt_ids"]) + tokens)
            for group, tokens, _, _ in drafts
        ]
        logged = [
            torch.tensor([0.0] * len(group["prompt_ids"]) + logprobs)
            for group, _, logprobs, _ in drafts
        ]
        return {
            "input_ids": pad(ids, padding_value=self.pad_token),
            "attention_mask": pad([torch.ones_like(one) for one in ids]),
            "labels": pad(labels, padding_value=_head.IGNORED),
            "logged": pad(logged)[:, 1:],
            "advantages": torch.tensor([advantage for *_, advantage in drafts]),
            "temperature": torch.tensor([group["temperature"] for group, *_ in drafts]),
        }


class LoggedDraftsTrainer(Trainer):  # type: ignore[misc]
    """A trainer whose loss is the policy gradient over logged drafts."""

    def __init__(self, *, ratios: tuple[float, float], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.ratios = ratios

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        logged, advantage = inputs.pop("logged"), inputs.pop("advantages")[:, None]
        outputs = model(**inputs, fused_lm_head=True)
        width = logged.shape[1]  # virtual tokens stand in front of it
        log_probs, scored = outputs.log_probs[:, -width:], outputs.label_mask[:, -width:]
        ratio = (log_probs.detach() - logged).exp()
        weight = torch.where(advantage > 0, 1.0, ratio.clamp(*self.ratios))
        self.effective = effective_share(ratio[scored])
        return -(weight * advantage * log_probs * scored).sum() / scored.sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log({**logs, "effective_share": self.effective}, start_time)


def effective_share(ratio: torch.Tensor) -> float:
    """Kish's effective sample size of importance weights as a share of them: 1 on policy."""
    return float(ratio.sum() ** 2 / (ratio.numel() * (ratio**2).sum()))
