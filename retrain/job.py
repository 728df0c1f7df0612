"""What a trainer gets and gives back: the one contract of the files in `retrain/trainers/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Progress(Protocol):
    """Told of each step with its metrics, and of other work, named by `part`, without any."""

    def __call__(
        self, step: int, total: int, metrics: Mapping[str, float], /, part: str = ""
    ) -> None: ...


def silent(step: int, total: int, metrics: Mapping[str, float], part: str = "") -> None:
    """A progress callback for callers that do not look."""


@dataclass(frozen=True)
class TrainJob:
    """One training: base weights, where to start, the rows, where the adapter goes.

    `rows` carry TRL's columns, conversational form:
    sft         {prompt: [message], completion: [message], weight: float}
    preference  {prompt: [message], chosen: [message], rejected: [message]}
    kto         {prompt: [message], completion: [message], label: bool}
    grpo        {prompt: [message], temperature: float,
                 completions: [{text, token_ids, logprobs, reward, adapter}]}

    A prompt that ends in an assistant's message is to be gone on with from there. Messages of
    answers may carry `finish_reason`, and `token_ids` to be trained on instead of the text's.
    """

    model: Path  # Hugging Face folder of the base model
    out: Path  # the adapter's folder; created by the trainer
    rows: Sequence[Mapping[str, Any]]
    start: Path | None = None  # adapter to go on from (the champion); None: a fresh one
    reward: Path | None = None  # reward model that an earlier stage trained
    seed: int = 7
    settings: Mapping[str, Any] = field(default_factory=dict)  # the recipe's own table
    progress: Progress = silent
