"""Holding an answer to a JSON schema while it is drawn: which tokens may come next (llguidance)."""

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

from serve.engines.base import unenforceable

# Free white space is where small models lose themselves: one blank after a comma and a colon.
COMPACT: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class Matcher:
    """Where one draft stands in its schema."""

    def __init__(self, matcher: LLMatcher, vocabulary_size: int) -> None:
        self._matcher, self._size = matcher, vocabulary_size

    def allowed(self) -> torch.Tensor:
        """Which tokens may come next, a bool for each [vocabulary]."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        known = np.unpackbits(bits, bitorder="little")[: self._size].astype(bool)
        return torch.from_numpy(np.pad(known, (0, self._size - len(known))))

    def take(self, token_id: int) -> None:
        """Go on behind a token that was allowed."""
        self._matcher.consume_token(token_id)


class Grammars:
    """Schemas in the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary_size: int, ends: frozenset[int]) -> None:
        self._hf, self._size, self._ends = tokenizer, vocabulary_size, ends
        self._reading = threading.Lock()
        self._tokens: Any = None
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def matcher(self, schema: str) -> Matcher:
        """A new matcher at the beginning of a JSON schema. Raises Unsupported."""
        return Matcher(self._compiled(schema).deep_copy(), self._size)

    def _compile(self, schema: str) -> LLMatcher:
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, defaults=COMPACT)
            matcher = LLMatcher(self._tokenizer(), grammar, log_level=0)
        except ValueError as error:
            raise unenforceable(error) from error
        if matcher.is_error():
            raise unenforceable(matcher.get_error())
        return matcher

    def _tokenizer(self) -> Any:
        with self._reading:  # a second of work, once
            if self._tokens is None:
                ends = sorted(self._ends)
                self._tokens = from_tokenizer(self._hf, n_vocab=self._size, eos_token=ends)
            return self._tokens
