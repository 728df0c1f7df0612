"""Log-probabilities per token under the champion, for the ways that need them."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from retrain.select import Means

NEVER = float("-inf")  # of a text that does not fit, or that there is none of


def likelihood(means: Means, messages: Sequence[dict[str, Any]], text: str) -> float:
    """The mean log-probability of the text's tokens behind the messages."""
    engine = means.engine
    if engine is None:
        raise ValueError("This way of selecting rows scores texts and was given no engine.")
    prompt, tokens = engine.encode_chat(list(messages)), engine.encode(text)
    if not tokens or len(prompt) + len(tokens) > engine.context_window:
        return NEVER
    return fmean(engine.score(prompt, tokens, means.champion))
