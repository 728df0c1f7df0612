"""Direct preference optimisation with a supervised term on the chosen answer (TRL's DPOTrainer)."""

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from retrain.job import TrainJob
from retrain.trainers import _lora, _reference

# Measured on picks of the shorter of two drafts, greedy on 30 unseen prompts, answers of at most
# 256 tokens, 25 steps on the 19 pairs of which a draft ended by itself: shorter in 30 of 30, mean
# length down 67 %, 2 answers loop where 22 of the base do, and 3 of 16 lists and code blocks that
# were asked for are lost (`retrain/guards/format.py`; the base itself fails 1). A rate of 5e-4 with
# a beta of 0.05, the defaults before, lost 8 of 16 on the same pairs and 5 on another draw's 23.
# With those, more steps unlearned the wish: 40 on 20 pairs: 27 of 30, down 24 %, and 8 answers
# looped; pairs of drafts that were both cut off taught little: 20 to 27 of 30, down 11 to 64 %.
DEFAULTS: dict[str, Any] = {
    **_lora.LORA,
    "learning_rate": 3e-4,
    "beta": 0.1,
    "sft_weight": 0.2,
    "label_noise": 0.0,  # share of pairs that are the wrong way round; above 0: a robust loss
    "min_steps": 25,  # a few pairs go round more often than `epochs` says
}


def train(job: TrainJob) -> dict[str, Any]:
    """Train an adapter on `{prompt, chosen, rejected}` rows against the adapter it starts from.

    The reference is `job.start`, or the base when there is none.
    Raises ValueError when no row is usable, or half of them are said to be wrong.
    """
    settings = _lora.settings_of(job, DEFAULTS)
    if not 0 <= settings["label_noise"] < 0.5:
        raise ValueError(
            f"label_noise is {settings['label_noise']:g}; it is the share of wrong pairs, in "
            "[0, 0.5). Correct the recipe."
        )
    _lora.quiet()
    tokenizer = _lora.open_tokenizer(job.model)
    rows = [_encode(tokenizer, row) for row in job.rows]
    kept = _lora.short_enough(rows, settings["max_length"], _length)

    def build(scratch: str) -> DPOTrainer:
        return TokenDPOTrainer(
            job,
            model=_lora.open_model(
                job, settings
            ),  # a PeftModel: TRL freezes a copy of its adapter as the reference
            args=_lora.arguments(
                DPOConfig,
                scratch,
                job,
                settings,
                max_length=None,
                num_train_epochs=_lora.epochs(settings, len(kept)),
                beta=settings["beta"],
                # unbiased under flipped labels: Chowdhury and others, arXiv 2403.00409
                loss_type=["robust" if settings["label_noise"] else "sigmoid", "sft"],
                label_smoothing=settings["label_noise"],
                loss_weights=[1.0, settings["sft_weight"]],
                # Once, not each time that a pair comes round: a fifth of the time. Not in 4 bits:
                # without gradients bitsandbytes takes a kernel on a CPU that small layers fail.
                precompute_ref_log_probs=settings["method"] != "qlora",
            ),
            train_dataset=Dataset.from_list(kept),
            processing_class=tokenizer,
        )

    result = _lora.run(job, build, reported=("loss", "rewards/margins"))
    return {"rows": len(kept), "too_long": len(rows) - len(kept), **result}


def _encode(tokenizer: Any, row: Mapping[str, Any]) -> dict[str, list[int]]:
    return {
        "prompt_ids": _lora.encode_prompt(tokenizer, row["prompt"]),
        "chosen_ids": _lora.encode_answer(tokenizer, row["chosen"]),
        "rejected_ids": _lora.encode_answer(tokenizer, row["rejected"]),
    }


def _length(row: Mapping[str, list[int]]) -> int:
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


class TokenDPOTrainer(_reference.AsksReference, DPOTrainer):  # type: ignore[misc] # TRL: untyped
    """TRL's trainer over rows that are token ids already."""

    ASKED = ("ref_chosen_logps", "ref_rejected_logps")
