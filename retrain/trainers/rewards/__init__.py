"""Guard rewards of online GRPO, one file each: what a reward model must not be gamed with.

Each is `score(answer) -> float` in [-1, 0], 0 for an answer that nothing is wrong with. A recipe
weighs them by name; see `retrain.trainers.online_grpo`.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """A drawn answer; `usual` is the median length, in tokens, of those that people prefer."""

    text: str
    token_ids: Sequence[int]
    ended: bool  # by itself, not by the limit
    usual: int


def names() -> list[str]:
    """The guard rewards in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def score(name: str, answer: Answer) -> float:
    """What one of them says of an answer."""
    return float(importlib.import_module(f"{__name__}.{name}").score(answer))
