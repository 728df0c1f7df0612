"""Holding an answer to a JSON schema while it is drawn: which tokens may come next (llguidance)."""

import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
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


# What ends a JSON text soonest, where it is allowed: outside a string, then inside one.
CLOSING, LETTER, QUOTE = ("}", "]", ",", "0", '"'), "q", '"'
WATCHED = 48  # tokens before the end of the room, from which on the way out is looked for
SPARE = 3  # tokens: the last one drawn freely may be the first byte of a character


@dataclass(frozen=True)
class Marks:
    """The tokens of single ASCII characters with which JSON is closed."""

    closing: tuple[int, ...]
    letter: int
    quote: int


class Matcher:
    """Where one draft stands in its schema, and how it gets out before its room ends."""

    def __init__(self, matcher: LLMatcher, size: int, marks: Marks) -> None:
        self._matcher, self._size, self._marks = matcher, size, marks
        self._need: int | None = None
        self.hurried = False
        """Whether it had to be closed because the room was at its end."""

    def allowed(self, room: int) -> torch.Tensor:
        """Which tokens may come next, a bool for each [vocabulary].

        `room` tokens are left: when they are no more than the way to the end of the JSON takes, its
        next token alone is allowed. A small model that repeats itself inside a string would be cut
        off there otherwise, and leave what nobody can parse.
        """
        if (token := self._way_out(room)) is not None:
            self.hurried = True
            return torch.arange(self._size) == token
        return self._mask(self._matcher)

    def take(self, token_id: int) -> None:
        """Go on behind a token that was allowed."""
        self._matcher.consume_token(token_id)

    def _mask(self, matcher: LLMatcher) -> torch.Tensor:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        known = np.unpackbits(bits, bitorder="little")[: self._size].astype(bool)
        return torch.from_numpy(np.pad(known, (0, self._size - len(known))))

    def _way_out(self, room: int) -> int | None:
        """The next token of the way to the end, when there is room for no other; else None."""
        if self._need is not None and room > max(WATCHED, 2 * self._need):
            return None
        way = self._shortest(room)
        self._need = len(way)
        return way[0] if way and len(way) >= room - SPARE else None

    def _shortest(self, most: int) -> list[int]:
        """About the fewest tokens after which the JSON is whole; none where it is, or cannot be."""
        ahead, way = self._matcher.deep_copy(), list[int]()
        while not ahead.is_accepting():
            tokens = ahead.compute_ff_tokens() or [self._next(ahead)]
            way += tokens
            if len(way) > most or ahead.try_consume_tokens(tokens) < len(tokens):
                return []
        return way

    def _next(self, ahead: LLMatcher) -> int:
        letter, quote = self._marks.letter, self._marks.quote
        if ahead.validate_tokens([letter]) and ahead.validate_tokens([quote]):
            return quote  # in a string
        for token in self._marks.closing:
            if ahead.validate_tokens([token]):
                return token
        return int(self._mask(ahead).int().argmax())


class Grammars:
    """Schemas in the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary_size: int, ends: frozenset[int]) -> None:
        self._hf, self._size, self._ends = tokenizer, vocabulary_size, ends
        self._reading = threading.Lock()
        self._tokens: Any = None
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def matcher(self, schema: str) -> Matcher:
        """A new matcher at the beginning of a JSON schema. Raises Unsupported."""
        return Matcher(self._compiled(schema).deep_copy(), self._size, self._marks)

    @cached_property
    def _marks(self) -> Marks:
        single = self._tokenizer().greedy_tokenize
        closing = tuple(int(single(mark)[0]) for mark in CLOSING)
        return Marks(closing, int(single(LETTER)[0]), int(single(QUOTE)[0]))

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
