"""Decoding many requests together on a paged cache, whatever computes the logits.

Each step gives every writing row one token and shares a fixed number of tokens among the prompts
that are still being read, so neither a long answer nor a long prompt makes another stream wait.
When the cache is full, the youngest request gives its blocks back and is read anew later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from serve.engines.base import EngineError
from serve.engines.blocks import Blocks, Row

PROMPT_TOKENS = 128  # of prompts in one step, so that streams go on while a long one is read

Plan = list[tuple["Place", list[tuple[Row, int]]]]  # the next tokens of which rows


@dataclass(frozen=True)
class Span:
    """Tokens to compute behind `past` tokens that lie in `blocks`; logits of the last `wanted`."""

    ids: list[int]
    past: int
    blocks: list[int]
    wanted: int


class Weights(Protocol):
    """One set of weights over the cache that all sets share."""

    key: bytes  # differs between any two sets of weights

    def logits(self, spans: Sequence[Span]) -> np.ndarray:
        """Logits [wanted of all spans, vocabulary], valid until the next call."""


class Work(Protocol):
    """A request: a prompt, and what is done with the logits of its last `wanted` tokens."""

    weights: Any
    prompt_ids: list[int]
    wanted: int
    drafts: int
    tokens: list[int]  # the next input of each row that goes on
    cancelled: bool
    cached: int  # tokens of the prompt that were found in the cache

    def draw(self, logits: torch.Tensor) -> list[int]:
        """Take logits [rows, vocabulary]; returns the rows that go on."""

    def fail(self, error: BaseException) -> None:
        """Tell the request's own thread that it broke."""


class Place:
    """A request at work: one row while its prompt is read, then one for each draft."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.rows = [Row(list(work.prompt_ids))]
        self.begun = False
        self.looked_up = False

    @property
    def drafts(self) -> int:
        """Rows that the request has, or will have."""
        return len(self.rows) if self.begun else self.work.drafts

    @property
    def writing(self) -> bool:
        """Whether every row lacks nothing but the token that was drawn last."""
        return all(row.missing == 1 for row in self.rows)

    def portions(self, share: int) -> Iterator[tuple[Row, int]]:
        """The rows to compute next and how many tokens of each, `share` of a prompt's."""
        if self.writing:
            yield from ((row, 1) for row in self.rows)
            return
        # Drafts draw together: those that are read anew stop before their last token.
        ahead = 0 if len(self.rows) == 1 else 1
        for row in self.rows:
            count = min(row.missing - ahead, share)
            if count > 0:
                share -= count
                yield row, count

    def span(self, row: Row, count: int) -> Span:
        first_wanted = len(row.ids) - self.work.wanted
        wanted = min(max(row.done + count - first_wanted, 0), count)
        return Span(row.ids[row.done : row.done + count], row.done, row.blocks, wanted)

    def draw(self, logits: torch.Tensor) -> list[Row]:
        """Hand the logits to the request, rows that go on their next token; returns the others."""
        if not self.begun and self.work.drafts > 1:
            logits = logits.expand(self.work.drafts, -1)
        alive = self.work.draw(logits)
        if any(row.missing for row in self.rows):
            return []  # a text that is scored, piece by piece
        if not self.begun:
            # The other drafts find the prompt's blocks in the cache.
            self.rows += [Row(list(self.rows[0].ids)) for _ in range(self.work.drafts - 1)]
            self.begun = True
        ended = [row for index, row in enumerate(self.rows) if index not in alive]
        self.rows = [self.rows[index] for index in alive]
        for row, token in zip(self.rows, self.work.tokens, strict=True):
            row.ids.append(token)
        return ended


class PagedBatch:
    """All requests of an engine, the oldest first."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._places: list[Place] = []

    @property
    def rows(self) -> int:
        return sum(place.drafts for place in self._places)

    def admit(self, work: Work) -> None:
        """Take a request in; its prompt is read by the steps that follow."""
        self._places.append(Place(work))

    def step(self) -> None:
        """One token for every row that writes, and a piece of every prompt."""
        for place in [place for place in self._places if place.work.cancelled]:
            self._end(place)
        for weights in {id(p.work.weights): p.work.weights for p in self._places}.values():
            places = [place for place in self._places if place.work.weights is weights]
            try:
                self._compute(weights, places)
            except Exception as error:  # it belongs to the requests, not to this thread
                self._fail(places, error)

    def fail(self, error: BaseException) -> None:
        """Tell every request that it broke."""
        self._fail(list(self._places), error)

    def _compute(self, weights: Weights, places: list[Place]) -> None:
        plan = self._plan(weights, places)
        spans = [place.span(row, count) for place, portions in plan for row, count in portions]
        if not spans:
            return
        wanted = iter(spans)
        logits = torch.from_numpy(weights.logits(spans))
        for place, portions in plan:
            mine = sum(next(wanted).wanted for _ in portions)
            for row, count in portions:
                row.advance(count, weights.key, self._blocks)
            if mine:
                self._draw(place, logits[:mine])
            logits = logits[mine:]

    def _draw(self, place: Place, logits: torch.Tensor) -> None:
        for row in place.draw(logits):
            row.release(self._blocks)
        if not place.rows:
            self._places.remove(place)

    def _plan(self, weights: Weights, places: list[Place]) -> Plan:
        for place in places:
            for row in place.rows:
                if not row.blocks:
                    row.recall(len(row.ids) - place.work.wanted, weights.key, self._blocks)
            if not place.looked_up:  # later it would find what it has read itself
                place.looked_up, place.work.cached = True, place.rows[0].done
        reading = sum(not place.writing for place in places)
        share = max(PROMPT_TOKENS // max(reading, 1), 1)
        plan: Plan = []
        for place in places:
            portions = list(place.portions(share))
            taken = [planned for planned, _ in plan]
            if all(self._reserve(place, row, count, taken) for row, count in portions):
                plan.append((place, portions))
        return plan

    def _reserve(self, place: Place, row: Row, count: int, planned: list[Place]) -> bool:
        """Blocks for the row's next tokens, another's if need be; False when it has to wait."""
        while place in self._places:
            if row.reserve(count, self._blocks):
                return True
            holding = [p for p in self._places if any(r.blocks for r in p.rows)]
            if holding == [place]:
                self._fail([place], too_long(place))
            free = [p for p in holding if p not in planned]
            for other in free[-1:]:
                self._give_back(other)
            if free[-1:] in ([], [place]):
                return False
        return False

    def _give_back(self, place: Place) -> None:
        for row in place.rows:
            row.release(self._blocks)

    def _fail(self, places: list[Place], error: BaseException) -> None:
        for place in places:
            if place in self._places:
                place.work.fail(error)
                self._end(place)

    def _end(self, place: Place) -> None:
        self._give_back(place)
        self._places.remove(place)


def too_long(place: Place) -> EngineError:
    """What to say to a request that alone fills the cache."""
    return EngineError(
        f"The {place.drafts} drafts of this request are together longer than the engine's cache. "
        "Ask for fewer drafts, or lower max_tokens."
    )
