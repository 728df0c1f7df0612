"""Supervised fine-tuning on answers that people wrote or preferred (TRL's SFTTrainer)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from retrain.job import TrainJob
from retrain.trainers import _head, _lora, _replay

DEFAULTS: dict[str, Any] = {
    **_lora.LORA,
    "learning_rate": 1e-3,
    "epochs": 6.0,
    "batch_size": 8,
    "min_steps": 40,  # a few rows go round more often than `epochs` says
    "replay": 24,  # general questions with the model's own answers, against forgetting
    "group_by_length": False,  # rows of a length together: less padding, a less random order
}

OTHERS = -1  # the `own` of a row that is no answer of the model's own


def train(job: TrainJob) -> dict[str, Any]:
    """Train an adapter on `{prompt, completion, weight}` rows; the loss covers completions alone.

    A row's `weight` (1 when absent) scales its loss. Raises ValueError when no row is usable.
    """
    settings = _lora.settings_of(job, DEFAULTS)
    _lora.quiet()
    tokenizer = _lora.open_tokenizer(job.model)
    rows = [_encode(tokenizer, row) for row in job.rows]
    kept = _lora.short_enough(rows, settings["max_length"], lambda row: len(row["input_ids"]))
    questions = _replay.QUESTIONS[: settings["replay"]]

    def build(scratch: str) -> SFTTrainer:
        model = _lora.open_model(job, settings)
        own = _replay.own_answers(model, tokenizer, questions)
        replayed = [_row(said.prompt, said.answer, own=number) for number, said in enumerate(own)]
        trainer = WeightedSFTTrainer(
            own,
            model=model,
            args=_lora.arguments(
                SFTConfig,
                scratch,
                job,
                settings,
                max_length=None,
                num_train_epochs=_lora.epochs(settings, len(kept + replayed)),
                train_sampling_strategy="group_by_length"
                if settings["group_by_length"]
                else "random",
            ),
            train_dataset=Dataset.from_list([*kept, *replayed]),
            processing_class=tokenizer,
        )
        _head.score_completions_only(trainer.model)
        return trainer

    return {
        "rows": len(kept),
        "too_long": len(rows) - len(kept),
        "replayed": len(questions),
        **_lora.run(job, build),
    }


def _encode(tokenizer: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    return _row(
        _lora.encode_prompt(tokenizer, row["prompt"]),
        _lora.encode_answer(tokenizer, row["completion"]),
        float(row.get("weight", 1.0)),
    )


def _row(
    prompt: list[int], answer: list[int], weight: float = 1.0, own: int = OTHERS
) -> dict[str, Any]:
    labels = [_head.IGNORED] * len(prompt) + answer
    return {"input_ids": prompt + answer, "labels": labels, "weight": weight, "own": own}


class WeightedSFTTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with a weight per row; rows arrive as token ids.

    A row whose `own` is a number is that one of the answers in `own`, and goes towards its
    distributions.
    """

    def __init__(self, own: Sequence[_replay.OwnAnswer], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._own = own
        pad: Any = self.data_collator
        self.data_collator: Any = lambda rows: {
            **pad(rows),
            "weight": torch.tensor([row["weight"] for row in rows]),
            "own": torch.tensor([row["own"] for row in rows]),
        }

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        weight, numbers = inputs.pop("weight"), inputs.pop("own").tolist()
        own = [None if number == OTHERS else self._own[number] for number in numbers]
        towards = _replay.towards(inputs["labels"][:, 1:], own)
        outputs = model(**inputs, fused_lm_head=True, towards=towards)
        losses = -(outputs.log_probs * weight[:, None]).sum()
        return losses / outputs.label_mask.sum()
