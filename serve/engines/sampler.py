"""Drawing tokens for the drafts of one prompt, with the log-probabilities they were drawn with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from serve.engines.base import Alternative, Chunk, Sampling
from serve.engines.grammar import Grammars, Matcher
from serve.engines.text import TextStream

HEAD = 1024  # tokens among which a nucleus nearly always lies: a sort of all takes 20 times as long


@dataclass
class _Draft:
    index: int
    stream: TextStream
    matcher: Matcher | None = None
    drawn: list[int] = field(default_factory=list)

    def narrowed(self, logprobs: torch.Tensor, room: int) -> torch.Tensor:
        """The log-probabilities of the tokens that the schema allows, of all without one."""
        if self.matcher is None:
            return logprobs
        allowed = self.matcher.allowed(room - len(self.drawn))
        return logprobs.masked_fill(~allowed, -torch.inf)

    @property
    def hurried(self) -> bool:
        """Whether its JSON was closed because its room ended."""
        return self.matcher is not None and self.matcher.hurried

    def take(self, token: int) -> None:
        self.drawn.append(token)
        if self.matcher is not None:
            self.matcher.take(token)


class Sampler:
    """State of the n drafts of one request; a generator of its own makes seeds independent."""

    def __init__(
        self,
        sampling: Sampling,
        ends: frozenset[int],
        decode: Callable[[Sequence[int]], str],
        room: int,
        grammars: Grammars | None = None,
    ) -> None:
        self._sampling = sampling
        self._ends = ends
        self._room = room
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)
        self._drafts = [
            _Draft(i, TextStream(decode, sampling.stop), _matcher(grammars, sampling.schema))
            for i in range(sampling.n)
        ]

    def draw(self, logits: torch.Tensor) -> tuple[list[Chunk], list[int], list[int]]:
        """One token for each unfinished draft from `logits` [drafts, vocabulary].

        Returns the chunks, the rows that go on, and their tokens.
        """
        logprobs = self._distribution(logits).cpu()
        chunks, alive, tokens = [], [], []
        for row, draft in enumerate(self._drafts):
            token = self._pick(draft.narrowed(logprobs[row], self._room))
            draft.take(token)
            chunk = self._chunk(draft, token, logprobs[row])
            chunks.append(chunk)
            if chunk.finish_reason is None:
                alive.append(row)
                tokens.append(token)
        self._drafts = [self._drafts[row] for row in alive]
        return chunks, alive, tokens

    def _distribution(self, logits: torch.Tensor) -> torch.Tensor:
        logits = self._penalised(logits)
        if self._sampling.temperature > 0:
            logits = logits / self._sampling.temperature
        return logits.log_softmax(-1)

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        """OpenAI's penalties on the tokens that a draft has drawn already."""
        frequency, presence = self._sampling.frequency_penalty, self._sampling.presence_penalty
        if not frequency and not presence:
            return logits
        counts = torch.zeros_like(logits)
        for row, draft in enumerate(self._drafts):
            for token in draft.drawn:
                counts[row, token] += 1
        return logits - frequency * counts - presence * (counts > 0)

    def _pick(self, logprobs: torch.Tensor) -> int:
        sampling = self._sampling
        if sampling.temperature <= 0:
            return int(logprobs.argmax())
        probs = logprobs.exp()
        if sampling.top_k:
            floor = probs.topk(min(sampling.top_k, len(probs))).values[-1]
            probs = torch.where(probs < floor, 0.0, probs)
        if sampling.top_p < 1:
            probs = _nucleus(probs, sampling.top_p)
        return self._drawn(probs)

    def _drawn(self, probs: torch.Tensor) -> int:
        # By the inverse of the cumulated distribution: a tenth of what torch.multinomial takes.
        mass = probs.double().cumsum(0)
        at = torch.rand(1, dtype=torch.double, generator=self._random) * mass[-1]
        token = int(torch.searchsorted(mass, at, right=True))
        return token if token < len(probs) else int(probs.argmax())

    def _chunk(self, draft: _Draft, token: int, logprobs: torch.Tensor) -> Chunk:
        text = "" if token in self._ends else draft.stream.push(token)
        reason = None
        if token in self._ends or draft.stream.stopped_by:
            reason = "length" if draft.hurried else "stop"
        elif len(draft.drawn) >= self._room:
            reason = "length"
        if reason:
            text += draft.stream.finish()
        top = self._top(logprobs)
        logprob = float(logprobs[token])
        stopped_by = draft.stream.stopped_by
        return Chunk(draft.index, text, (token,), (logprob,), top, reason, stopped_by)

    def _top(self, logprobs: torch.Tensor) -> tuple[tuple[Alternative, ...], ...]:
        if not self._sampling.top_logprobs:
            return ()
        best = logprobs.topk(self._sampling.top_logprobs)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return (tuple(Alternative(token, value) for token, value in pairs),)


def _nucleus(probs: torch.Tensor, share: float) -> torch.Tensor:
    """The likeliest tokens that have `share` of the mass together; the others at 0."""
    enough = share * probs.sum()
    ordered, order = probs.topk(min(HEAD, len(probs)))
    if ordered.sum() < enough:
        ordered, order = probs.sort(descending=True)
    kept = order[ordered.cumsum(0) - ordered < enough]
    return torch.zeros_like(probs).index_copy(0, kept, probs[kept])


def _matcher(grammars: Grammars | None, schema: str | None) -> Matcher | None:
    return grammars.matcher(schema) if grammars and schema else None
