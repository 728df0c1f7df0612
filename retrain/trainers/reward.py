"""A reward model: the base with a score in place of words, from preference pairs (RewardTrainer).

It answers nobody. What it makes is a LoRA adapter with a head, for stage `online_grpo` after it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer
from trl.trainer.utils import pad

from retrain.job import TrainJob
from retrain.trainers import _lora

DEFAULTS: dict[str, Any] = {
    **_lora.LORA,
    "centre": 0.01,  # pulls the mean score to 0 (arXiv 2312.09244), where a sigmoid tells most
    "min_steps": 25,  # a few pairs go round more often than `epochs` says
}


def train(job: TrainJob) -> dict[str, Any]:
    """Train a reward model on `{prompt, chosen, rejected}` rows, from the base whatever serves.

    Raises ValueError when no row is usable.
    """
    settings = _lora.settings_of(job, DEFAULTS)
    _lora.quiet()
    tokenizer = _lora.open_tokenizer(job.model)
    rows = [_encode(tokenizer, row) for row in job.rows]
    kept = _lora.short_enough(rows, settings["max_length"], lambda row: max(map(len, row.values())))

    def build(scratch: str) -> RewardTrainer:
        return RewardTrainer(
            model=_fresh(job, settings, tokenizer.pad_token_id),
            args=_lora.arguments(
                RewardConfig,
                scratch,
                job,
                settings,
                max_length=None,
                num_train_epochs=_lora.epochs(settings, len(kept)),
                center_rewards_coefficient=settings["centre"],
            ),
            train_dataset=Dataset.from_list(kept),
            processing_class=tokenizer,
        )

    result = _lora.run(job, build, reported=("loss", "accuracy"))
    return {"rows": len(kept), "too_long": len(rows) - len(kept), **result}


class Scorer:
    """The reward model of a folder at work."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.pad = _lora.open_tokenizer(model).pad_token_id
        base = _base(model, self.pad)
        self.module = PeftModel.from_pretrained(base, str(folder)).eval()

    @torch.no_grad()
    def __call__(self, texts: Sequence[Sequence[int]]) -> list[float]:
        """The score of each prompt with its answer, in token ids: a logit, higher is better."""
        ids = [torch.tensor(text) for text in texts]
        device = self.module.device
        out = self.module(
            input_ids=pad(ids, padding_value=self.pad).to(device),
            attention_mask=pad([torch.ones_like(one) for one in ids]).to(device),
            use_cache=False,
        )
        found: list[float] = out.logits[:, 0].float().tolist()
        return found


def _encode(tokenizer: Any, row: Mapping[str, Any]) -> dict[str, list[int]]:
    prompt = _lora.encode_prompt(tokenizer, row["prompt"])
    return {
        f"{side}_ids": prompt + _lora.encode_answer(tokenizer, row[side])
        for side in ("chosen", "rejected")
    }


def _fresh(job: TrainJob, settings: Mapping[str, Any], pad_token: int) -> PeftModel:
    transformers.set_seed(job.seed)
    base = _base(job.model, pad_token)
    if settings["activation_checkpointing"]:
        base.enable_input_require_grads()
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules="all-linear",
        modules_to_save=["score"],
        task_type="SEQ_CLS",
    )
    return get_peft_model(base, config)


def _base(model: Path, pad_token: int) -> Any:
    """The base in float32, as its new head needs; it is small beside the policy's training."""
    base = AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=1, dtype=torch.float32
    )
    base.config.get_text_config().pad_token_id = pad_token  # the score is read where padding begins
    return base.to(_lora.device())
