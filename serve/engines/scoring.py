"""Log-probabilities of given tokens, from the logits at their places."""

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from serve.engines.base import Alternative, Scored

ROWS = 512  # distributions in float32 at once: a window of them is gigabytes

Outcome = list[Scored] | BaseException


def scored(logits: torch.Tensor, given: torch.Tensor, top: int) -> list[Scored]:
    """The `given` tokens [tokens] in the distributions of `logits` [tokens, vocabulary]."""
    pieces = zip(torch.split(logits, ROWS), torch.split(given, ROWS), strict=True)
    return [
        found
        for rows, tokens in pieces
        for found in _scored(rows.float().log_softmax(-1), tokens, top)
    ]


def _scored(logprobs: torch.Tensor, given: torch.Tensor, top: int) -> list[Scored]:
    own = logprobs.gather(1, given[:, None])[:, 0].tolist()
    best = logprobs.topk(top)
    tops = [
        tuple(Alternative(token, value) for token, value in zip(*pair, strict=True))
        for pair in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    return [Scored(*each) for each in zip(given.tolist(), own, tops, strict=True)]


@dataclass(eq=False)
class ScoreJob:
    """A text whose end is scored among the requests that write; piece by piece when it is long."""

    weights: Any
    prompt_ids: list[int]  # all but the last token, behind which nothing is asked
    given: list[int]  # the tokens to score
    top: int
    out: "queue.SimpleQueue[Outcome]" = field(default_factory=queue.SimpleQueue)
    drafts: int = 1
    tokens: Sequence[int] = ()
    cancelled: bool = False
    cached: int = 0
    _found: list[Scored] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        return len(self.given)

    def draw(self, logits: torch.Tensor) -> list[int]:
        """Score the next tokens; no row goes on."""
        first = len(self._found)
        given = torch.tensor(self.given[first : first + len(logits)])
        self._found += scored(logits, given, self.top)
        if len(self._found) == len(self.given):
            self.out.put(self._found)
        return []

    def fail(self, error: BaseException) -> None:
        """Tell the request's own thread that it broke."""
        self.out.put(error)

    def result(self) -> list[Scored]:
        """What the request's own thread waits for."""
        outcome = self.out.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome
