"""Offline GRPO: learns from logged drafts and their verdicts, without drawing new ones.

A draft's advantage is its reward against its group's, (r - mean) / std. The drafts were drawn by an
older adapter, so a bad draft counts by clip(policy / sampler, low, high) per token, from the logged
log-probabilities, and a good one in full (TOPR, arXiv 2503.14286, with the ratio per token: a whole
draft's ratio vanishes after a few steps). The ratio carries no gradient.

Weights cannot mend everything: a group of which the policy that training begins with is too far
from the sampler is left out. How far is the mean over its tokens of |log(policy / sampler)|, which
a few tokens that were hardly ever drawn do not decide, as they would a mean of ratios.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments
from trl.trainer.utils import pad

from retrain.job import TrainJob
from retrain.trainers import _head, _lora

DEFAULTS: dict[str, Any] = {
    **_lora.LORA,
    "ratio_low": 0.0,
    "ratio_high": 1.0,
    "max_distance": 1.0,  # nats a token: by then every token is e times as likely, or as rare
}


def train(job: TrainJob) -> dict[str, Any]:
    """Train an adapter on groups of logged drafts, `{prompt, temperature, completions}`.

    Token ids are trained as logged. Groups whose drafts all have one reward teach nothing and are
    left out, and so are those of a sampler too far away. Raises ValueError when no group is left.
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
    collate, sampled = _Collate(tokenizer.pad_token_id), Sampled()

    def build(scratch: str) -> Trainer:
        model = _lora.open_model(job, settings)
        _head.score_completions_only(model)
        near = sampled.near(model, kept, collate, settings["max_distance"])
        return LoggedDraftsTrainer(
            model=model,
            args=_lora.arguments(TrainingArguments, scratch, job, settings),
            train_dataset=Dataset.from_list(near),
            data_collator=collate,
            ratios=(settings["ratio_low"], settings["ratio_high"]),
        )

    result = _lora.run(job, build, reported=("loss", "effective_share"))
    return {
        "rows": len(kept) - sampled.far_away,
        "no_difference": len(job.rows) - len(groups),
        "too_long": len(groups) - len(kept),
        **vars(sampled),
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


@dataclass
class Sampled:
    """How near the samplers of the groups are to the policy that training begins with."""

    far_away: int = 0  # groups that were left out
    distance: float = 0.0  # of those that were kept, in nats a token
    effective_share: float = 0.0  # of all their tokens: Kish's effective sample size

    def near(
        self,
        model: Any,
        groups: Sequence[dict[str, Any]],
        collate: "_Collate",
        most: float,
    ) -> list[dict[str, Any]]:
        """The groups that are at most so far away. Raises ValueError when none is."""
        logs = [_log_ratios(model, collate([group])) for group in groups]
        far = [float(one.abs().mean()) for one in logs]
        kept = [at for at, distance in enumerate(far) if distance <= most]
        if not kept:
            raise ValueError(
                f"Nothing to learn from {len(groups)} groups of drafts: their nearest sampler "
                f"is {min(far):.2f} nats a token from what training begins with, and more than "
                f"{most:g} is too far. Collect comparisons of what serves now."
            )
        self.far_away = len(groups) - len(kept)
        self.distance = round(statistics.fmean(far[at] for at in kept), 4)
        self.effective_share = effective_share(torch.cat([logs[at] for at in kept]).exp())
        return [groups[at] for at in kept]


@torch.no_grad()
def _log_ratios(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """log(policy / sampler) of each token of a group's drafts."""
    given = {name: value.to(model.device) for name, value in inputs.items()}
    logged, _ = given.pop("logged"), given.pop("advantages")
    log_probs, scored = _scored(model, given, logged.shape[1])
    return (log_probs - logged)[scored]


def _scored(model: Any, inputs: dict[str, Any], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities and whether they count, without virtual tokens, which stand in front."""
    outputs = model(**inputs, fused_lm_head=True)
    return outputs.log_probs[:, -width:], outputs.label_mask[:, -width:]


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
        log_probs, scored = _scored(model, inputs, logged.shape[1])
        ratio = (log_probs.detach() - logged).exp()
        weight = torch.where(advantage > 0, 1.0, ratio.clamp(*self.ratios))
        self.effective = effective_share(ratio[scored])
        return -(weight * advantage * log_probs * scored).sum() / scored.sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log({**logs, "effective_share": self.effective}, start_time)


def effective_share(ratio: torch.Tensor) -> float:
    """Kish's effective sample size of importance weights as a share of them: 1 on policy."""
    return float(ratio.sum() ** 2 / (ratio.numel() * (ratio**2).sum()))
