"""The `logprobs` object of OpenAI's legacy completions."""

from collections.abc import Sequence
from typing import Any

from serve.engines.base import Alternative, Engine
from serve.engines.text import TextStream

KEYS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class TokenLog:
    """Tokens of one text, piece by piece; `offset` is where in the text they begin."""

    def __init__(self, engine: Engine, offset: int = 0) -> None:
        self._decode, self._offset = engine.decode, offset
        self._stream = TextStream(engine.decode)

    def take(
        self,
        token_ids: Sequence[int],
        logprobs: Sequence[float | None],
        tops: Sequence[Sequence[Alternative] | None],
    ) -> dict[str, list[Any]]:
        """The object of the next tokens; all three have equal length, None is unknown."""
        places = zip(token_ids, logprobs, tops, strict=True)
        return {
            "tokens": [self._decode([token]) for token in token_ids],
            "token_logprobs": list(logprobs),
            "top_logprobs": [self._likeliest(*place) for place in places],
            "text_offset": [self._advance(token) for token in token_ids],
        }

    def _likeliest(
        self, token: int, logprob: float | None, top: Sequence[Alternative] | None
    ) -> dict[str, float] | None:
        """By text, the token itself always among them."""
        if logprob is None or top is None:
            return None
        found: dict[str, float] = {}
        for other in [*top, Alternative(token, logprob)]:
            # Parts of characters share a text: the likeliest keeps it, so the maximum is true.
            found.setdefault(self._decode([other.token_id]), other.logprob)
        return found

    def _advance(self, token: int) -> int:
        offset = self._offset
        self._offset += len(self._stream.push(token))
        return offset
