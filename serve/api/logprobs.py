"""Log-probabilities as chat completions and responses tell them."""

from collections.abc import Sequence
from typing import Any

from serve.engines.base import Alternative, Engine

LEAST = -9999.0  # OpenAI's, for tokens that cannot come: no JSON has infinity


def token_logprobs(
    engine: Engine,
    token_ids: Sequence[int],
    logprobs: Sequence[float],
    tops: Sequence[Sequence[Alternative]],
) -> list[dict[str, Any]]:
    """An entry for each token, with the likeliest tokens at its place where `tops` has them."""

    def entry(token_id: int, logprob: float) -> dict[str, Any]:
        text = engine.decode([token_id])
        return {"token": text, "logprob": max(logprob, LEAST), "bytes": list(text.encode())}

    entries = [
        {**entry(token, logprob), "top_logprobs": []}
        for token, logprob in zip(token_ids, logprobs, strict=True)
    ]
    for item, top in zip(entries, tops, strict=False):
        item["top_logprobs"] = [entry(other.token_id, other.logprob) for other in top]
    return entries
