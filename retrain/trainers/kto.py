"""Kahneman-Tversky optimisation on lone thumbs, up and down (TRL's KTOTrainer)."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from retrain.job import TrainJob
from retrain.trainers import _lora, _reference

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
        return OrderedKTOTrainer(
            job,
            order=order(kept, count, settings["batch_size"], job.seed),
            model=_lora.open_model(job, settings),  # TRL freezes a copy of its adapter as reference
            args=_lora.arguments(
                KTOConfig,
                scratch,
                job,
                settings,
                max_length=None,
                num_train_epochs=1,  # all rounds are in the order
                train_sampling_strategy="sequential",
                beta=settings["beta"],
                desirable_weight=up,
                undesirable_weight=down,
                # Once, not each time that a row comes round; not in 4 bits, as in `dpo`.
                precompute_ref_log_probs=settings["method"] != "qlora",
            ),
            train_dataset=Dataset.from_list(mismatched(kept, job.seed)),
            processing_class=tokenizer,
        )

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


def mismatched(rows: Sequence[Encoded], seed: int) -> list[Encoded]:
    """Each row with the answer to another prompt as well, of which the KL term is estimated.

    The pairs stay as they are, so that the reference is asked about each of them once. Where half
    of the rows or more have one prompt, some get another answer to their own.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        alike.setdefault(tuple(row["prompt_ids"]), []).append(number)
    groups = list(alike.values())
    random.Random(seed).shuffle(groups)  # noqa: S311 - an order, no secret
    numbers = [number for group in groups for number in group]
    away = min(max(map(len, groups)), len(rows) - 1)
    partner = dict(zip(numbers, numbers[away:] + numbers[:away], strict=True))
    return [
        {**row, "KL_completion_ids": rows[partner[number]]["completion_ids"]}
        for number, row in enumerate(rows)
    ]


def order(rows: Sequence[Encoded], count: int, batch: int, seed: int) -> list[int]:
    """Numbers of at least `count` rows in whole batches, in which TRL walks through them.

    They are shuffled anew each round, ups and downs mixed evenly.
    """
    draw, found = random.Random(seed), list[int]()  # noqa: S311 - an order, no secret
    wanted = -(-count // batch) * batch
    while len(found) < wanted:
        found += _mixed(rows, draw)
    return found[:wanted]


def _mixed(rows: Sequence[Encoded], draw: random.Random) -> list[int]:
    """The rows' numbers in a random order in which each stretch has its share of both labels."""
    placed = []
    for label in (True, False):
        side = [number for number, row in enumerate(rows) if row["label"] is label]
        draw.shuffle(side)
        placed += [((n + draw.random()) / len(side), number) for n, number in enumerate(side)]
    return [number for _, number in sorted(placed)]


def _encode(tokenizer: Any, row: Mapping[str, Any]) -> Encoded:
    return {
        "prompt_ids": _lora.encode_prompt(tokenizer, row["prompt"]),
        "completion_ids": _lora.encode_answer(tokenizer, row["completion"]),
        "label": bool(row["label"]),
    }


def _length(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + len(row["completion_ids"])


class OrderedKTOTrainer(_reference.AsksReference, KTOTrainer):  # type: ignore[misc] # TRL: untyped
    """TRL's trainer over rows that are token ids already, in an order of ours."""

    ASKED = ("ref_logps", "ref_KL_logps")

    def __init__(self, job: TrainJob, order: Sequence[int], **arguments: Any) -> None:
        self.order = order
        super().__init__(job, **arguments)

    def _get_train_sampler(self, _: Any = None) -> Sequence[int]:
        return self.order
