"""Kahneman-Tversky optimisation on lone thumbs, up and down (TRL's KTOTrainer)."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from retrain.job import TrainJob
from retrain.trainers import _head, _lora

DEFAULTS: dict[str, Any] = {
    **_lora.LORA,
    "learning_rate": 3e-4,
    "beta": 0.1,
    "batch_size": 8,
    "min_steps": 25,  # a few thumbs go round more often than `epochs` says
}
MOST = 4 / 3  # of (w_D n_D) / (w_U n_U), at least 1: KTO, arXiv 2402.01306, eq. 8

Encoded = dict[str, Any]


def train(job: TrainJob) -> dict[str, Any]:
    """Train an adapter on `{prompt, completion, label}` rows against the adapter it starts from.

    The reference is `job.start`, or the base when there is none. Raises ValueError when no row is
    usable, all labels are alike, or `batch_size` is 1: a batch's KL term pairs its rows.
    """
    settings = _lora.settings_of(job, DEFAULTS)
    _lora.quiet()
    if settings["batch_size"] < 2:
        raise ValueError(
            "KTO needs a batch_size of 2 or more: its KL term pairs each prompt of a batch with "
            "the answer of another. Correct the recipe."
        )
    tokenizer = _lora.open_tokenizer(job.model)
    rows = [_encode(tokenizer, row) for row in job.rows]
    kept = _lora.short_enough(rows, settings["max_length"], _length)
    up, down = weights([row["label"] for row in kept])
    count = round(len(kept) * _lora.epochs(settings, len(kept)))

    def build(scratch: str) -> KTOTrainer:
        trainer = ArrangedKTOTrainer(
            model=_lora.open_model(job, settings),  # TRL freezes a copy of its adapter as reference
            args=_lora.arguments(
                KTOConfig,
                scratch,
                job,
                settings,
                max_length=None,
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                beta=settings["beta"],
                desirable_weight=up,
                undesirable_weight=down,
            ),
            train_dataset=Dataset.from_list(
                arranged(kept, count, settings["batch_size"], job.seed)
            ),
            processing_class=tokenizer,
        )
        _head.score_completions_only(trainer.model)
        return trainer

    result = _lora.run(job, build, reported=("loss", "kl"))
    told = {"weight_up": round(up, 4), "weight_down": round(down, 4)}
    return {"rows": len(kept), "too_long": len(rows) - len(kept), **told, **result}


def weights(labels: Sequence[bool]) -> tuple[float, float]:
    """(w_D, w_U) of thumbs up and down: one side at most is reweighted, and no more than needed.

    Raises ValueError when there is only one side.
    """
    ups, downs = sum(labels), len(labels) - sum(labels)
    if not ups or not downs:
        raise ValueError(
            f"Nothing to tell apart: all {len(labels)} thumbs point {'up' if ups else 'down'}. "
            "Collect thumbs of both directions."
        )
    if ups < downs:
        return downs / ups, 1.0
    return 1.0, max(1.0, ups / downs / MOST)


def arranged(rows: Sequence[Encoded], count: int, batch: int, seed: int) -> list[Encoded]:
    """At least `count` rows in whole batches, shuffled anew each round, ups and downs mixed evenly.

    TRL walks through them in this order. Each prompt also gets the answer of the row before it in
    its batch: the mismatched pairs of which the KL term is estimated.
    """
    draw, order = random.Random(seed), list[Encoded]()  # noqa: S311 - an order, no secret
    wanted = -(-count // batch) * batch
    while len(order) < wanted:
        order += _mixed(rows, draw)
    batches = [order[first : first + batch] for first in range(0, wanted, batch)]
    return [
        {**row, "KL_completion_ids": before["completion_ids"]}
        for one in batches
        for row, before in zip(one, [one[-1], *one[:-1]], strict=True)
    ]


def _mixed(rows: Sequence[Encoded], draw: random.Random) -> list[Encoded]:
    """The rows in a random order in which each stretch has its share of both labels."""
    placed = []
    for label in (True, False):
        side = [row for row in rows if row["label"] is label]
        draw.shuffle(side)
        placed += [((n + draw.random()) / len(side), row) for n, row in enumerate(side)]
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def _encode(tokenizer: Any, row: Mapping[str, Any]) -> Encoded:
    return {
        "prompt_ids": _lora.encode_prompt(tokenizer, row["prompt"]),
        "completion_ids": _lora.encode_answer(tokenizer, row["completion"]),
        "label": bool(row["label"]),
    }


def _length(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + len(row["completion_ids"])


class ArrangedKTOTrainer(KTOTrainer):  # type: ignore[misc]
    """TRL's trainer over rows that are token ids, arranged in batches already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset
