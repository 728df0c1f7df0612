"""Online GRPO: the policy draws answers, a reward model and guards score them (TRL's GRPOTrainer).

For volume, and by an explicit recipe alone: a policy that is trained against a reward model finds
what that gets wrong. So the guard rewards are never left out, and a KL term holds on to the
adapter that it starts from.

Where this Python has vLLM and a GPU, vLLM draws the answers, beside the policy on the same GPU.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import exp
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.import_utils import is_vllm_available

from retrain.job import TrainJob
from retrain.trainers import _lora, rewards
from retrain.trainers.reward import Scorer

DEFAULTS: dict[str, Any] = {
    **_lora.LORA,
    "learning_rate": 5e-5,
    "batch_size": 4,  # prompts
    "drafts": 4,  # of each prompt
    "temperature": 0.9,
    "longest": 256,  # tokens of an answer
    "beta": 0.04,  # of the KL term
    "vllm_share": 0.3,  # of a GPU's memory, where vLLM draws
    "weight_reward": 1.0,
    "weight_length": 0.5,
    "weight_format": 1.0,
    "weight_repetition": 1.0,
}

Ids = list[int]


def train(job: TrainJob) -> dict[str, Any]:
    """Train an adapter on the prompts of `{prompt, chosen, …}` rows, scored by `job.reward`.

    Raises ValueError without a reward model, for a guard of weight 0, or when no prompt is usable.
    """
    settings = _lora.settings_of(job, DEFAULTS)
    _lora.quiet()
    weights = _weights(settings)
    tokenizer = _lora.open_tokenizer(job.model)
    end = _lora.end_of_turn(tokenizer)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    prompts = {tuple(_lora.encode_prompt(tokenizer, row["prompt"])): row for row in job.rows}
    room = settings["max_length"] - settings["longest"]
    kept = _lora.short_enough([*prompts], room, len)
    if job.reward is None:
        raise ValueError(
            'Online GRPO needs a reward model. Put a stage with trainer = "reward" before it.'
        )
    usual = round(
        statistics.median(len(_lora.encode_answer(tokenizer, row["chosen"])) for row in job.rows)
    )
    judges = [_by_model(Scorer(job.model, job.reward)), *_guards(tokenizer, end, usual)]
    batch = min(settings["batch_size"], len(kept))

    def build(scratch: str) -> GRPOTrainer:
        return TokenGRPOTrainer(
            model=_lora.open_model(job, settings),
            reward_funcs=judges,
            args=_lora.arguments(
                GRPOConfig,
                scratch,
                job,
                settings,
                per_device_train_batch_size=batch * settings["drafts"],
                num_generations=settings["drafts"],
                max_completion_length=settings["longest"],
                temperature=settings["temperature"],
                beta=settings["beta"],
                reward_weights=weights,
                **_drawn_by_vllm(settings, end),
            ),
            train_dataset=Dataset.from_list([{"prompt": list(ids)} for ids in kept]),
            processing_class=tokenizer,
        )

    result = _lora.run(job, build, reported=("loss", "reward"))
    return {"rows": len(kept), "too_long": len(prompts) - len(kept), "usual": usual, **result}


def _drawn_by_vllm(settings: Mapping[str, Any], end: int) -> dict[str, Any]:
    """What makes TRL draw with vLLM; nothing where it cannot.

    vLLM gets the policy's weights with LoRA merged into them, which 4-bit ones and virtual tokens
    do not allow.
    """
    if settings["method"] != "lora" or not (torch.cuda.is_available() and is_vllm_available()):
        return {}
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": settings["vllm_share"],
        "vllm_max_model_length": settings["max_length"],
        "generation_kwargs": {"stop_token_ids": [end]},  # it knows the model's own ends alone
    }


def _weights(settings: Mapping[str, Any]) -> list[float]:
    """Of the reward model and each guard, in their order."""
    weights = [settings["weight_reward"], *(settings[f"weight_{n}"] for n in rewards.names())]
    if min(weights) <= 0:
        raise ValueError(
            "A reward of online GRPO has weight 0 or less. A reward model without its guards, or "
            "guards alone, are gamed: give each a weight above 0."
        )
    return weights


def _by_model(scorer: Scorer) -> Callable[..., list[float]]:
    def reward_model(
        prompts: Sequence[Ids], completion_ids: Sequence[Ids], **_: Any
    ) -> list[float]:
        both = [[*prompt, *ids] for prompt, ids in zip(prompts, completion_ids, strict=True)]
        # In [0, 1], so that a reward model's far corners cannot outweigh the guards.
        return [_sigmoid(score) for score in scorer(both)]

    return reward_model


def _guards(tokenizer: Any, end: int, usual: int) -> list[Callable[..., list[float]]]:
    def guard(name: str, completion_ids: Sequence[Ids], **_: Any) -> list[float]:
        return [
            rewards.score(
                name,
                rewards.Answer(
                    text=tokenizer.decode(ids[:-1] if ids[-1:] == [end] else ids),
                    token_ids=ids,
                    ended=ids[-1:] == [end],
                    usual=usual,
                ),
            )
            for ids in completion_ids
        ]

    made: list[Callable[..., list[float]]] = []
    for name in rewards.names():
        one = partial(guard, name)
        one.__name__ = name  # type: ignore[attr-defined]  # TRL names its metrics so
        made.append(one)
    return made


def _sigmoid(score: float) -> float:
    return 1 / (1 + exp(-max(min(score, 30.0), -30.0)))


class TokenGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer over prompts that are token ids already: drawing sees what serving sees."""

    def _tokenize_prompts(self, prompts: list[Ids]) -> tuple[list[Ids], None, dict[str, Any]]:
        return prompts, None, {}
