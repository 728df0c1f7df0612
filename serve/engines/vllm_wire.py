"""What goes to vLLM's `/v1/completions`, and what its events say, in our words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serve.engines.base import Alternative, Chunk, EngineError, Sampling, Scored
from serve.engines.text import TextStream

USAGE = {"stream_options": {"include_usage": True}}  # in an event of its own, the last
MARK = "token_id:"  # vLLM's form of a token under `return_tokens_as_token_ids`


def generation(prompt_ids: Sequence[int], sampling: Sampling, room: int) -> dict[str, Any]:
    """The body of a request that draws; everything is named, so no default of the model's
    `generation_config.json` slips in."""
    body: dict[str, Any] = {
        "prompt": list(prompt_ids),
        "max_tokens": min(sampling.max_tokens, room),
        "n": sampling.n,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop),
        "seed": sampling.seed,
        "logprobs": sampling.top_logprobs,
        "stream": True,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    if sampling.schema is not None:
        body["structured_outputs"] = {"json": sampling.schema}
    return body


def scoring(token_ids: Sequence[int], top: int) -> dict[str, Any]:
    """The body of a request that scores a text. It echoes and writes nothing, so that a text which
    fills the window can be scored as well."""
    return {
        "prompt": list(token_ids),
        "echo": True,
        "max_tokens": 0,
        "prompt_logprobs": top,
        "return_token_ids": True,
    }


def scored(token_id: int, place: Mapping[str, Any], top: int) -> Scored:
    """One token of `prompt_logprobs`, which has the token itself and the `top` likeliest."""
    found = [Alternative(int(token), float(entry["logprob"])) for token, entry in place.items()]
    return Scored(token_id, float(place[str(token_id)]["logprob"]), _likeliest(found, top))


def told_cached(event: Mapping[str, Any]) -> int:
    """Tokens of the prompt that were in vLLM's prefix cache, 0 where an event does not tell."""
    details = (event.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)


class Draft:
    """One draft's events as chunks. Its text is decoded here, so that it is the tokens' text."""

    def __init__(
        self,
        index: int,
        decode: Callable[[Sequence[int]], str],
        sampling: Sampling,
        known_logprobs: bool,
    ) -> None:
        self.ended = False
        self._index, self._stream = index, TextStream(decode, sampling.stop)
        self._top, self._known = sampling.top_logprobs, known_logprobs

    def take(self, choice: Mapping[str, Any], more: bool = False) -> Chunk | None:
        """The chunk of one event; None behind the end. Raises EngineError for an aborted answer."""
        if self.ended:
            return None
        ids, reason, stop = choice["token_ids"], choice["finish_reason"], choice.get("stop_reason")
        if reason not in (None, "stop", "length"):
            raise EngineError(f"vLLM gave the answer up ({reason}). Ask again.")
        # A token that ends the answer is recorded, and no part of the text.
        ends_by_token = reason == "stop" and not isinstance(stop, str)
        text = "".join(map(self._stream.push, ids[:-1] if ends_by_token else ids))
        stopped_by = self._stream.stopped_by or (stop if isinstance(stop, str) else None)
        self.ended = reason is not None or stopped_by is not None
        if self.ended:
            text, reason = text + self._stream.finish(), "stop" if stopped_by else reason
        logprobs, tops = self._logprobs(choice["logprobs"]) if self._known else ((), ())
        return Chunk(self._index, text, tuple(ids), logprobs, tops, reason, stopped_by, more=more)

    def _logprobs(
        self, told: Mapping[str, Any]
    ) -> tuple[tuple[float, ...], tuple[tuple[Alternative, ...], ...]]:
        values = tuple(float(value) for value in told["token_logprobs"])
        if not self._top:
            return values, ()
        return values, tuple(_alternatives(place, self._top) for place in told["top_logprobs"])


def _alternatives(place: Mapping[str, float], top: int) -> tuple[Alternative, ...]:
    found = [Alternative(int(key.removeprefix(MARK)), value) for key, value in place.items()]
    return _likeliest(found, top)


def _likeliest(found: Sequence[Alternative], top: int) -> tuple[Alternative, ...]:
    return tuple(sorted(found, key=lambda other: -other.logprob)[:top])
